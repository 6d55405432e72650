"""What is the machine's own limit: the arithmetic of a forward pass at the best rate measured in the same run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F
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


def best_rate(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """The best rate of a matrix product or of a 3 × 3 convolution, in operations each second."""
    images = 50 if device.type == "cpu" else 1000
    a, b = torch.randn(2, 2048, 2048, device=device, dtype=dtype)
    works: list[tuple[float, Callable[[], Any]]] = [(2 * 2048**3, lambda: a @ b)]
    for channels, side in ((16, 32), (32, 16), (64, 8)):
        x = torch.randn(images, channels, side, side, device=device, dtype=dtype)
        w = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
        x, w = (t.contiguous(memory_format=torch.channels_last) for t in (x, w))
        works.append((2 * images * channels**2 * 9 * side**2, lambda x=x, w=w: F.conv2d(x, w, padding=1)))
    with torch.inference_mode():
        return max(count / min(seconds(run, device) for _ in range(15)) for count, run in works)
