"""How is the surface under recorded paths sampled while a server runs? In a process that gives way to all others."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from lossatlas.cli.scan import Scan, build_model, build_objective
from lossatlas.errors import SpecError
from lossatlas.objective import Objective
from lossatlas.parent import leave_to_parent, starting
from lossatlas.paths.below import Below
from lossatlas.results.opening import kind_of

__all__ = ["beside", "check", "idle", "refine"]

_PAUSE = 0.5


def check(budget: float, points: int) -> None:
    """Refuse numbers that no surface can be sampled with, before anything is started.

    Raises:
        SpecError: a number is out of range.
    """
    Below(Path(), nn.Identity(), _none, budget=budget, points=points)


def _none(model: nn.Module) -> Objective:
    raise SpecError("there is no objective")


@contextlib.contextmanager
def beside(work: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Let a process work while the block runs; it ends with the block, whatever it is doing."""
    process = multiprocessing.get_context("spawn").Process(target=_working, args=(work, *arguments), daemon=True)
    with contextlib.ExitStack() as ends:
        with starting():
            process.start()
            ends.callback(process.join, 10)
            ends.callback(process.terminate)
        yield


def _working(work: Callable[..., None], *arguments: Any) -> None:
    """Work until the parent says stop: Ctrl-C reaches both processes, but only the parent acts on it."""
    leave_to_parent()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt):
        work(*arguments)


def idle(parent: int) -> bool:
    """Make this process give way to all others.

    Args:
        parent: the process that started it.

    Returns:
        Whether that process is still there.
    """
    if hasattr(os, "nice") and os.nice(0) < 19:
        os.nice(19)
        torch.set_num_threads(1)
    return os.getppid() == parent


def refine(roots: Sequence[Path], scan: Scan, budget: float, points: int, parent: int) -> None:
    """Sample the surfaces under all recorded paths below some folders, a grid at a time, each path in its turn.

    Args:
        roots: the folders.
        scan: model, data and loss.
        budget: seconds for each path.
        points: along each axis of the finest grid.
        parent: ends with this process.
    """
    found: dict[Path, Below] = {}
    while idle(parent):
        for place in _paths(roots):
            if place not in found:
                objective = functools.partial(build_objective, scan)
                found[place] = Below(place, build_model(scan), objective, budget=budget, points=points)
        if not sum(_stepped(one) for one in found.values()):
            time.sleep(_PAUSE)


def _stepped(one: Below) -> bool:
    """Whether there was something to do; a path that cannot be measured is reported once and then skipped."""
    try:
        return one.step()
    except SpecError as fault:
        click.echo(f"{one.folder}: no surface: {fault}", err=True)
        one.spent = one.budget
        return False


def _paths(roots: Sequence[Path]) -> Iterator[Path]:
    for root in roots:
        for place in [root, *root.glob("*"), *root.glob("*/*")]:
            if place.is_dir() and not place.is_symlink() and (place / "index.jsonl").is_file():
                kind = kind_of(place)
                if kind is not None and kind.name == "path":
                    yield place
