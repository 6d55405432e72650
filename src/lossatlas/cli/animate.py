"""`lossatlas animate`: films of results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import click

from lossatlas.cli.filming import grown, lengths, walked
from lossatlas.cli.needed import needing, says
from lossatlas.cli.printed import named
from lossatlas.cli.sections import Sectioned
from lossatlas.errors import SpecError, unknown

__all__ = ["animate_command"]

FILMS = ("turn", "morph", "zoom", "path")


class _Filming(Sectioned):
    sections: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "What is shown": ("film", "label", "labels", "value", "factor"),
        "Range and colours": ("scale", "clip", "theme", "contours"),
        "Out": ("out", "seconds", "rate", "width"),
    }


@click.command("animate", cls=_Filming)
@click.argument("runs", nargs=-1, metavar="RUN...")
@click.option(
    "-o", "--out", required=True, metavar="FILM", help="An .mp4, .gif or .webp file, or a folder for png frames."
)
@click.option(
    "--film",
    default="turn",
    show_default=True,
    metavar="KIND",
    help="turn, morph (two runs), zoom, or path (a training run kept by lossatlas trajectory).",
)
@click.option("--label", "labels", multiple=True, metavar="NAME=RUN", help="A run and what to call it. Repeatable.")
@lengths()
@needing(
    "--factor",
    needs=says("film", "zoom"),
    type=float,
    default=8.0,
    show_default=True,
    metavar="TIMES",
    help="How much closer a zoom ends.",
)
@click.option("--value", metavar="NAME", help="What is drawn: loss (default) or the name of a metric.")
@click.option("--scale", metavar="SCALE", help="auto (default), linear, log.")
@click.option("--clip", type=float, metavar="VALUE", help="Largest value shown.")
@click.option("--theme", metavar="THEME", help="light (default), dark, talk.")
@needing(
    "--contours",
    needs=says("film", "turn", "morph"),
    is_flag=True,
    default=None,
    help="Draw the contour lines on the relief as well.",
)
def animate_command(
    runs: tuple[str, ...],
    out: str,
    film: str,
    labels: tuple[str, ...],
    seconds: float,
    rate: int,
    width: int,
    factor: float,
    **fields: Any,
) -> None:
    """Make a film: a surface that turns, one landscape that becomes another, a zoom towards the centre, a training run.

    The path of a training run grows over its surface, with its losses and the epoch beside it; `lossatlas trajectory
    --run` keeps both for this, and its --film makes the same film directly.

    \b
    Examples:
      lossatlas animate runs/a -o a.mp4
      lossatlas animate runs/skip runs/noskip -o morph.gif --film morph --scale log --seconds 4
      lossatlas animate runs/a -o frames --film zoom --factor 10
      lossatlas animate --label "without skips=runs/noskip" --label "with=runs/skip" -o morph.webp --film morph
      lossatlas animate runs/plane -o path.mp4 --film path --seconds 10 --rate 30 --width 1280
    """
    from lossatlas.draw.film import Morph, Turn, Zoom, animate
    from lossatlas.figure.kept import kept
    from lossatlas.results.opening import landscape_at
    from lossatlas.sampling.filling import preview

    if film not in FILMS:
        raise SpecError(unknown("--film", film, FILMS))
    runs, names = named(runs, labels)
    view = {name: value for name, value in fields.items() if value is not None} | ({"labels": names} if names else {})
    sized: dict[str, Any] = {"seconds": seconds, "rate": rate, "width": width}
    if film == "path":
        if len(runs) > 1:
            raise SpecError(f"--film path shows one run, got {len(runs)}; film one after the other")
        landscape, paths, upon = walked(runs[0])
        grown(landscape, out, paths, upon, **sized, **view)
        return
    made: Any = {"turn": Turn(), "morph": Morph(), "zoom": Zoom(factor=factor)}[film]
    landscapes = [preview(landscape_at(run)) for run in runs]
    if film != "morph" and (upon := [replace(one, panel=at) for at, run in enumerate(runs) for one in kept(run)]):
        view["overlays"] = upon  # in a morph they belong to neither surface
    click.echo(f"filmed: {animate(landscapes, out, made, **sized, **view)}")
