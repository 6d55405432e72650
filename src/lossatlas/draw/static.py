"""How a scene or a plot becomes a printed picture: png, pdf or svg, by matplotlib, whose global state stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lossatlas import extras
from lossatlas.draw.render import Render
from lossatlas.draw.scene import Scene
from lossatlas.errors import SpecError
from lossatlas.figure.plot import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SUFFIXES", "check", "figure", "own_settings", "save", "write"]

SUFFIXES = (".png", ".pdf", ".svg")

# Fonts in a pdf stay text (42); a fixed salt and no date make the same scene the same file.
_SETTINGS = {"pdf.fonttype": 42, "svg.hashsalt": "lossatlas", "hatch.linewidth": 0.5, "path.simplify": False}


def check(scene: Scene | Plot, suffix: str) -> None:
    """Everything can be drawn; only the library may be missing.

    Args:
        scene: what is to be drawn.
        suffix: the format.

    Raises:
        ImportError: the library is not installed; the message has the command that installs it.
    """
    extras.require("matplotlib.figure", extra="draw", purpose=f"write a {suffix} file")


def figure(scene: Scene | Plot, how: Render | None = None) -> Figure:
    """Draw a scene or a plot as a matplotlib figure that belongs to no window and to no global state.

    Args:
        scene: what is drawn, from :func:`lossatlas.draw.view.compile`; or a plot.
        how: have a relief rendered.

    Returns:
        The figure, as wide as a column of a paper for one panel and as a page for several.

    Raises:
        ImportError: matplotlib is not installed; the message has the command that installs it.
    """
    extras.require("matplotlib.figure", extra="draw", purpose="draw a picture")
    from lossatlas.draw import static_lines, static_maps, static_plot, static_surface

    with own_settings():
        if isinstance(scene, Plot):
            return static_plot.draw(scene)
        if scene.kind == "line":
            return static_lines.draw(scene)
        if scene.kind == "surface":
            return static_surface.draw(scene, how)
        return static_maps.draw(scene)


def write(scene: Scene | Plot, path: Path, *, suffix: str | None = None, how: Render | None = None) -> None:
    """Draw a scene or a plot into a file.

    Args:
        scene: what is drawn.
        path: the file.
        suffix: ".png", ".pdf" or ".svg" where the path's own suffix does not say it.
        how: have a relief rendered.
    """
    save(scene, path, (suffix or path.suffix).lower().lstrip("."), how)


def save(scene: Scene | Plot, target: Path | IO[str], kind: str, how: Render | None = None) -> None:
    """Draw into a file or a stream; ``kind`` is "png", "svg" or "pdf"."""
    if how is not None and isinstance(scene, Scene) and not how.words:
        _save_bare(scene, target, kind, how)
        return
    drawn = figure(scene, how)
    words = {"Title": scene.title or "Loss landscape", "Description": " ".join(scene.sentences)}
    metadata: dict[str, Any] = {
        "png": {**words, "Software": "lossatlas"},
        "svg": {**words, "Date": None},
        "pdf": {"Title": words["Title"], "Subject": words["Description"], "CreationDate": None},
    }
    with own_settings():
        drawn.savefig(
            target,
            format=kind,
            dpi=scene.theme.dpi,
            facecolor="none" if how is not None and how.transparent else drawn.get_facecolor(),
            metadata=metadata[kind],
        )


def _save_bare(scene: Scene, target: Path | IO[str], kind: str, how: Render) -> None:
    """The rendered relief alone, as many pixels as it has."""
    if kind != "png":
        raise SpecError(f"a rendered relief without words is a raster: write a .png, not a .{kind}")
    from matplotlib import image

    from lossatlas.draw import static_surface

    words = {"Title": scene.title or "Loss landscape", "Description": " ".join(scene.sentences)}
    image.imsave(target, static_surface.bare(scene, how), format="png", metadata={**words, "Software": "lossatlas"})  # type: ignore[arg-type]


@contextmanager
def own_settings() -> Iterator[None]:
    """Matplotlib's defaults and ours while drawing, whatever the user has set; theirs again afterwards."""
    from matplotlib import style

    with style.context(["default", _SETTINGS]):
        yield
