"""How does a command that finds numbers keep them in a folder of their own, for ``draw``, ``info`` and ``report``?"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import click

from lossatlas.cli.options import settings

__all__ = ["check_numbers", "identity_of", "keep_numbers", "own_run", "own_settings", "run_option"]


def run_option() -> Callable[[Any], Any]:
    """``--run`` of a command that keeps numbers; the ``run`` in a settings file is that of ``lossatlas sample``."""
    return click.option(
        "--run",
        default="",
        metavar="FOLDER",
        help="Keep the results here, for draw, info and report, beside other numbers of the same network.",
    )


def own_run(told: Mapping[str, Any], flag: str | None, kinds: Collection[str]) -> str:
    """Where a command keeps its answer, which is not that of ``lossatlas sample``.

    The ``run`` in a settings file is that of ``lossatlas sample``: it would refuse a folder that holds something else,
    so only ``--run`` makes a new one. If the answer is not kept, standard error says so.

    Args:
        told: the settings, overruled by the flags.
        flag: what ``--run`` says.
        kinds: what the command joins or resumes, by the names of :data:`lossatlas.results.opening.KINDS`; a folder in
            the settings that holds such a result is taken.

    Returns:
        The folder; empty where nothing is kept.
    """
    from lossatlas.results.opening import kind_of

    run = str(told.get("run") or "")
    if not run or flag:
        return run
    there = kind_of(run)
    if there is not None and there.name in kinds:
        return run
    click.echo(f"note: run = {run!r} in the settings is for lossatlas sample; --run FOLDER keeps this answer", err=True)
    return ""


def own_settings(config: Path | None, given: dict[str, Any]) -> dict[str, Any]:
    """The settings of a command that answers another question than ``lossatlas sample`` about the same scan.

    The ``out`` in a settings file is the picture of ``lossatlas sample``, which must not be drawn over; ``--out`` draws
    this answer.

    Returns:
        Values by the names of a Scan's fields, without those that were not given.
    """
    told = settings(config, given)
    return {name: value for name, value in told.items() if name != "out" or given.get("out")}


def identity_of(models: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal for numbers to be kept side by side.

    Args:
        models: objectives by name; a single one is known by what it is, not by its name.

    Returns:
        Model, data and loss; of several, of each by its name.
    """
    from lossatlas.sampling.provenance import subject_identity

    known = {name: subject_identity(objective) for name, objective in models.items()}
    return dict(next(iter(known.values()))) if len(known) == 1 else {"models": known}


def check_numbers(run: str, models: Mapping[str, Any]) -> None:
    """Check, before anything is computed, that a folder can take these numbers.

    Args:
        run: the folder; empty where nothing is kept.
        models: whose numbers, objectives by name.
    """
    from lossatlas.figure import stored

    if run:
        stored.check(run, identity_of(models))


def keep_numbers(run: str, title: str, models: Mapping[str, Any], sections: Mapping[str, Any], *, quiet: bool) -> None:
    """Keep answers in a folder of their own, beside what is there, and print how each is drawn again.

    Args:
        run: the folder; empty where nothing is kept.
        title: what they are of.
        models: whose numbers, objectives by name.
        sections: the answers by name.
        quiet: whether standard output is JSON.
    """
    from lossatlas.figure.stored import Numbers, beside, keep

    if not run:
        return
    free = beside(run, sections)
    keep(run, Numbers(title=title, sections=free, identity=identity_of(models)))
    for name in sections:
        if name not in free:
            click.echo(f"note: {run} has other numbers called {name!r}, and keeps them", err=True)
    for name in free:
        again = f"lossatlas draw {shlex.quote(run)} --value {shlex.quote(name)} -o picture.png"
        click.echo(f"kept: {run} ({again})", err=quiet)
