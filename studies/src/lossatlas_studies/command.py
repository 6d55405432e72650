"""`lossatlas study`: run a claim about loss landscapes as an experiment, and write its page."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lossatlas.cli.needed import Checked, Need, flag, needing, unless
from lossatlas.errors import SpecError

_RUN = unless("listing", words="studies that are run, but --list runs none")
_ONE = unless("everything", words="one study, but --all runs them all")


@click.command("study", cls=Checked)
@click.argument("name", required=False)
@needing(
    "--scale",
    needs=Need(
        words="a study, but --list names them all",
        met=lambda told: told["name"] or not told["listing"],
        so="name a study",
    ),
    type=click.Choice(["small", "paper"]),
    default="small",
    help="small takes minutes; paper is the paper's setting.",
)
@needing(
    "--set",
    "sets",
    needs=(_RUN, _ONE),
    multiple=True,
    metavar="NAME=VALUE",
    help="Change one setting; may be repeated.",
)
@needing("--all", "everything", needs=_RUN, is_flag=True, help="Run all studies and build their index.")
@needing(
    "--jobs",
    needs=(_RUN, flag("everything", words="--all: it says how many studies are run at a time")),
    type=click.IntRange(min=1),
    help="With --all: number of studies at a time, one thread each.  [default: 1]",
)
@click.option("--list", "listing", is_flag=True, help="List the studies, or with NAME the settings of one.")
@needing("--dry-run", "dry", needs=_RUN, is_flag=True, help="Check every stage with at most a hundredth of its work.")
@needing(
    "--out",
    needs=_RUN,
    type=click.Path(path_type=Path),
    default=Path("lossatlas-studies"),
    help="Folder for everything.",
)
@needing("--device", needs=_RUN, default="", help="Where to compute (default: a GPU if there is one).")
def study_command(
    name: str | None,
    scale: str,
    sets: tuple[str, ...],
    everything: bool,
    jobs: int | None,
    listing: bool,
    dry: bool,
    out: Path,
    device: str,
) -> None:
    """Test a claim about loss landscapes in an experiment of your own.

    A study trains networks, measures their landscapes, and says whether the claim is seen, with an interval. An
    interrupted run continues where it stopped.

    \b
    Examples:
      lossatlas study --list
      lossatlas study skip-connections
      lossatlas study skip-connections --set depths=8,20 --set seeds=3
      lossatlas study --all --scale small --jobs 2
      lossatlas study skip-connections --scale paper --dry-run
    """
    from lossatlas_studies import names

    if listing:
        _list(name, scale)
        return
    if everything == bool(name):
        raise SpecError(f"name a study or give --all; the studies are {', '.join(names())}")
    words = ["--scale", scale, "--out", str(out), *(["--device", device] if device else []), *["--dry-run"] * dry]
    if everything:
        _all(words, jobs or 1, out / (f"dry-{scale}" if dry else scale))
    else:
        _one(name or "", scale, sets, dry, out, device)


def _one(name: str, scale: str, sets: tuple[str, ...], dry: bool, out: Path, device: str) -> None:
    from lossatlas_studies import study
    from lossatlas_studies.page import write_index
    from lossatlas_studies.performance import Order, perform
    from lossatlas_studies.settings import changed

    chosen = study(name)
    settings = changed(chosen.settings(scale), sets)
    order = Order(study=chosen, scale=scale, settings=settings, folder=out, dry=dry, device=device)
    click.echo(f"{chosen.name}: {chosen.question}", err=True)
    page = perform(order, say=lambda words: click.echo(f"  {words}", err=True))
    _say_verdicts(page.parent)
    index = write_index(page.parent.parent)
    click.echo(f"Page: {page.resolve().as_uri()}")
    click.echo(f"Index: {index.resolve().as_uri()}")


def _all(words: list[str], jobs: int, folder: Path) -> None:
    """Every study as the command that does it alone, and the index; failures are reported at the end."""
    from lossatlas.cli import Failure
    from lossatlas_studies import names
    from lossatlas_studies.page import write_index
    from lossatlas_studies.together import run_together

    commands = {name: [sys.executable, "-m", "lossatlas", "study", name, *words] for name in names()}
    ended = run_together(commands, jobs, lambda line: click.echo(line, err=True))
    failed = [one for one in ended if one.code]
    if len(failed) < len(ended):
        click.echo(f"Index: {write_index(folder).resolve().as_uri()}")
    if failed:
        lines = "\n".join(f"  {one.name}, exit status {one.code}: {one.last}" for one in failed)
        raise Failure(
            f"{len(failed)} of {len(ended)} studies failed; the same command continues with what is left of "
            f"them\n{lines}"
        )


def _say_verdicts(folder: Path) -> None:
    import json

    from lossatlas_studies.performance import FINDINGS

    for verdict in json.loads((folder / FINDINGS).read_text(encoding="utf-8"))["verdicts"]:
        click.echo(f"  {verdict['claim']}\n    {verdict['words']} {verdict['caveat']}")


def _list(name: str | None, scale: str) -> None:
    from lossatlas_studies import names, study
    from lossatlas_studies.settings import described

    if name is None:
        for each in names():
            click.echo(f"{each:24}{study(each).title}")
        return
    found = study(name)
    click.echo(f"{found.title}\n{found.question}\nClaim: {found.claim}\nSource: {found.source}\n")
    for setting, (value, meaning) in described(found.settings(scale)).items():
        click.echo(f"{setting}={value}    {meaning}")
