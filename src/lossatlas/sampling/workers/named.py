"""What is an executor called in Python, on the command line and in TOML, and which objects serve as one?"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from concurrent import futures
from typing import Any

from lossatlas.doors import brought, names_of
from lossatlas.errors import SpecError, unknown
from lossatlas.expected import described_type
from lossatlas.sampling.executors import GROUP, Executor, Serial
from lossatlas.sampling.workers.pool import Futures

__all__ = ["NAMES", "executor_of", "named"]

NAMES = {
    "serial": "this process, one block after the other",
    "processes": "processes:4, processes on this machine; the cores are shared out",
    "devices": "devices or devices:0,1, a process for each GPU of this machine",
    "dask": "dask://host:8786, a running cluster; dask:4, four workers on this machine",
    "mpi": "mpi, within mpirun -n 5 python -m mpi4py.futures -m lossatlas …",
    "torchrun": "torchrun:2, processes of torchrun, two of which evaluate a point together",
    "submitit": "submitit:slurm.toml, jobs of Slurm or of this machine",
}
"""The executors by name. An installed package adds others, in the entry-point group ``lossatlas.executors``."""

_MAKERS = {
    "processes": "processes:Processes",
    "devices": "processes:Devices",
    "dask": "dask_client:Dask",
    "mpi": "mpi:Mpi",
    "torchrun": "torchrun:Torchrun",
    "submitit": "submitit_jobs:Submitit",
}


def named(text: str) -> Executor:
    """The executor of a name.

    Args:
        text: a name of :data:`NAMES`, with its argument after a colon: ``"serial"``, ``"dask:4"``.

    Returns:
        The executor.

    Raises:
        SpecError: no distribution offers it (the message lists those offered), or what follows the colon is wrong.

    Example:
        >>> named("serial"), named("processes:4")
        (Serial(), Processes(number=4))
    """
    name, _, rest = text.partition(":")
    if name == "serial":
        if rest:
            raise SpecError(f"executor={text!r}: the serial executor takes nothing after the colon")
        return Serial()
    if name in _MAKERS:
        file, _, maker = _MAKERS[name].partition(":")
        make: Callable[[str], Executor] = getattr(
            importlib.import_module(f"lossatlas.sampling.workers.{file}"), maker
        ).named
        return make(rest)
    if name not in names_of(GROUP):
        raise SpecError(unknown("executor", text, (*NAMES, *names_of(GROUP))))
    make_outside = brought(GROUP, name)
    found = make_outside(rest) if callable(make_outside) else make_outside
    if not callable(getattr(found, "start", None)):
        raise SpecError(
            f"{GROUP}: {name!r} gives {described_type(found)}; expected a callable that takes the text after the "
            "colon and returns an object with start(work), see lossatlas.sampling.executors.Executor"
        )
    return found  # type: ignore[no-any-return]


def executor_of(given: Any) -> Executor:
    """The executor that something stands for.

    Args:
        given: an executor; its name; any ``concurrent.futures.Executor``, MPI's included; a ``distributed.Client`` or a
            cluster that gives one (``LocalCluster``, those of dask-jobqueue); or an executor of submitit.

    Returns:
        The executor.

    Raises:
        SpecError: it is none of these.

    Example:
        >>> with futures.ThreadPoolExecutor(1) as pool:
        ...     type(executor_of(pool)).__name__
        'Futures'
    """
    if isinstance(given, str):
        return named(given)
    if callable(getattr(given, "scatter", None)) and callable(getattr(given, "submit", None)):
        return _made("dask_client", "Dask", given)
    if callable(getattr(given, "get_client", None)):
        return _made("dask_client", "Dask", given.get_client())
    if type(given).__module__.partition(".")[0] == "submitit":
        return _made("submitit_jobs", "Submitit", given)
    if isinstance(given, futures.Executor):
        return Futures(given)
    if callable(getattr(given, "start", None)):  # a Dask Client has one too, of another kind
        return given  # type: ignore[no-any-return]
    raise SpecError(
        f"executor is {described_type(given)}; expected a concurrent.futures.Executor, a Dask Client, an object with "
        f"start(work), or one of these names: {', '.join(NAMES)}"
    )


def _made(file: str, maker: str, given: Any) -> Executor:
    found: Executor = getattr(importlib.import_module(f"lossatlas.sampling.workers.{file}"), maker)(given)
    return found
