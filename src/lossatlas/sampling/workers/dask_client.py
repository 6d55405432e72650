"""Blocks evaluated by the workers of a Dask cluster: a running one, one made here, or one of a batch system."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.extras import require
from lossatlas.sampling.executors import Session, Work
from lossatlas.sampling.workers.pool import BREAKS, PoolSession
from lossatlas.sampling.workers.subject import Parcel, evaluate, pack, share_threads

__all__ = ["ADDRESS_SECONDS", "Dask", "DaskSession"]

ADDRESS_SECONDS = 30
"""How long to wait for a scheduler."""

AGAIN_SECONDS = 1.0
"""How long to wait for another worker if one died while it was sent the work."""


@dataclass(frozen=True)
class Dask:
    """The workers of a Dask cluster.

    Args:
        client: a ``distributed.Client``; or the address of a scheduler, ``"host:8786"``, or a number of workers of a
            cluster on this machine, in both cases connected at the start of each run and released at its end.

    Example:
        >>> Dask.named("4").client, Dask.named("//host:8786").client
        (4, 'tcp://host:8786')
    """

    client: Any

    @classmethod
    def named(cls, text: str) -> Dask:
        """The cluster that ``dask:4`` or ``dask://host:8786`` names.

        Returns:
            The executor.

        Raises:
            SpecError: neither a number nor an address.
        """
        if text.isdigit() and int(text):
            return cls(int(text))
        address = text.removeprefix("//")
        if text.startswith("//") and address.rpartition(":")[2].isdigit() and address.rpartition(":")[0]:
            return cls(f"tcp://{address}")
        raise SpecError(
            f"executor='dask:{text}'; expected the address of a scheduler, 'dask://host:8786', or a number of workers "
            "on this machine, 'dask:4'"
        )

    def start(self, work: Work) -> Session:
        """Reach the cluster.

        Returns:
            The session.

        Raises:
            SpecError: nothing answers at the address.
        """
        if not isinstance(self.client, (int, str)):
            return DaskSession(self.client, pack(work))
        distributed = require("distributed", extra="dask", purpose="evaluate points in a Dask cluster")
        threads = share_threads(self.client) if isinstance(self.client, int) else None
        parcel, opened = pack(work, threads=threads), ExitStack()
        with ExitStack() as opening:
            if isinstance(self.client, int):
                cluster = opening.enter_context(
                    distributed.LocalCluster(n_workers=self.client, threads_per_worker=1, dashboard_address=None)
                )
                client = opening.enter_context(distributed.Client(cluster))
            else:
                client = opening.enter_context(_reached(distributed, self.client))
            opened = opening.pop_all()
        return DaskSession(client, parcel, opened.close)


def _reached(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address, timeout=ADDRESS_SECONDS)
    except OSError as fault:
        raise SpecError(
            f"executor='dask:{address.removeprefix('tcp:')}': no Dask scheduler answers there ({fault}); "
            "start one with `dask scheduler`, and workers with `dask worker ADDRESS`"
        ) from fault


class DaskSession(PoolSession):
    """Blocks handed to a Dask cluster; the work is put there once, and workers pass it on to each other.

    Args:
        client: of the cluster.
        parcel: the work.
        close: what is called in the end.
    """

    advice = "Look into the logs of the workers"

    def __init__(self, client: Any, parcel: Parcel, close: Callable[[], object] = lambda: None) -> None:
        super().__init__(client, parcel)
        self._close = close
        self._there: dict[int, Any] = {}
        self._distributed = require("distributed", extra="dask", purpose="evaluate points in a Dask cluster")

    @property
    def workers(self) -> int:
        """How many there are now; while there is none, one, which is waited for."""
        return max(1, len(self.pool.nthreads()))

    @property
    def at_once(self) -> int:
        """How many of them evaluate at the same time: those within one process take turns."""
        there = list(self.pool.nthreads())
        own = [name for name in there if name.startswith("inproc:")]
        return len(there) - len(own) + bool(own)

    def give(self, coordinates: np.ndarray, parcel: Parcel | None = None, worker: str = "") -> Any:
        """Hand a block to the cluster; one that came back for lack of the work goes to the same worker again."""
        if parcel is None:
            return self.pool.submit(evaluate, self.parcel.fingerprint, coordinates, pure=False)
        there = self._there.get(id(parcel))  # the parcel itself, or the one with all its bytes: the session keeps both
        if there is None or there.status != "finished":
            there = self._there[id(parcel)] = self._scattered(parcel)
        options = {"workers": [worker], "allow_other_workers": True} if worker else {}
        return self.pool.submit(evaluate, self.parcel.fingerprint, coordinates, there, pure=False, **options)

    def _scattered(self, parcel: Parcel) -> Any:
        """The work placed at some worker; at another one if that dies in the meantime."""
        for _ in range(BREAKS):
            with contextlib.suppress(OSError):  # Dask's own for a connection that was closed, and for no worker in time
                return self.pool.scatter(parcel, hash=False)
            time.sleep(AGAIN_SECONDS)
        try:
            return self.pool.scatter(parcel, hash=False)
        except OSError as fault:
            raise ChildProcessError(
                f"executor: no worker took the work ({type(fault).__name__}: {fault}); committed points are safe. "
                f"{self.advice}"
            ) from fault

    def wait(self, pending: Iterable[Any]) -> None:
        """Wait until one of some futures is done."""
        with contextlib.suppress(CancelledError):  # one that is cancelled is done too: see lost
            self._distributed.wait(list(pending), return_when="FIRST_COMPLETED")

    def lost(self, fault: BaseException) -> bool:
        """Whether the worker with the only copy of the work died. One that dies during a block is Dask's business."""
        return isinstance(fault, CancelledError)

    def revive(self) -> None:
        """Send the work again, when it is requested."""
        self._there.clear()
        self.again()

    def __exit__(self, *about: object) -> None:
        try:
            super().__exit__(*about)
        finally:
            self._close()
