"""What computes parts of one point side by side? Threads, each on a core of its own."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import torch

__all__ = ["pool_of"]


def pool_of(workers: int) -> ThreadPoolExecutor:
    """Threads with one core each. The number of cores that torch gives to later threads is restored."""
    cores = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    started = [pool.submit(_wait_for, workers) for _ in range(workers)]
    for future in started:
        future.result()
    torch.set_num_threads(cores)
    return pool


def _wait_for(workers: int) -> None:
    """Long enough that the pool starts every thread instead of giving the next task to the first."""
    time.sleep(0.01 * workers)
