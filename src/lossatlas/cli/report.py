"""`lossatlas report`: runs on one page."""

from __future__ import annotations

import click

__all__ = ["report_command"]


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("-o", "--out", required=True, metavar="PAGE", help="The .html file.")
@click.option("--title", default="Loss landscape", metavar="TEXT", help="Heading of the page.")
def report_command(runs: tuple[str, ...], out: str, title: str) -> None:
    """Put run folders or .nc files on one self-contained page: pictures, statements, numbers.

    Slices stand side by side, on one scale, under names that tell them apart. For each, the page says in words what it
    proves, how the share of area that bends down depends on the threshold, and which minima and passes the field has. A
    folder of `lossatlas sample --seeds` gives the median over seeds and their spread; one of `lossatlas connect --run`,
    the barriers and the loss along its paths; one of a lossatlas.Recorder, the variance of its path beside that of a
    random walk; and a .json of `lossatlas sharpness --json`, its measures of flatness. What `lossatlas eigen --run RUN`
    found at the centre of a run stands beside that run, with what it does not prove.

    \b
    Examples:
      lossatlas report runs/a -o a.html
      lossatlas report runs/a flat.json -o a.html
      lossatlas report runs/skip runs/noskip runs/map -o comparison.html --title "With and without skips"
    """
    from lossatlas.cli.kinds import opened, parts_of
    from lossatlas.draw.report import report

    click.echo(f"written: {report(out, title, parts_of(list(map(opened, runs))))}")
