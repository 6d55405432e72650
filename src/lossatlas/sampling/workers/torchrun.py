"""Blocks evaluated by the processes of ``torchrun``, in groups: for a model that needs several devices at each point.

Every process (rank) runs the same script, and so the same scan: it asks for the same blocks in the same order. In a
round each group evaluates the block that is its own, all ranks of it together, so that collectives within ``forward``
are entered by all of them; then all ranks receive all answers. Only rank 0 has the run folder; the others keep what
they received in memory.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self, TypeVar

import numpy as np
import torch.distributed as ranks

from lossatlas import stopping
from lossatlas.errors import SpecError
from lossatlas.evaluate.evaluator import Answer, Evaluator
from lossatlas.oneline import first_line
from lossatlas.results.spec import RunSpec
from lossatlas.results.store import MemoryRun, RunFolder
from lossatlas.sampling.executors import Executor, Session, Work
from lossatlas.space.charts import Chart, Plane

__all__ = ["Torchrun", "asked", "first", "opened"]

SAME = 1e-6
"""Relative difference between ranks of a group that arithmetic in another order explains."""

HOW = "start all processes by torchrun --nproc-per-node=4 scan.py"

_CONTROL: dict[Any, Any] = {}
"""The group by which ranks hear of each other, with the group of all processes that it belongs to."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Torchrun:
    """The processes that ``torchrun`` started, in groups of ranks that evaluate a point together.

    Groups are consecutive ranks, as the last dimension of ``init_device_mesh("cuda", (groups, size))`` holds them.
    Within a group the model may be sharded by DTensor or FSDP2, with ``Objective(…, in_place=True)``, or its
    ``forward`` may use collectives of its own with the same weights on all ranks.

    Args:
        size: ranks in a group; with 1 every rank has the whole model.

    Raises:
        SpecError: the number is less than one.

    Example:
        >>> Torchrun.named("2").size, Torchrun.named("").size
        (2, 1)
    """

    size: int = 1

    def __post_init__(self) -> None:
        """Check the number."""
        if self.size < 1:
            raise SpecError(f"executor: groups of {self.size} ranks; expected at least one, such as 'torchrun:2'")

    @classmethod
    def named(cls, text: str) -> Torchrun:
        """The groups that ``torchrun`` or ``torchrun:2`` names.

        Returns:
            The executor.

        Raises:
            SpecError: no number.
        """
        if text and not text.isdigit():
            raise SpecError(f"executor='torchrun:{text}'; expected the ranks in a group, such as 'torchrun:2'")
        return cls(int(text or 1))

    @property
    def rank(self) -> int:
        """Which of the processes this is; those not started by ``torchrun`` are refused.

        Raises:
            SpecError: they are not, or do not make whole groups.
        """
        if not ranks.is_available():
            raise SpecError("executor='torchrun': this build of PyTorch has no torch.distributed")
        if not ranks.is_initialized():
            if not os.environ.get("WORLD_SIZE", "").isdigit():
                raise SpecError(f"executor='torchrun': this process was not started by torchrun; {HOW}")
            ranks.init_process_group("gloo")
        number: int = ranks.get_world_size()
        if number % self.size:
            raise SpecError(f"executor='torchrun:{self.size}': {number} ranks do not make groups of {self.size}")
        return int(ranks.get_rank())

    def check(self, chart: Chart, spec: RunSpec, objective: Any) -> None:
        """Check that all ranks ask the same question, and that no model is spread beyond its group.

        Raises:
            SpecError: they do not, or it is; all ranks raise the same.
        """
        every: list[tuple[RunSpec, str]] = _gathered((_for_all(spec), self._beyond(chart, objective)))
        for rank, (other, refusal) in enumerate(every):
            if refusal:
                raise SpecError(f"executor='torchrun:{self.size}': {refusal}")
            if differing := every[0][0].differences(other):
                raise SpecError(
                    f"executor='torchrun:{self.size}': rank {rank} asks something different from rank 0: "
                    f"{'; '.join(differing)}. All ranks run the same script with the same seeds; weights of which each "
                    "rank holds a part must be DTensors (fully_shard, parallelize_module), measured with in_place=True"
                )

    def _beyond(self, chart: Chart, objective: Any) -> str:
        """In which impossible way the model or the plane of this rank is spread; empty if it is not."""
        start = self.rank // self.size * self.size
        mine = list(range(start, start + self.size))
        for name, tensor in objective.origin.items():
            if (mesh := getattr(tensor, "device_mesh", None)) is None:
                continue
            if not set(there := mesh.mesh.flatten().tolist()) <= set(mine):
                return (
                    f"the weights {name!r} are spread over the ranks {there}, but this group is {mine}: make the mesh "
                    f'by init_device_mesh(device, (groups, {self.size}), mesh_dim_names=("point", "model")) and take '
                    'mesh["model"]'
                )
            if not isinstance(chart, Plane) or any(hasattr(d.get(name), "device_mesh") for d in _stored(chart)):
                return "of DTensors a plane is made by la.Plane.random(objective, stored=False), which every rank draws"
        return ""

    def start(self, work: Work) -> Session:
        """Begin, on all ranks at once.

        Returns:
            The session.

        Raises:
            SpecError: the work has to be done in order, or there is no ``torchrun``.
        """
        if work.in_order:
            raise SpecError("executor='torchrun': points that begin where the one before ended cannot be shared out")
        return _Rounds(self.size, self.rank, work.evaluator())


