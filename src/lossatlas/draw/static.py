"""How does a scene or a plot become a printed picture? By matplotlib, whose global state is left alone."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lossatlas import extras
from lossatlas.draw import record
from lossatlas.draw.render import Render
from lossatlas.draw.scene import Scene
from lossatlas.errors import SpecError
from lossatlas.figure.plot import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

__all__ = ["SUFFIXES", "check", "figure", "own_settings", "save", "write"]

SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp", ".eps")

# Fonts in a pdf stay text (42); a fixed salt and no date make the same scene the same file.
_SETTINGS = {
    "pdf.fonttype": 42, "ps.fonttype": 42, "svg.hashsalt": "lossatlas", "hatch.linewidth": 0.5, "path.simplify": False,
}  # fmt: skip
# Families that come with matplotlib are the fallback, for letters that a font lacks.
_FAMILIES = {
    "sans-serif": ["DejaVu Sans"],
    "serif": ["STIXGeneral", "DejaVu Serif", "DejaVu Sans"],
    "monospace": ["DejaVu Sans Mono", "DejaVu Sans"],
}


def check(scene: Scene | Plot, suffix: str) -> None:
    """Everything can be drawn; only the library may be missing.

    Args:
        scene: what is to be drawn.
        suffix: the format.

    Raises:
        ImportError: the library is not installed; the message has the command that installs it.
    """
    extras.require("matplotlib.figure", extra="draw", purpose=f"write a {suffix} file")


def figure(scene: Scene | Plot, how: Render | None = None, onto: Figure | SubFigure | None = None) -> Figure:
    """Draw a scene or a plot as a matplotlib figure that belongs to no window and to no global state.

    Args:
        scene: what is drawn, from :func:`lossatlas.draw.view.compile`; or a plot.
        how: render a relief.
        onto: an empty figure, which takes the picture's size, or a subfigure, whose size the picture takes.

    Returns:
        The figure, as wide as its paper has it: a column of a paper for one panel and a page for several.

    Raises:
        ImportError: matplotlib is not installed; the message has the command that installs it.
        SpecError: the paper is too small for what is on it.
    """
    extras.require("matplotlib.figure", extra="draw", purpose="draw a picture")
    from lossatlas.draw import static_lines, static_maps, static_plot, static_surface

    with own_settings(scene.paper.font):
        if isinstance(scene, Plot):
            return static_plot.draw(scene, onto)
        if scene.kind == "line":
            return static_lines.draw(scene, onto)
        if scene.kind == "surface":
            return static_surface.draw(scene, how, onto=onto)
        return static_maps.draw(scene, onto)


def write(
    scene: Scene | Plot, path: Path, *, suffix: str | None = None, how: Render | None = None, command: str = ""
) -> None:
    """Draw a scene or a plot into a file.

    Args:
        scene: what is drawn.
        path: the file.
        suffix: one of :data:`SUFFIXES` where the path's own does not say it.
        how: render a relief.
        command: how the picture is made, for its metadata.
    """
    kind = (suffix or path.suffix).lower().lstrip(".")
    made = io.BytesIO()  # on a full disk, matplotlib's pdf fails over its own stream rather than over the disk
    save(scene, made, kind, how, command)
    content = made.getvalue()
    path.write_bytes(_with_lines(content, record.lines(scene, command)) if kind == "eps" else content)


def save(scene: Scene | Plot, target: IO[Any], kind: str, how: Render | None = None, command: str = "") -> None:
    """Draw into a stream; ``kind`` is a suffix of :data:`SUFFIXES` without its point."""
    if how is not None and isinstance(scene, Scene) and not how.words:
        _save_bare(scene, target, kind, how, command)
        return
    drawn = figure(scene, how)
    known = record.metadata(scene, kind, command)
    options: dict[str, Any] = {"metadata": known} if known else {}
    if kind in ("jpg", "jpeg", "webp"):
        quality: dict[str, Any] = {"lossless": True} if kind == "webp" else {"quality": 95, "subsampling": 0}
        options["pil_kwargs"] = {**quality, "exif": record.exif(scene, command)}
    with own_settings(scene.paper.font), _opaque_unasked():
        drawn.savefig(
            target,
            format=kind,
            dpi=scene.theme.dpi,
            facecolor="none" if how is not None and how.transparent else drawn.get_facecolor(),
            **options,
        )


def _with_lines(content: bytes, lines: str) -> bytes:
    """An eps with comments after its first line, and without a date."""
    first, _, rest = content.decode("latin-1").partition("\n")
    rest = re.sub(r"^%%(CreationDate|Title):.*\n", "", rest, flags=re.MULTILINE)
    return f"{first}\n{lines}{rest}".encode("latin-1")


def _save_bare(scene: Scene, target: IO[Any], kind: str, how: Render, command: str) -> None:
    """The rendered relief alone, as many pixels as it has."""
    if kind != "png":
        raise SpecError(f"a rendered relief without words is a raster image: write a .png, not a .{kind}")
    from matplotlib import image

    from lossatlas.draw import static_surface

    known = record.metadata(scene, kind, command)
    image.imsave(target, static_surface.bare(scene, how), format="png", metadata=known)  # type: ignore[arg-type]


@contextmanager
def _opaque_unasked() -> Iterator[None]:
    """Without matplotlib's warning that eps has no transparency: nobody asked for any."""
    log = logging.getLogger("matplotlib.backends.backend_ps")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def own_settings(font: str = "sans-serif") -> Iterator[None]:
    """Matplotlib's defaults and ours while drawing, whatever the user has set; the user's settings again afterwards."""
    from matplotlib import style

    families = _FAMILIES.get(font, [font, "DejaVu Sans"])
    with style.context(["default", {**_SETTINGS, "font.family": families}]):
        yield
