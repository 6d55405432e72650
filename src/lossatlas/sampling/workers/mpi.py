"""Blocks evaluated by MPI processes, through ``mpi4py.futures``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lossatlas.errors import SpecError
from lossatlas.extras import require
from lossatlas.sampling.executors import Session, Work
from lossatlas.sampling.workers.pool import PoolSession
from lossatlas.sampling.workers.subject import Parcel, pack

__all__ = ["Mpi"]


@dataclass(frozen=True)
class Mpi:
    """The MPI processes of a program that was started as ``mpirun -n 5 python -m mpi4py.futures scan.py``.

    The first process drives, the others evaluate. Started without ``mpirun``, processes are spawned, where the MPI
    library can.

    Args:
        number: of processes to spawn; by default those of ``mpirun``.

    Example:
        >>> Mpi.named("").number
        0
    """

    number: int = 0

    @classmethod
    def named(cls, text: str) -> Mpi:
        """What ``mpi`` or ``mpi:4`` names.

        Returns:
            The executor.

        Raises:
            SpecError: no number.
        """
        if text and not text.isdigit():
            raise SpecError(f"executor='mpi:{text}'; expected 'mpi', or 'mpi:4' to spawn four processes")
        return cls(int(text or 0))

    def start(self, work: Work) -> Session:
        """Reach the other processes."""
        parcel = pack(work)
        library = require("mpi4py.futures", extra="mpi", purpose="evaluate points in MPI processes")
        return _MpiSession(library.MPIPoolExecutor(self.number or None), parcel)


class _MpiSession(PoolSession):
    def __init__(self, pool: Any, parcel: Parcel) -> None:
        super().__init__(pool, parcel)
        pool.bootup(wait=True)

    def __exit__(self, *about: object) -> None:
        super().__exit__(*about)
        self.pool.shutdown(wait=True)
