"""`lossatlas compare`: do two models differ by more than their random directions do?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click

from lossatlas.cli.as_json import echo_json

__all__ = ["compare_command"]


@click.command("compare")
@click.argument("a")
@click.argument("b")
@click.option("--value", metavar="NAME", default="loss", help="Which value: loss (default) or the name of a metric.")
@click.option(
    "--scale",
    metavar="SCALE",
    default="auto",
    help="linear: difference of means; log: ratio of geometric means; auto (default): chosen by the range.",
)
@click.option("--out", multiple=True, metavar="PICTURE", help="Draw both models; lines become medians with bands.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare_command(a: str, b: str, value: str, scale: str, out: tuple[str, ...], as_json: bool) -> None:
    """Test whether the models of A and B differ by more than the spread over direction seeds.

    A and B are folders written by `lossatlas sample --seeds K --run FOLDER`, on the same grid. Each seed contributes
    one number, the mean over the grid; the 95 % interval of the difference is Welch's, over seeds. Where both were
    sampled with --standard-error, it includes the error over samples.

    \b
    Examples:
      lossatlas sample --config skip.toml --x -1 1 51 --seeds 5 --run runs/skip
      lossatlas sample --config noskip.toml --x -1 1 51 --seeds 5 --run runs/noskip
      lossatlas compare runs/skip runs/noskip --out both.png

    This compares two trained networks, not two architectures: to say that one architecture is flatter, train several
    networks of each.
    """
    import lossatlas as la
    from lossatlas.draw import check_path
    from lossatlas.field.ruggedness import MEASURES, over_seeds
    from lossatlas.field.uncertainty import Seeds, compare

    for path in out:
        check_path(path)
    sides = Seeds.open(a), Seeds.open(b)
    found = compare(*sides, value, scale=scale)  # type: ignore[arg-type]
    rugged = [over_seeds(side.runs) for side in sides] if _straight(sides) else []
    if as_json:
        measures = [{name: asdict(one) for name, one in side.items()} for side in rugged]
        told = {**asdict(found), "ruggedness": measures}
        echo_json(told)
    else:
        for side in sides:
            click.echo(side.words(value))
        click.echo(f"{found.words}\n{found.caveat}")
        for name, what in MEASURES.items() if rugged else ():
            click.echo(f"{what}: {' against '.join(side[name].words for side in rugged)}")
    flat = sides[0].runs[0]["status"].ndim == 1
    shown = [run for side in sides for run in side.runs] if flat else [side.landscape for side in sides]
    for path in out:
        click.echo(f"drawn: {la.draw(shown, path, value=value)}", err=as_json)


def _straight(sides: Iterable[Any]) -> bool:
    """Whether all are losses on straight slices, which alone have a ruggedness."""
    from lossatlas.field.inequality import bent

    return all("loss" in run and not bent(run) for side in sides for run in side.runs)
