"""`lossatlas report`: runs on one page."""

from __future__ import annotations

import click


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("-o", "--out", required=True, metavar="PAGE", help="The .html file.")
@click.option("--title", default="Loss landscape", metavar="TEXT", help="Heading of the page.")
def report_command(runs: tuple[str, ...], out: str, title: str) -> None:
    """Put run folders or .nc files on one page that works without a network: pictures, statements, numbers.

    Of each slice the page says in words what it proves, and how the share of area that bends down depends on the
    threshold, and which minima and passes the field has. A folder of `lossatlas sample --seeds` gives the median over
    seeds and their spread. What `lossatlas eigen --run RUN` found at its centre stands beside it, with what it does not
    prove.

    \b
    Examples:
      lossatlas report runs/a -o a.html
      lossatlas report runs/skip runs/noskip runs/map -o comparison.html --title "With and without skips"
    """
    import lossatlas as la
    from lossatlas.analysis.uncertainty import Seeds, seed_folders
    from lossatlas.draw.report import report
    from lossatlas.draw.statement import seeds_statement, statement

    several = {run: Seeds.open(run) for run in runs if seed_folders(run)}
    parts = [
        part for run in runs for part in (seeds_statement(several[run]) if run in several else statement(la.open(run)))
    ]
    click.echo(f"written: {report(out, title, parts)}")
