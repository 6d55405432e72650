"""`lossatlas check`: can a picture be trusted, and if not, what is to be done?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from lossatlas.cli import Failure
from lossatlas.cli.as_json import echo_json
from lossatlas.oneline import verb_of

__all__ = ["check_command"]

_SIGNS = {"fine": "fine   ", "odd": "ODD    ", "unknown": "unknown"}


@click.command("check")
@click.argument("runs", nargs=-1, required=True, metavar="RUN [OTHER …]")
@click.option("--value", metavar="NAME", default="loss", help="Which value: loss (default) or the name of a metric.")
@click.option("--expect", type=float, metavar="VALUE", help="The value that training reported for this network.")
@click.option("--strict", is_flag=True, help="Exit with 1 if anything is odd.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check_command(runs: tuple[str, ...], value: str, expect: float | None, strict: bool, as_json: bool) -> None:
    """Check whether the picture of a RUN can be trusted: what is odd, and what to do about it.

    Is the centre a minimum of the slice? Are two seeds alike? Is the range sensible? Did BatchNorm lose its statistics?
    How much is clipped? Is the loss at the centre the one you know? Further runs must be of the same model along other
    random directions; a folder made with --seeds holds several.

    \b
    Examples:
      lossatlas check runs/a
      lossatlas check runs/a --expect 0.0312
      lossatlas check runs/seed-0 runs/seed-1 --strict
    """
    import lossatlas as la
    from lossatlas.field.checks import check
    from lossatlas.field.uncertainty import seed_folders

    paths = [str(path) for run in runs for path in (seed_folders(run) or (run,))]
    first, *others = [la.open(path) for path in paths]
    found = check(first, others, value=value, expected=expect)
    if as_json:
        echo_json([asdict(finding) for finding in found])
    else:
        for finding in found:
            click.echo(_line(finding))
    odd = sum(finding.verdict == "odd" for finding in found)
    if strict and odd:
        raise Failure(f"{odd} of {len(found)} findings {verb_of(odd, 'is')} odd")


def _line(finding: Any) -> str:
    advice = f"\n         → {finding.advice}" if finding.advice else ""
    return f"{_SIGNS[finding.verdict]}  {finding.question} {finding.words}{advice}"
