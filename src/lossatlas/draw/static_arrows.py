"""How the heads of a path's arrows are drawn on a map and on a relief."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lossatlas.draw.scene import Scene

if TYPE_CHECKING:
    from matplotlib.patches import FancyArrowPatch

__all__ = ["in_space", "on_map"]


def on_map(scene: Scene, shade: str, head: np.ndarray, zorder: float = 6) -> FancyArrowPatch:
    """The head of an arrow, with a tail as thin as the path that it lies on.

    Args:
        scene: what is drawn.
        shade: colour of the path.
        head: float64 [2, 2], where it begins and its tip.
        zorder: of the path.

    Returns:
        The artist.
    """
    from matplotlib import patches

    size = 1.3 * scene.theme.small
    style: dict[str, Any] = {"arrowstyle": "-|>,head_length=0.6,head_width=0.4", "mutation_scale": size}
    style |= {"facecolor": shade, "edgecolor": "#000000b0", "linewidth": 0.9 * scene.theme.stroke}
    return patches.FancyArrowPatch(head[0], head[1], shrinkA=0, shrinkB=0, zorder=zorder + 0.4, gid="arrow", **style)


def in_space(scene: Scene, shade: str, ends: np.ndarray, zorder: float) -> FancyArrowPatch:
    """The same on a relief; it follows its ends when the surface is turned.

    Args:
        scene: what is drawn.
        shade: colour of the path.
        ends: float64 [2, 3], where it begins and its tip.
        zorder: of the path.

    Returns:
        The artist.
    """
    from mpl_toolkits.mplot3d.proj3d import proj_transform  # type: ignore[import-untyped]

    arrow: Any = on_map(scene, shade, np.zeros((2, 2)), zorder)

    def project(renderer: Any = None) -> float:
        """What Axes3D asks of a patch before drawing it: its depth, once it is in its place."""
        x, y, depth = proj_transform(*ends.T, arrow.axes.get_proj())
        arrow.set_positions((x[0], y[0]), (x[1], y[1]))
        return float(np.min(depth))

    arrow.do_3d_projection = project
    return arrow  # type: ignore[no-any-return]
