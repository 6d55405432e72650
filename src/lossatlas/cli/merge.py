"""`lossatlas merge`: the shards of a run become one."""

from __future__ import annotations

import click

from lossatlas.cli import Failure
from lossatlas.oneline import number_of

__all__ = ["merge_command"]


@click.command("merge")
@click.argument("run")
def merge_command(run: str) -> None:
    """Take the points of all shards of a RUN over into the run itself.

    Independent jobs that work at one grid (`lossatlas sample … --run RUN --shard 3/8`) each keep their points in a
    journal of their own in RUN. `info`, `draw` and `la.open` see them as one without this command, and the last shard
    to end merges them itself. A shard that died is finished by running it again.

    \b
    Example:
      lossatlas merge runs/a

    Exit codes: 0 the run is whole; 1 points are missing; 2 bad input.
    """
    from lossatlas.results.merge import merge

    found = merge(run)
    for name, count in found.shards.items():
        click.echo(f"shard {name}: {number_of(count, 'point')}")
    if not found.whole:
        raise Failure(
            f"{found.done} of {found.total} points are there; run the shards again that did not end, then merge again"
        )
    click.echo(f"merged: {run}, {found.total} points (lossatlas draw {run} -o picture.html)")
