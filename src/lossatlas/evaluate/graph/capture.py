"""How is a point replayed on a GPU? Its kernels are recorded once as a CUDA graph and launched together.

The graph reads and writes fixed memory: coordinates are copied into it before a replay,
and values out of it afterwards. Never run on hardware so far; the calibration refuses it if it fails or if its values
differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["WARM_UP", "Captured"]

WARM_UP = 3
"""Calls before the recording, in which libraries choose their kernels and take their memory."""


class Captured:
    """A function of one tensor as a CUDA graph.

    Args:
        run: what is recorded: only kernels, without anything that waits for the GPU.
        example: a tensor of the shape, format and device that every later one has.
        cuda: ``torch.cuda``, or its stand-in in a test.

    Raises:
        RuntimeError: the function does what a CUDA graph cannot record.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], example: Tensor, *, cuda: Any = torch.cuda) -> None:
        self._given = example.clone()
        aside = cuda.Stream()
        aside.wait_stream(cuda.current_stream())
        with cuda.stream(aside):
            for _ in range(WARM_UP):
                run(self._given)
        cuda.current_stream().wait_stream(aside)
        self._graph = cuda.CUDAGraph()
        with cuda.graph(self._graph):
            self._found = run(self._given)

    def __call__(self, given: Tensor) -> Tensor:
        """The function's value; a copy, since the next call overwrites the graph's own."""
        self._given.copy_(given)
        self._graph.replay()
        return self._found.clone()
