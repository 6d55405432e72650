"""Which ways are there to evaluate a point? Their names, what each does, and which are worth trying where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_kind, described_type
from lossatlas.oneline import number_of

__all__ = ["CARRIED_OUT", "NAMES", "PRECISIONS", "Plan", "batches_to_try", "check", "stacks_to_try", "workers_to_try"]

NAMES = {
    "auto": "by a rule on model, data and grid, not by the clock: short runs are plain, others use a graph that agrees",
    "fastest": "time a few points each way and take the fastest that agrees; another run may choose another way",
    "plain": "move a private copy of the model and call it, batch by batch",
    "channels_last": "plain calls on a part of the batch for each core, with kernels stored channels last",
    "fused": "the same, with the norm, sum and ReLU after a convolution fused into its kernel",
    "graph": "run the traced graph: norms folded, kernels fused, the constant part computed once, batches that fit the "
    "cache",
    "stacked": "the graph, for several points at once",
    "shared": "many points at once through shared products, where a point has few rows",
    "compiled": "the graph, compiled by torch.compile (needs a C++ compiler, or CUDA)",
}
"""What ``plan=`` and ``--plan`` take, besides a :class:`Plan`."""

CARRIED_OUT = ("plain", "channels_last", "fused", "graph", "stacked", "shared", "compiled")
"""Those that specify a way by themselves: what a :class:`Plan` may be named."""

PRECISIONS: dict[str, torch.dtype | None] = {
    "exact": None,
    "tf32": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""What ``precision=`` takes, and the format of weights and activations. All but "exact" are approximations."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One way to evaluate a point.

    Attributes:
        name: "plain", "channels_last", "fused", "graph", "stacked", "shared" or "compiled".
        micro: samples that go through the network at once; 0 for the batches as they come.
        workers: threads that take batches of their own, each on a single core; 1 leaves the cores to torch.
        points: points evaluated at once.
        precision: one of ``PRECISIONS``.
        captured: record the whole point once as a CUDA graph and replay it, which saves launching its kernels.

    Example:
        >>> str(Plan(name="graph", micro=50, workers=2))
        'graph, 50 samples at once, 2 workers'
    """

    name: str = "plain"
    micro: int = 0
    workers: int = 1
    points: int = 1
    precision: str = "exact"
    captured: bool = False

    def __str__(self) -> str:
        """The plan in words."""
        parts = [self.name]
        parts += [f"{number_of(self.micro, 'sample')} at once"] if self.micro else []
        parts += [f"{self.workers} workers"] if self.workers > 1 else []
        parts += [f"{self.points} points at once"] if self.points > 1 else []
        parts += ["captured"] if self.captured else []
        parts += [self.precision] if self.precision != "exact" else []
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return asdict(self)


def check(plan: str | Plan, precision: str, device: torch.device) -> str:
    """Check what the user asks for.

    Returns:
        The precision: the plan's own if it has one, otherwise the one asked for.

    Raises:
        SpecError: an unknown name (the message lists all valid ones), or a format that the device lacks.
    """
    if isinstance(plan, Plan):
        if plan.name not in CARRIED_OUT:
            raise SpecError(unknown("plan.name", plan.name, CARRIED_OUT))
        if precision not in ("exact", plan.precision):
            raise SpecError(f"precision={precision!r} with {plan!r}; leave precision out, since the plan has its own")
        precision, plan = plan.precision, plan.name
    if not isinstance(plan, str):
        raise SpecError(f"plan is {described_type(plan)}; expected a name ({', '.join(NAMES)}) or a lossatlas.Plan")
    if plan not in NAMES:
        raise SpecError(unknown("plan", plan, tuple(NAMES)))
    check_kind("precision", precision, str, f"one of {', '.join(PRECISIONS)}")
    if precision not in PRECISIONS:
        raise SpecError(unknown("precision", precision, tuple(PRECISIONS)))
    if precision == "tf32" and device.type != "cuda":
        raise SpecError(f"precision='tf32' needs an NVIDIA GPU; the objective is on {device.type}. Try 'bf16'")
    if precision != "exact" and plan in ("plain", "channels_last", "fused", "shared"):
        raise SpecError(f"precision={precision!r} needs a graph; choose plan='auto', 'graph', 'stacked' or 'compiled'")
    return precision


def batches_to_try(device: torch.device, largest: int, samples: int) -> list[int]:
    """Numbers of samples at once worth a try: what fits a cache, or what fills a GPU; never more than there are.

    On a CPU no more than the user's own batch, whose activations are known to fit.

    Returns:
        Numbers of samples, the largest first.

    Example:
        >>> batches_to_try(torch.device("cpu"), largest=250, samples=500)
        [125, 50, 25]
    """
    sizes = (250, 1000, 4000) if device.type == "cuda" else (125, 50, 25)
    room = samples if device.type == "cuda" else largest
    return [size for size in sizes if size <= room] or [min(largest, samples)]


def workers_to_try(device: torch.device) -> list[int]:
    """Numbers of threads worth a try: one for each core, or one that leaves the cores to torch."""
    cores = torch.get_num_threads()
    return [cores, 1] if device.type == "cpu" and cores > 1 else [1]


def stacks_to_try(seconds: float, samples: int) -> Iterator[tuple[int, int]]:
    """Numbers of points at once worth a try, each with a number of samples, where calling one point costs time.

    Together they should still fit a cache.

    Yields:
        Numbers of points, each with a number of samples.

    Example:
        >>> list(stacks_to_try(0.002, samples=500))
        [(4, 500), (16, 250), (64, 250)]
        >>> list(stacks_to_try(1.0, samples=500))
        []
    """
    if seconds < 0.05:
        yield 4, min(samples, 1000)
        yield 16, min(samples, 250)
        if seconds < 0.03:
            yield 64, min(samples, 250)
