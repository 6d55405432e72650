"""Blocks evaluated by processes of our own on this machine: some on its cores, or one for each of its GPUs."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_end
from typing import Any

import numpy as np
import torch

from lossatlas import stopping
from lossatlas.errors import SpecError
from lossatlas.objective.sources import UnmadeError
from lossatlas.parent import leave_to_parent, starting
from lossatlas.sampling.executors import Session, Work
from lossatlas.sampling.workers.pool import PoolSession
from lossatlas.sampling.workers.subject import Parcel, keep, pack, share_threads

__all__ = ["Devices", "Processes"]


@dataclass(frozen=True)
class Processes:
    """Processes of our own on this machine, started afresh (spawned) for each run. The cores are shared out.

    A process that dies is replaced, and its blocks are evaluated again. In a script, code that starts a run belongs
    below ``if __name__ == "__main__":``, as with anything that starts processes.

    Args:
        number: of processes; by default one for each core.

    Raises:
        SpecError: less than one.

    Example:
        >>> Processes(4).number
        4
    """

    number: int = 0

    def __post_init__(self) -> None:
        if self.number < 0:
            raise SpecError(f"executor: {self.number} processes; expected at least one, such as 'processes:4'")
        if not self.number:
            object.__setattr__(self, "number", os.cpu_count() or 1)

    @classmethod
    def named(cls, text: str) -> Processes:
        """The processes that ``processes:4`` names.

        Returns:
            The executor.

        Raises:
            SpecError: no number.
        """
        if text and not text.isdigit():
            raise SpecError(f"executor='processes:{text}'; expected a number of processes, such as 'processes:4'")
        return cls(int(text or 0))

    def start(self, work: Work) -> Session:
        """Start the processes, each with the work."""
        return _OwnPool(pack(work, threads=share_threads(self.number)), [""] * self.number)


@dataclass(frozen=True)
class Devices:
    """One process for each NVIDIA or AMD GPU of this machine, with an objective whose device is ``"cuda"``.

    Args:
        which: numbers of the GPUs; by default all.

    Example:
        >>> Devices.named("0,2").which
        (0, 2)
    """

    which: tuple[int, ...] = ()

    @classmethod
    def named(cls, text: str) -> Devices:
        """The GPUs that ``devices`` or ``devices:0,2`` names.

        Returns:
            The executor.

        Raises:
            SpecError: no numbers.
        """
        parts = text.split(",") if text else []
        if not all(part.strip().isdigit() for part in parts):
            raise SpecError(f"executor='devices:{text}'; expected numbers of GPUs, such as 'devices:0,1'")
        return cls(tuple(int(part) for part in parts))

    def start(self, work: Work) -> Session:
        """Start a process for each GPU.

        Returns:
            The session.

        Raises:
            SpecError: there are none, or the objective is elsewhere.
        """
        there = torch.cuda.device_count()
        which = self.which or tuple(range(there))
        if not which or max(which) >= there:
            raise SpecError(f"executor='devices': this machine has {there} GPUs; to use its cores, 'processes:4'")
        if not work.device.startswith("cuda") or work.device not in ("cuda", "cuda:0"):
            raise SpecError(
                f"executor='devices': the objective is on {work.device}; make it with device='cuda' (--device cuda), "
                "which each process takes for its own GPU"
            )
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = [name.strip() for name in seen.split(",")] if seen else [str(n) for n in range(there)]
        return _OwnPool(pack(work, threads=share_threads(len(which))), [names[n] for n in which])


class _OwnPool(PoolSession):
    """A pool of processes that is replaced when one of them dies."""

    advice = (
        "Run the same again with fewer processes; a script that starts processes needs the line "
        'if __name__ == "__main__": around what it does'
    )

    def __init__(self, parcel: Parcel, devices: list[str]) -> None:
        self._devices = devices
        super().__init__(self._made(parcel), parcel)

    def _made(self, parcel: Parcel) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        with starting():  # the process in which Python keeps count of semaphores
            queue = context.SimpleQueue()
        for device in self._devices:
            queue.put(device)
        return ProcessPoolExecutor(len(self._devices), mp_context=context, initializer=_begin, initargs=(parcel, queue))

    def lost(self, fault: BaseException) -> bool:
        return isinstance(fault, BrokenExecutor)

    def give(self, coordinates: np.ndarray, parcel: Parcel | None = None, worker: str = "") -> Any:
        with starting():  # the first blocks start the processes
            return super().give(coordinates, parcel, worker)

    def revive(self) -> None:
        if stopping.asked():  # whoever asked told the processes too
            raise KeyboardInterrupt
        self.pool.shutdown(wait=False, cancel_futures=True)
        self.pool = self._made(self.parcel)
        self.again()

    def __exit__(self, *about: object) -> None:
        under_way = any(not sent.future.done() for sent in self._sent)  # of a run that ended: blocks nobody asked for
        super().__exit__(*about)
        if about[0] is not None or under_way:  # do not wait for it, nor for processes that are still starting
            for process in list((getattr(self.pool, "_processes", None) or {}).values()):
                process.terminate()
        self.pool.shutdown(wait=True, cancel_futures=True)


def _begin(parcel: Parcel, devices: Any) -> None:
    """What a process does first: it takes its GPU, leaves Ctrl-C to the driver, ends with it, and keeps the work."""
    device = devices.get()
    if device:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    leave_to_parent()
    threading.Thread(target=_end_with_the_driver, daemon=True).start()
    try:
        keep(parcel)
    except (SpecError, UnmadeError):
        return  # reported at the first block, when the parcel is requested again


def _end_with_the_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        wait_for_end([driver.sentinel])
        os._exit(1)