def _for_all(spec: RunSpec) -> RunSpec:
    """What all ranks must agree on; the code of a model that is spread may read its rank."""
    code = {name: told for name, told in spec.identity.get("code", {}).items() if name != "model"}
    return replace(spec, identity={**spec.identity, "code": code})


def _stored(plane: Plane) -> list[dict[str, Any]]:
    """The directions of a plane that are tensors."""
    return [direction for direction in plane.directions.values() if isinstance(direction, dict)]


def asked(
    executor: Executor, plan: Any, progress: bool | None, *, shard: object, samples: object
) -> tuple[Any, bool | None]:
    """How a scan is done on this rank, as far as the request goes; without ranks, as requested.

    Returns:
        The plan, of groups "plain"; and whether there is a bar, which only rank 0 shows.

    Raises:
        SpecError: ranks cannot do it.
    """
    if not isinstance(executor, Torchrun):
        return plan, progress
    told = f"executor='torchrun:{executor.size}'"
    if shard is not None or samples is not None:
        raise SpecError(f"{told} distributes all points on all samples by itself: leave shard and samples out")
    if str(plan) == "fastest":
        raise SpecError(f"{told}: plan='fastest' may choose another plan on each rank; name one, or 'auto'")
    if executor.size > 1 and str(plan) not in ("auto", "plain"):
        raise SpecError(f"{told}: a group can only take the plan 'plain', got plan={str(plan)!r}; leave plan out")
    return "plain" if executor.size > 1 else plan, False if executor.rank else progress


def first(executor: Executor, make: Callable[[], Found]) -> Found:
    """What is determined once: by this process or, of several ranks, by rank 0, which tells the others.

    Returns:
        What was found.

    Raises:
        Exception: what it raised, on every rank.
    """
    if not isinstance(executor, Torchrun):
        return make()
    said: list[Any] = [None, None]
    if executor.rank == 0:
        try:
            said[0] = make()
        except Exception as fault:
            said[1] = fault
    ranks.broadcast_object_list(said, src=0, group=_control())
    if said[1] is not None:
        raise said[1]
    found: Found = said[0]
    return found


@contextlib.contextmanager
def opened(
    executor: Executor, begin: Callable[[], AbstractContextManager[RunFolder | MemoryRun]], spec: RunSpec
) -> Iterator[RunFolder | MemoryRun]:
    """The journal of a run; of several ranks, rank 0 has it, and the others have what it held at the start.

    Args:
        executor: what evaluates.
        begin: opens it.
        spec: what the run is.

    Yields:
        The journal.
    """
    with contextlib.ExitStack() as stack:
        begun: list[RunFolder | MemoryRun] = []

        def look() -> tuple[Any, Any]:
            begun.append(stack.enter_context(begin()))
            return begun[0].told(), dict(begun[0].evaluation)

        if not isinstance(executor, Torchrun):
            yield stack.enter_context(begin())
            return
        told, evaluation = first(executor, look)
        if not begun:
            begun.append(MemoryRun(spec))
            begun[0].commit(told)
            begun[0].note_evaluation(evaluation)
        yield begun[0]


def _control() -> Any:
    """The group of all ranks through which they hear of each other, made once, on the CPU."""
    everybody = ranks.group.WORLD
    if everybody not in _CONTROL:
        _CONTROL.clear()
        _CONTROL[everybody] = ranks.new_group(backend="gloo")
    return _CONTROL[everybody]


