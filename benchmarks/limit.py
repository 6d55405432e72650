"""What is the machine's own limit: the arithmetic of a forward pass at the best rate measured in the same run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cases import Case
from benchmarks.clock import seconds


def limit(case: Case, rate: float) -> float:
    """Seconds that the arithmetic of one point takes at a rate in operations each second."""
    return flops(case) * len(case.data[0]) / rate


def flops(case: Case) -> float:
    """Operations of a forward pass for one sample; a multiplication and an addition are two."""
    if case.flops:
        return case.flops
    x = case.data[0][:2]
    with FlopCounterMode(display=False) as counter:  # derivatives stay on: a fused encoder layer would count as nothing
        case.make().eval()(x)
    return counter.get_total_flops() / len(x)


def best_rate(device: torch.device, dtype: torch.dtype = torch.float32, side: int = 2048) -> float:
    """The best rate of a product of square matrices or of a 3 × 3 convolution, in operations each second."""
    images = 50 if device.type == "cpu" else 1000
    a, b = torch.randn(2, side, side, device=device, dtype=dtype)
    works: list[tuple[float, Callable[[], Any]]] = [(2 * side**3, lambda: a @ b)]
    for channels, side in ((16, 32), (32, 16), (64, 8)):
        x = torch.randn(images, channels, side, side, device=device, dtype=dtype)
        w = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
        x, w = (t.contiguous(memory_format=torch.channels_last) for t in (x, w))
        works.append((2 * images * channels**2 * 9 * side**2, lambda x=x, w=w: F.conv2d(x, w, padding=1)))
    with torch.inference_mode():
        return max(count / min(seconds(run, device) for _ in range(15)) for count, run in works)


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the shapes of every matrix product."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = function.overloadpacket.__name__ if hasattr(function, "overloadpacket") else str(function)
        if name in ("mm", "bmm"):
            self.shapes.append((tuple(args[0].shape), tuple(args[1].shape)))
        elif name in ("addmm", "baddbmm"):
            self.shapes.append((tuple(args[1].shape), tuple(args[2].shape)))
        elif "scaled_dot_product" in name:
            query, key, value = (tuple(part.flatten(0, 1).shape) for part in args[:3])
            self.shapes.append((query, (key[0], key[2], key[1])))
            self.shapes.append(((query[0], query[1], key[1]), value))
        return function(*args, **(kwargs or {}))


def kernel(case: Case, batch: int = 250) -> Callable[[], None]:
    """The matrix products of one point alone, at their shapes and in their order, into memory that is there already.

    No evaluation by such products can be faster: nothing is moved, added or looked up beside them.

    Args:
        case: of an MLP or a transformer.
        batch: samples at once, as of the expert's loop.

    Returns:
        What computes them.
    """
    model, works = case.make().eval(), []
    for x in case.data[0].split(batch):
        with _Products() as seen:  # derivatives stay on, see flops
            model(x)
        works += [(torch.randn(a), torch.randn(b)) for a, b in seen.shapes]
    into = [torch.empty((*a.shape[:-1], b.shape[-1])) for a, b in works]

    def run() -> None:
        for (a, b), out in zip(works, into, strict=True):
            torch.matmul(a, b, out=out)

    return run
