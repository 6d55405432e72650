"""`lossatlas report`: runs on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lossatlas.untrusted import json_object

__all__ = ["report_command"]


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("-o", "--out", required=True, metavar="PAGE", help="The .html file.")
@click.option("--title", default="Loss landscape", metavar="TEXT", help="Heading of the page.")
def report_command(runs: tuple[str, ...], out: str, title: str) -> None:
    """Put run folders or .nc files on one page that works without a network: pictures, statements, numbers.

    Of each slice the page says in words what it proves, and how the share of area that bends down depends on the
    threshold, and which minima and passes the field has. A folder of `lossatlas sample --seeds` gives the median over
    seeds and their spread, one of `lossatlas connect --run` the barriers and the loss along its ways, a .json of
    `lossatlas sharpness --json` its measures of flatness. What `lossatlas eigen --run RUN` found at the centre of a run
    stands beside it, with what it does not prove.

    \b
    Examples:
      lossatlas report runs/a -o a.html
      lossatlas report runs/a flat.json -o a.html
      lossatlas report runs/skip runs/noskip runs/map -o comparison.html --title "With and without skips"
    """
    import lossatlas as la
    from lossatlas.connect.connections import is_connection
    from lossatlas.draw.report import report
    from lossatlas.draw.statement import flatness_statement, seeds_statement, statement
    from lossatlas.field.uncertainty import Seeds, seed_folders

    several = {run: Seeds.open(run) for run in runs if seed_folders(run)}
    flat = {run: _json(run) for run in runs if run.endswith(".json")}
    parts: list[Any] = []
    for run in runs:
        if run in several:
            parts += seeds_statement(several[run])
        elif run in flat:
            parts += flatness_statement(flat[run])
        elif is_connection(run):
            parts += _ways(run)
        else:
            parts += statement(la.open(run))
    click.echo(f"written: {report(out, title, parts)}")


def _ways(run: str) -> list[Any]:
    """What lies between two networks."""
    import lossatlas as la
    from lossatlas.connect.connections import PLANE, known, overlays_of, ways_of
    from lossatlas.draw.statement import ways_statement
    from lossatlas.figure.parts import Picture
    from lossatlas.sampling.filling import preview

    content, plane = known(run), Path(run) / PLANE
    shown = None
    if plane.is_dir():
        shown = Picture(preview(la.open(plane)), view={"overlays": overlays_of(plane)})
    return ways_statement(content["title"], content["barriers"], ways_of(run), shown)


def _json(path: str) -> Any:
    return json_object(path, "measures of flatness, as lossatlas sharpness --json writes them")
