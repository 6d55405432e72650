"""`lossatlas animate`: films of results."""

from __future__ import annotations

from typing import Any

import click

from lossatlas.errors import SpecError, unknown

__all__ = ["animate_command"]

FILMS = ("turn", "morph", "zoom")


@click.command("animate")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("-o", "--out", required=True, metavar="FILM", help="An .mp4, .gif or .webp; or a folder, for png frames.")
@click.option("--film", default="turn", show_default=True, metavar="KIND", help="turn, morph (two runs), zoom.")
@click.option("--seconds", type=float, default=6.0, show_default=True, help="Its length.")
@click.option("--rate", type=int, default=24, show_default=True, help="Frames per second.")
@click.option("--width", type=int, default=960, show_default=True, help="Of a frame, in pixels.")
@click.option("--factor", type=float, default=8.0, show_default=True, help="Of a zoom: how many times closer it ends.")
@click.option("--value", metavar="NAME", help="What is drawn: loss (default) or the name of a metric.")
@click.option("--scale", metavar="SCALE", help="auto (default), linear, log.")
@click.option("--clip", type=float, metavar="VALUE", help="Largest value shown.")
@click.option("--theme", metavar="THEME", help="light (default), dark, talk.")
@click.option("--contours", is_flag=True, default=None, help="Draw the contour lines on the relief as well.")
def animate_command(
    runs: tuple[str, ...],
    out: str,
    film: str,
    seconds: float,
    rate: int,
    width: int,
    factor: float,
    **fields: Any,
) -> None:
    """Make a film: a surface that turns, one landscape that becomes another, a zoom towards the centre.

    The film of a training run over its surface is made by `lossatlas trajectory --film`.

    \b
    Examples:
      lossatlas animate runs/a -o a.mp4
      lossatlas animate runs/skip runs/noskip -o morph.gif --film morph --scale log --seconds 4
      lossatlas animate runs/a -o frames --film zoom --factor 10
    """
    from lossatlas.draw.film import Morph, Turn, Zoom, animate
    from lossatlas.results.opening import landscape_at
    from lossatlas.sampling.filling import preview

    if film not in FILMS:
        raise SpecError(unknown("--film", film, FILMS))
    made: Any = {"turn": Turn(), "morph": Morph(), "zoom": Zoom(factor=factor)}[film]
    view = {name: value for name, value in fields.items() if value is not None}
    landscapes = [preview(landscape_at(run)) for run in runs]
    done = animate(landscapes, out, made, seconds=seconds, rate=rate, width=width, **view)
    click.echo(f"filmed: {done}")