def _gathered(mine: Any) -> list[Any]:
    """What every rank has to say, sent to all, in their order."""
    every: list[Any] = [None] * ranks.get_world_size()
    try:
        ranks.all_gather_object(every, mine, group=_control())
    except RuntimeError as fault:
        raise ChildProcessError(
            f"executor='torchrun': another rank has ended ({first_line(fault)}); its own message says why. "
            "Committed points are safe: run the same again"
        ) from fault
    return every


class _Sent:
    """A block whose round may not have taken place yet."""

    def __init__(self, rounds: _Rounds, coordinates: np.ndarray) -> None:
        self._rounds, self.coordinates = rounds, coordinates
        self.answer: Answer | None = None

    def result(self) -> Answer:
        if self.answer is None:
            self._rounds.go()
        assert self.answer is not None
        return self.answer


class _Rounds:
    """Blocks evaluated in rounds, one by each group.

    Args:
        size: ranks in a group.
        rank: which this is.
        evaluator: of this rank.
    """

    def __init__(self, size: int, rank: int, evaluator: Evaluator) -> None:
        self._size, self._rank, self._evaluator = size, rank, evaluator
        self.room = ranks.get_world_size() // size
        self._waiting: list[_Sent] = []
        self._tried = self.room == 1
        self._held = contextlib.ExitStack()

    def submit(self, coordinates: np.ndarray) -> _Sent:
        self._waiting.append(sent := _Sent(self, coordinates))
        return sent

    def go(self) -> None:
        """Evaluate what is waiting. All ranks stop together, or none."""
        blocks, self._waiting = self._waiting, []
        alike = None if self._tried else self._alike(blocks[0].coordinates[:1])
        group = self._rank // self._size
        mine = self._answered(blocks[group].coordinates) if group < len(blocks) else None
        every: list[tuple[Answer | None, bool]] = _gathered((mine, stopping.asked()))
        for number, sent in enumerate(blocks):
            sent.answer = _agreed([answer for answer, _ in every[number * self._size : (number + 1) * self._size]])
        if alike is not None and len(blocks) > 1:
            assert blocks[0].answer is not None
            _check_apart(alike, blocks[0].answer)
            self._tried = True
        if any(stop for _, stop in every):
            stopping.release()

    def _alike(self, point: np.ndarray) -> Answer:
        """The answer for a point that all groups evaluate."""
        return _agreed(_gathered(self._answered(point)))

    def _answered(self, coordinates: np.ndarray) -> Answer:
        """The answer of a block. In a group no rank goes on alone after a fault: others may wait in a collective."""
        if self._size == 1:
            return self._evaluator.answer(coordinates)
        try:
            return self._evaluator.measured(coordinates)
        except Exception as fault:
            raise ChildProcessError(
                f"executor='torchrun:{self._size}': a point failed on rank {self._rank} ({type(fault).__name__}: "
                f"{fault}); a group cannot go on from there, since its ranks may wait in different collectives. "
                "Committed points are safe"
            ) from fault

    def __enter__(self) -> Self:
        self._held.enter_context(stopping.held())
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()
        self._evaluator.way.close()


def _agreed(answers: list[Answer | None]) -> Answer:
    """The one answer of the ranks of a group.

    Returns:
        The answer.

    Raises:
        SpecError: they differ.
    """
    one = answers[0]
    assert one is not None
    for rank, other in enumerate(answers):
        assert other is not None
        if not _same(one.values, other.values):
            raise SpecError(
                f"executor='torchrun': ranks 1 and {rank + 1} of the group that evaluates a point give {one.values[0]} "
                f"and {other.values[0]}; every rank must end with the same outputs, so let forward gather them, and "
                "give all ranks the same data"
            )
    return one


def _check_apart(alike: Answer, apart: Answer) -> None:
    """Check that a group's values are the same whatever the others evaluate meanwhile."""
    if not _same(alike.values[:1], apart.values[:1]):
        raise SpecError(
            f"executor='torchrun': a point has the value {apart.values[0]} while other groups are elsewhere, and "
            f"{alike.values[0]} while all are there: a collective of the model reaches beyond its group. Give it the "
            'group of init_device_mesh(device, (groups, ranks), mesh_dim_names=("point", "model"))["model"], and name '
            "the number of its ranks: executor='torchrun:2'"
        )


_same = partial(np.allclose, rtol=SAME, atol=0.0, equal_nan=True)
