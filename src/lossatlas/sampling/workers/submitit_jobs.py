"""Blocks evaluated by jobs that submitit hands to Slurm, or starts on this machine.

Each job is a Dask worker that reports to a scheduler in the driver: submitit writes only that address into its folder.
Model and data reach a job over the network.
"""

from __future__ import annotations

import contextlib
import socket
import time
import tomllib
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossatlas.errors import SpecError
from lossatlas.extras import require
from lossatlas.sampling.executors import Session, Work
from lossatlas.sampling.workers.dask_client import DaskSession
from lossatlas.sampling.workers.subject import pack

__all__ = ["Submitit", "serve"]

END_SECONDS = 20
"""How long jobs may take to end by themselves."""

KEYS = ("folder", "cluster", "jobs", "host", "parameters")


@dataclass(frozen=True)
class Submitit:
    """Jobs of submitit.

    Args:
        executor: a ``submitit.AutoExecutor`` (or another of its executors), with its parameters set.
        jobs: how many.
        host: the driver's name or address as the jobs reach it; by default its host name (on this machine, loopback).
    """

    executor: Any
    jobs: int = 1
    host: str = ""

    @classmethod
    def named(cls, text: str) -> Submitit:
        """The jobs that a TOML file describes: ``submitit:slurm.toml``.

        Its keys: ``jobs``, a number; ``cluster``, "slurm" or "local"; ``folder``, where submitit keeps its logs;
        ``host``; and a table ``[parameters]`` of what ``submitit.AutoExecutor.update_parameters`` takes.

        Returns:
            The executor.

        Raises:
            SpecError: there is no such file, or a key is unknown; the message lists the valid keys.
        """
        described = _read(Path(text))
        library = require("submitit", extra="submitit", purpose="hand jobs to Slurm")
        try:
            executor = library.AutoExecutor(folder=described.folder, cluster=described.cluster)
            executor.update_parameters(**described.parameters)
        except (NameError, TypeError, ValueError, RuntimeError) as fault:
            raise SpecError(f"{text}: submitit refuses it ({fault})") from fault
        return cls(executor, described.jobs, described.host)

    def start(self, work: Work) -> Session:
        """Open a scheduler, and hand in the jobs.

        Returns:
            The session.
        """
        parcel = pack(work)
        distributed = require("distributed", extra="submitit", purpose="reach the jobs of submitit")
        with ExitStack() as opening:
            host = self.host or ("127.0.0.1" if _is_local(self.executor) else socket.gethostname())
            cluster = opening.enter_context(
                distributed.LocalCluster(n_workers=0, host=host, dashboard_address=None, scheduler_port=0)
            )
            client = opening.enter_context(distributed.Client(cluster))
            jobs = [self.executor.submit(serve, cluster.scheduler_address) for _ in range(self.jobs)]
            opening.callback(_end, client, jobs)
            return DaskSession(client, parcel, opening.pop_all().close)


@dataclass(frozen=True, kw_only=True)
class _Described:
    folder: str = "submitit"
    cluster: str | None = None
    jobs: int = 1
    host: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


def _read(path: Path) -> _Described:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise SpecError(
            f"executor='submitit:{path}': expected a TOML file with jobs = 8, cluster = \"slurm\" and a table "
            f"[parameters] ({fault})"
        ) from fault
    for key, value in content.items():
        if key not in KEYS:
            raise SpecError(f"{path}: unknown key {key!r}; the valid keys are {', '.join(KEYS)}")
        wanted: type = {"jobs": int, "parameters": dict}.get(key, str)
        if not isinstance(value, wanted) or value == 0:
            raise SpecError(
                f"{path}: {key} = {value!r}; expected {'a number of at least 1' if key == 'jobs' else wanted.__name__}"
            )
    return _Described(**content)


def _is_local(executor: Any) -> bool:
    return getattr(executor, "cluster", "") in ("local", "debug") or type(executor).__name__ == "LocalExecutor"


def serve(address: str) -> None:
    """What a job does: it is a Dask worker of the scheduler at an address until that ends."""
    import asyncio

    from distributed import Worker

    async def served() -> None:
        worker = await Worker(address, nthreads=1, dashboard=False)
        await worker.finished()

    asyncio.run(served())


def _end(client: Any, jobs: list[Any]) -> None:
    with contextlib.suppress(Exception):  # a worker that has already gone
        client.retire_workers(close_workers=True)
    last = time.monotonic() + END_SECONDS
    while time.monotonic() < last and not all(job.done() for job in jobs):
        time.sleep(0.1)
    for job in jobs:
        if job.done():
            continue
        with contextlib.suppress(Exception):
            job.cancel()
