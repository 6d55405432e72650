"""`lossatlas draw`: pictures of results."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import fields as fields_of
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import click

from lossatlas.cli.forms import MAP, MESH, PAGE, RELIEF, WEB, forms, shown_by
from lossatlas.cli.kinds import Result
from lossatlas.cli.needed import check_late, flag, needing
from lossatlas.cli.printed import given, named, printed
from lossatlas.cli.sections import Sectioned
from lossatlas.errors import SpecError
from lossatlas.figure.paper import Paper

__all__ = ["command", "draw_command"]


_WORDED = shown_by(*PAGE, WEB, words="pictures and pages")
_RELIEF = shown_by(RELIEF, WEB, words="reliefs: --kind surface")


class _Drawing(Sectioned):
    sections: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "What is drawn": (
            "labels",
            "value",
            "kind",
            "minus_centre",
            "points",
            "marks",
            "holes",
            "contours",
            "ratio",
            "config",
        ),
        "Range and colours": ("scale", "clip", "vmin", "vmax", "levels", "colours", "theme"),
        "Reliefs": ("camera", "render", "bare", "transparent"),
        "Words": (
            "title",
            "x_label",
            "y_label",
            "value_label",
            "letters",
            "legend",
            "ticks",
            "units",
            "caption",
            "latex",
        ),
        "Size": ("width", "height", "aspect", "font", "font_size", "dpi"),
        "Out": ("out",),
    }


def _map(_context: click.Context, _option: click.Parameter, run: str | None) -> Any:
    """The map of curvature that a run has."""
    import lossatlas as la

    return None if run is None else la.open(run)


@click.command("draw", cls=_Drawing)
@click.argument("runs", nargs=-1, metavar="RUN...")
@click.option(
    "-o", "--out", multiple=True, required=True, metavar="PICTURE", help="File to write; its suffix decides the format."
)
@click.option("--label", "labels", multiple=True, metavar="NAME=RUN", help="A run and what to call it. Repeatable.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file with a table [view] that uses these names.",
)
@click.option("--value", metavar="NAME", help="What is drawn: loss (default) or the name of a metric.")
@click.option("--kind", metavar="KIND", help="auto (default), line, contour, filled, heat, surface.")
@click.option("--scale", metavar="SCALE", help="auto (default), linear, log.")
@click.option("--clip", metavar="VALUE", help="Largest value shown: auto (default), none, or a number.")
@click.option("--vmin", type=float, metavar="VALUE", help="Lower end of the range, set by hand.")
@click.option("--vmax", type=float, metavar="VALUE", help="Upper end, set by hand; it may lie above all values.")
@click.option("--minus-centre", is_flag=True, default=None, help="Subtract the value at the centre, for comparisons.")
@click.option("--levels", type=int, metavar="N", help="Approximate number of contour lines (12).")
@needing(
    "--theme",
    needs=_WORDED,
    metavar="THEME",
    help="light (default), dark, talk, print (greys).",
)
@needing("--title", needs=_WORDED, metavar="TEXT", help="Heading of the picture.")
@needing(
    "--contours",
    needs=_RELIEF,
    is_flag=True,
    default=None,
    help="Draw the contour lines on the relief as well.",
)
@needing(
    "--camera",
    needs=_RELIEF,
    nargs=2,
    type=float,
    metavar="ELEVATION AZIMUTH",
    help="Where the camera stands, in degrees (default: where the valley is seen best).",
)
@click.option("--render", is_flag=True, help="Render the relief with soft light; takes a few seconds (png, pdf, svg).")
@needing("--bare", needs=flag("render"), is_flag=True, help="With --render: only the relief, without words (png).")
@needing("--transparent", needs=flag("render"), is_flag=True, help="With --render: a transparent background.")
@needing(
    "--mark",
    "marks",
    needs=shown_by(MAP, RELIEF, WEB, MESH, words="maps, reliefs and meshes"),
    multiple=True,
    metavar="NAME=X,Y",
    help="Mark a place on a map or a relief. Repeatable.",
)
@click.option(
    "--ratio", callback=_map, metavar="MAPRUN", help="Overlay |λmin/λmax| from this map of the same plane (html)."
)
@needing(
    "--points",
    needs=shown_by(MAP, WEB, words="maps"),
    is_flag=True,
    default=None,
    help="Show which points were evaluated (after --adaptive).",
)
@printed
@click.option("--latex", is_flag=True, help="Write the full caption beside the picture, as \\caption in a .tex file.")
@click.option("--holes", is_flag=True, help="Leave points not yet evaluated empty instead of interpolating them.")
def draw_command(
    runs: tuple[str, ...],
    out: tuple[str, ...],
    labels: tuple[str, ...],
    marks: tuple[str, ...],
    config: Path | None,
    clip: str | None,
    holes: bool,
    latex: bool,
    render: bool,
    bare: bool,
    transparent: bool,
    **fields: Any,
) -> None:
    """Draw one or more results: run folders, finished or not, and .nc files; or a single result of another kind.

    The other kinds are the folders of `lossatlas connect`, of several seeds and of a recorded path, and the .json of
    `lossatlas sharpness`. Numbers from other programs (csv, npz, h5) are drawn as they are.

    Several results share axes, levels, colours and camera. In an unfinished run the missing points are interpolated,
    and the caption says so: a grid is visited from coarse to fine, so there is a picture after a few seconds.

    \b
    Examples:
      lossatlas draw runs/a -o a.png
      lossatlas draw runs/a -o a.html -o a.pdf
      lossatlas draw runs/a -o surface.svg --kind surface --scale log
      lossatlas draw runs/skip runs/noskip -o comparison.html
      lossatlas draw runs/a -o a.png --vmin 0 --vmax 3      (the same range in every picture)
      lossatlas draw runs/a runs/b -o b.png --minus-centre  (how far the loss rises above each centre)
      lossatlas draw runs/a -o cover.png --render --bare --transparent
      lossatlas draw runs/a -o error.png --value error
      lossatlas draw runs/a -o marked.png --mark "SGD=0.4,-0.1" --mark "SWA=0.1,0"
      lossatlas draw runs/a -o a.html --ratio runs/map    (the map of lossatlas eigen --map over the surface)
      lossatlas draw --label SGD=runs/a --label Adam=runs/b -o paper.pdf --width text --font serif --letters --latex
      lossatlas draw runs/a -o grey.eps --width column --font-size 7 --theme print --no-units
      lossatlas draw runs/ways -o ways.png    (what lossatlas connect --run kept)
      lossatlas draw runs/path -o variance.png    (what a lossatlas.Recorder wrote)
      lossatlas draw flat.json -o flat.png        (what lossatlas sharpness --json printed)
      lossatlas draw runs/a -o a.glb          (Blender; .vtp and .vti for ParaView, .stl for printing)
    """
    import lossatlas as la
    from lossatlas.cli.kinds import opened
    from lossatlas.cli.marking import points
    from lossatlas.connect.connections import overlays_of
    from lossatlas.draw import Render, check_path
    from lossatlas.draw.static import SUFFIXES
    from lossatlas.figure.kept import kept
    from lossatlas.results.landscape import axis_names

    runs, names = named(runs, labels)
    at = points(marks)
    for path in out:
        check_path(path)
    how: Any = Render(words=not bare, transparent=transparent) if render else False
    view = given(config, fields)
    results = [opened(run) for run in runs]
    if plots := [result for result in results if not result.is_field]:
        options = {**view, **({"clip": clip} if clip else {}), **({"holes": True} if holes else {})}
        options |= {"mark": at} if at else {}
        _draw_plot(plots[0], len(runs), out, options, latex=latex)
        return
    if clip is not None:
        view["clip"] = None if clip == "none" else clip if clip == "auto" else _number(clip)
    upon = [replace(overlay, panel=at) for at, run in enumerate(runs) for overlay in (*overlays_of(run), *kept(run))]
    upon += at
    if upon:
        view["overlays"] = upon
    fields_of_each = [result.shown(holes=holes) for result in results]
    parts = [list(each) if isinstance(each, (list, tuple)) else [each] for each in fields_of_each]
    landscapes = [one for part in parts for one in part]
    axes = len(axis_names(landscapes[0]))
    check_late(forms=forms(out, SUFFIXES, axes, str(view.get("kind", "auto")), render=render))
    if names:
        view["labels"] = [name for name, part in zip(names, parts, strict=True) for _ in part]
    for path in out:
        shown = landscapes if len(landscapes) > 1 else landscapes[0]
        drawn = la.draw(shown, path, render=how, latex=latex, command=command(), **view)
        click.echo(f"drawn: {drawn}")


def command() -> str:
    """The command line as it was given, without the path of the program.

    Returns:
        The line.
    """
    return shlex.join(["lossatlas", *sys.argv[1:]])


def _draw_plot(result: Result, count: int, out: tuple[str, ...], view: dict[str, Any], *, latex: bool) -> None:
    """Draw a result that is not a Landscape, as a picture of its own."""
    import lossatlas as la

    if count > 1:
        raise SpecError(f"{result.path} and others: connections, paths and measures are drawn one at a time")
    value = view.pop("value", None)
    scale = {"scale": view.pop("scale")} if result.kind == "connection" and "scale" in view else {}
    good = {field.name for field in fields_of(Paper)} | {"theme", "title"}
    if unfit := [f"--{name.replace('_', '-')}" for name in view if name not in good]:
        raise SpecError(
            f"{', '.join(unfit)}: {result.path} is drawn as a plot, which takes --theme, --title and the flags of a "
            "page; leave it out"
        )
    for path in out:
        drawn = la.draw(result.shown(value, **scale), path, latex=latex, command=command(), **view)
        click.echo(f"drawn: {drawn}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}; expected a number, auto or none", param_hint="--clip") from None
