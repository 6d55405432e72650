"""How does the work reach a worker? Packed once, kept there by fingerprint, and requested where it is missing.

For each block, a worker gets a fingerprint and the coordinates. A worker that does not have the work with that
fingerprint says so (:class:`Missing`) and is sent it, in memory: nothing is written to disk. It is pickled by
``torch.save``, which stores shared memory once, with ``cloudpickle`` if that is installed, which takes along what is
defined in a script or a notebook. For what a worker can draw or read again, it gets instructions
(:mod:`lossatlas.sampling.workers.again`); a worker where the result differs is sent the whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import os
import pickle
import platform
import socket
import sys
import sysconfig
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.machinery import PathFinder
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy as np
import torch

from lossatlas.errors import SpecError
from lossatlas.evaluate.evaluator import Answer, Evaluator
from lossatlas.objective.sources import UnmadeError, forget
from lossatlas.sampling.executors import Work
from lossatlas.sampling.workers.again import Made, pickler_of

__all__ = ["KEPT", "Missing", "Parcel", "Refused", "address", "evaluate", "keep", "pack", "share_threads"]

KEPT = 2
"""How many works a worker keeps: that of the run, and that of the anchors of its subset."""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """Work on its way.

    Attributes:
        fingerprint: of the content.
        content: the work, pickled.
        versions: of what the values depend on, where it was packed.
        threads: that torch may use for a point; None leaves it to the worker.
        work: what was packed, if part of it is to be made again; it stays with the driver.
    """

    fingerprint: str
    content: bytes
    versions: dict[str, str]
    threads: int | None = None
    work: Work | None = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without the work itself."""
        return self.__dict__ | {"work": None}

    def whole(self) -> Parcel:
        """The same work with all its bytes, for a worker that cannot make them again."""
        if self.work is None:
            return self
        return replace(self, content=_pickled(self.work, None), work=None)


@dataclass(frozen=True, kw_only=True)
class Missing:
    """The answer of a worker that has no work with this fingerprint.

    Attributes:
        worker: who it is, for an executor that can send to one worker.
        whole: whether it had instructions to make it, and could not.
    """

    worker: str
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The answer of a worker that cannot take the work.

    Attributes:
        note: why, in words.
    """

    note: str


def pack(work: Work, *, threads: int | None = None) -> Parcel:
    """Pack work for sending.

    Args:
        work: what blocks are evaluated with.
        threads: that torch may use for a point.

    Returns:
        The parcel.

    Raises:
        SpecError: the model, the data or the loss cannot travel, or the work has to be done in order.
    """
    if work.in_order:
        raise SpecError(
            "executor: here each point begins where the one before it ended, so the points cannot be shared out; leave "
            "executor out (or, for a map of curvature, warm)"
        )
    made = Made(work.subject)
    content = _pickled(work, made)
    fingerprint = hashlib.blake2b(content, digest_size=16).hexdigest()
    kept = work if made.number else None
    return Parcel(fingerprint=fingerprint, content=content, versions=_versions(), threads=threads, work=kept)


def _pickled(work: Work, made: Made | None) -> bytes:
    buffer = io.BytesIO()
    try:
        with _by_value() as pickler:
            torch.save(work, buffer, pickle_module=pickler if made is None else pickler_of(pickler, made))
    except (pickle.PicklingError, TypeError, AttributeError, RuntimeError, OSError) as fault:
        advice = "" if importlib.util.find_spec("cloudpickle") else ", or pip install cloudpickle, which can send more"
        raise SpecError(
            f"executor: the model, data, loss or metrics cannot be sent to a worker ({type(fault).__name__}: {fault}); "
            f"define them in an importable module{advice}"
        ) from fault
    return buffer.getvalue()


def _versions() -> dict[str, str]:
    return {"python": ".".join(platform.python_version_tuple()[:2])} | {
        name: version(name) for name in ("lossatlas", "torch", "numpy")
    }


@contextlib.contextmanager
def _by_value() -> Iterator[Any]:
    """The pickler; modules that no worker could import, loaded from a file by its path, travel as source."""
    if importlib.util.find_spec("cloudpickle") is None:
        yield pickle
        return
    import cloudpickle

    modules = [module for name, module in list(sys.modules.items()) if _unfindable(name, module)]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield cloudpickle
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _unfindable(name: str, module: ModuleType) -> bool:
    """Whether a module is a user's file that cannot be found by its name."""
    spec = getattr(module, "__spec__", None)
    origin = getattr(spec, "origin", None) or ""
    if spec is None or spec.name != name or not origin.endswith(".py") or origin.startswith(_INSTALLED):
        return False
    path = None
    for end in range(len(parts := name.split("."))):
        found = PathFinder.find_spec(".".join(parts[: end + 1]), path)
        if found is None:
            return True
        path = found.submodule_search_locations
    return False


_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


# ------------------------------------------------------------------ at the worker

_LOCK = threading.RLock()
_HELD: dict[str, Evaluator] = {}


def evaluate(fingerprint: str, coordinates: np.ndarray, parcel: Parcel | None = None) -> Answer | Missing | Refused:
    """Evaluate a block, at a worker. One block at a time in each process: seeds are global to it.

    Args:
        fingerprint: of the work.
        coordinates: float64 [n, k].
        parcel: the work, for a worker that said it is missing.

    Returns:
        The answer; or that the work is missing, or part of it cannot be made here, or it cannot be taken.
    """
    with _LOCK:
        if fingerprint not in _HELD:
            if parcel is None:
                return Missing(worker=address())
            try:
                keep(parcel)
            except UnmadeError:
                return Missing(worker=address(), whole=True)
            except SpecError as refusal:
                return Refused(note=str(refusal))
        return _HELD[fingerprint].answer(coordinates)


def keep(parcel: Parcel) -> None:
    """Unpack work at a worker and keep it; the oldest is dropped if there are too many.

    Raises:
        SpecError: it was packed with other versions, or cannot be unpacked here.
        UnmadeError: what is made here differs.
    """
    own = _versions()
    if differing := [
        f"{name} {own[name]} here, {there}" for name, there in parcel.versions.items() if own[name] != there
    ]:
        raise SpecError(
            f"executor: worker {address()} has versions other than the driver's ({'; '.join(differing)} there), so its "
            "values would differ in the last digits; install the same versions"
        )
    while len(_HELD) >= KEPT:
        _HELD.pop(next(iter(_HELD))).way.close()
    if parcel.threads is not None:
        torch.set_num_threads(parcel.threads)
    try:
        work = torch.load(io.BytesIO(parcel.content), weights_only=False)
        _HELD[parcel.fingerprint] = work.evaluator()
    except (SpecError, UnmadeError):
        raise
    except Exception as fault:  # whatever an import of the user's module raises
        raise SpecError(
            f"executor: worker {address()} cannot take the work ({type(fault).__name__}: {fault}); whatever model, "
            "data, loss and metrics are made of must be installed there too, and a device of the same kind must be "
            "present"
        ) from fault
    finally:
        forget()


def address() -> str:
    """Who this worker is: its address in a Dask cluster, otherwise host and process."""
    if "distributed" in sys.modules:
        from distributed import get_worker

        with contextlib.suppress(ValueError):
            return str(get_worker().address)
    return f"{socket.gethostname()}:{os.getpid()}"


def share_threads(workers: int) -> int:
    """The threads of torch for each of some workers on this machine, at least one.

    Returns:
        The number, no more than torch would take here.

    Example:
        >>> share_threads(10**6)
        1
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(torch.get_num_threads(), cores // workers))
