"""`lossatlas repair`: say which parts of a run are damaged, and recompute just those."""

from __future__ import annotations

import itertools
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from lossatlas.cli import Failure

__all__ = ["repair_command"]


@click.command("repair")
@click.argument("run")
@click.option("--yes", is_flag=True, help="Repair at once, without asking.")
def repair_command(run: str, yes: bool) -> None:
    """Check every file of a RUN against its checksums; damaged parts are set aside and recomputed.

    It first says what it will do. Undamaged points are kept. The rest is recomputed by the command that began the run,
    if that was one of lossatlas; otherwise start your program again, and it computes what is missing.

    \b
    Examples:
      lossatlas repair runs/a
      lossatlas repair runs/a --yes

    Exit codes: 0 the run is whole, or was repaired; 1 it is damaged; 2 it cannot be repaired.
    """
    from lossatlas.results import repair
    from lossatlas.untrusted import printable

    found = repair.examine(Path(run), _checks())
    if not found.damages:
        click.echo(_whole(found))
        return
    for line in _plan(found, again := _again(found)):
        click.echo(printable(line))
    if not yes and not (sys.stdin.isatty() and click.confirm("Repair it now?")):
        raise Failure(f"nothing was changed; to repair it: `{shlex.join(['lossatlas', 'repair', run, '--yes'])}`")
    repair.mend(found)
    click.echo(f"repaired: {run}; the damaged files are in {Path(run) / repair.ASIDE}")
    if again and _ran(again):
        raise Failure(f"the command failed; all undamaged points are kept in {run}, and the same command resumes there")


def _ran(command: list[str]) -> int:
    """The exit status of a command; it is told what this one is told, so that it can end after its block."""
    told = 0
    # In a session of its own it hears a terminal's Ctrl-C from here alone: a second one would stop it in its block.
    with subprocess.Popen(command, start_new_session=True) as running:
        while True:
            try:
                code = running.wait()
                break
            except KeyboardInterrupt:
                told += 1
                running.terminate()
    if told:
        raise KeyboardInterrupt
    return code


def _checks() -> dict[str, Any]:
    """The files of other rooms, and how they are read."""
    from lossatlas.space.planefile import load_directions

    return {"directions.safetensors": load_directions}


def _whole(found: Any) -> str:
    done, total = len(found.found.told.indices), found.total
    if not found.found.verified:
        return (
            f"{found.folder}: {done} of {total} points, with no visible damage: version 0.1 wrote no checksums; "
            "continuing the run adds them"
        )
    return f"{found.folder} is whole: {done} of {total} points, and every checksum matches"


def _plan(found: Any, again: list[str]) -> list[str]:
    from lossatlas.results.journal import in_words

    lines = []
    for damage in found.damages:
        lines += [f"{damage.file}: {damage.what}", f"  it {damage.remedy}"]
    if found.affected:
        which = f" ({in_words(found.found.broken)})" if found.found.broken else ""
        lines.append(f"to recompute: {found.affected} of {found.total} points{which}")
    if again:
        lines.append(f"by the command that began the run: {shlex.join(['lossatlas', *again[3:]])}")
    else:
        began = f" ({found.command})" if found.command else ""
        lines.append(
            f"to finish, restart the program that began the run{began} on {found.folder}: it computes what is missing"
        )
    return lines


def _again(found: Any) -> list[str]:
    """The command that began the run, if it was one of lossatlas for this very folder; empty otherwise."""
    try:
        words = shlex.split(found.command)
    except ValueError:
        return []
    if not words or Path(words[0]).name not in ("lossatlas", "__main__.py"):
        return []
    places = [after for before, after in itertools.pairwise(words) if before == "--run"]
    places += [word.removeprefix("--run=") for word in words if word.startswith("--run=")]
    if not any(_same(Path(place), found.folder) for place in places):
        return []
    return [sys.executable, "-m", "lossatlas", *words[1:]]


def _same(a: Path, b: Path) -> bool:
    try:
        return a.resolve() == b.resolve()
    except (OSError, ValueError):
        return False
