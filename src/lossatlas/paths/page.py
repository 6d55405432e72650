"""What does a report say about the path of a training run?"""

from __future__ import annotations

from lossatlas.figure.parts import Heading, Number, Part, Picture
from lossatlas.paths.findings import CAVEAT, Principal
from lossatlas.paths.trajectories import Trajectory

__all__ = ["parts"]


def parts(path: Trajectory, found: Principal) -> list[Part]:
    """The parts of a report on a path, from its checkpoints alone.

    Args:
        path: the path.
        found: its principal components.

    Returns:
        Heading, a paragraph, numbers beside those of a random walk, and the picture.
    """
    walk = f"{100 * found.null.shares[:2].sum():.1f} %"
    return [
        Heading("How flat is the path?"),
        f"{path.words}. {path.contrast().words}",
        Number("variance of the first two components", f"{100 * found.shares[:2].sum():.1f} %", caveat=CAVEAT),
        Number("the same of a random walk", walk, caveat="Same step lengths."),
        Picture(found),
    ]
