"""`lossatlas merge`: the shards of a run become one."""

from __future__ import annotations

import click

from lossatlas.cli import Failure
from lossatlas.oneline import number_of

__all__ = ["merge_command"]


@click.command("merge")
@click.argument("run")
def merge_command(run: str) -> None:
    """Merge the points of all shards of a RUN into the run itself.

    Independent jobs that share one grid (`lossatlas sample … --run RUN --shard 3/8`) each keep their points in a
    journal of their own in RUN. `info`, `draw` and `la.open` see them as one even without this command, and the last
    shard to finish merges them itself. To finish a shard that died, run it again.

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
            f"{found.done} of {found.total} points are there; rerun the shards that did not finish, then merge again"
        )
    click.echo(f"merged: {run}, {found.total} points (lossatlas draw {run} -o picture.html)")
