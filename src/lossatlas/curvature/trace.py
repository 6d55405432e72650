"""What is the sum of all eigenvalues of a curvature matrix, or of each of its blocks, with its standard error?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, overload

import numpy as np
import torch

from lossatlas.curvature.asking import dots, signs
from lossatlas.curvature.blocks import Beside, Blocks, blocks_of
from lossatlas.curvature.products import GIB, How, Kind, Matrix, Which
from lossatlas.curvature.subject import Subject
from lossatlas.expected import check_whole
from lossatlas.figure.plot import Mark, Panel, Plot, Series, onto, symmetric_below
from lossatlas.figure.words import with_error
from lossatlas.objective import Objective
from lossatlas.oneline import number_of, one_line
from lossatlas.space.parameters import Parameters

__all__ = ["Trace", "trace", "trace_of", "traces_of"]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """An estimate of a trace.

    Attributes:
        value: the estimate.
        standard_error: its standard error over the probes.
        probes: number of probes.
        subject: what the matrix is of, and what it does not prove.
    """

    value: float
    standard_error: float
    probes: int
    subject: Subject

    __repr__ = one_line
    heading: ClassVar[str] = "Trace"

    @property
    def words(self) -> str:
        """The estimate with its standard error, and what it is of, in sentences."""
        over = f"standard error over {number_of(self.probes, 'random vector')}"
        return f"{self.subject.words} Trace: {self._estimate} ({over})."

    @property
    def said(self) -> str:
        """The estimate with its standard error."""
        return f"trace {self._estimate}"

    @property
    def _estimate(self) -> str:
        return with_error(self.value, self.standard_error)

    @property
    def largest(self) -> float:
        """What blocks are compared by."""
        return self.value

    def plot(self, ax: Any = None) -> Plot:
        """The estimate as a bar with its standard error; for :func:`lossatlas.draw`.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        panel, _ = self.beside({"": self})
        return onto(
            ax,
            Plot(panels=[panel], title=self.subject.title(self.heading), caption=[self.words, *self.subject.caveats]),
        )

    @staticmethod
    def beside(found: Mapping[str, Trace]) -> Beside:
        """The traces of some blocks in one panel, and what is to be said about them."""
        places = np.arange(len(found), dtype=float)
        values = np.array([one.value for one in found.values()])
        errors = np.array([one.standard_error for one in found.values()])
        bars = Series(x=places, y=values, low=values - errors, high=values + errors, style="bars", label="trace")
        wide = np.abs(values).max() > 100 * symmetric_below(values)
        panel = Panel(
            series=[bars],
            x_label="",
            y_label="trace (loss per squared parameter norm)",
            y_scale="symlog" if wide else "linear",
            x_ticks=list(zip(places.tolist(), found, strict=True)),
            marks=[Mark(y=0.0)],
        )
        probes = next(iter(found.values())).probes
        return panel, [f"Traces of the blocks; lines: standard errors over {probes} random vectors."]


@overload
def trace(
    objective: Objective,
    params: Parameters | None = None,
    *,
    probes: int = 30,
    kind: Kind = "hessian",
    tensors: Which = "all",
    by: None = None,
    how: How = "derivatives",
    rows: int | None = None,
    memory: int = 2 * GIB,
    seed: int = 0,
) -> Trace: ...


@overload
def trace(
    objective: Objective,
    params: Parameters | None = None,
    *,
    probes: int = 30,
    kind: Kind = "hessian",
    tensors: Which = "all",
    by: str,
    how: How = "derivatives",
    rows: int | None = None,
    memory: int = 2 * GIB,
    seed: int = 0,
) -> Blocks[Trace]: ...


def trace(
    objective: Objective,
    params: Parameters | None = None,
    *,
    probes: int = 30,
    kind: Kind = "hessian",
    tensors: Which = "all",
    by: str | None = None,
    how: How = "derivatives",
    rows: int | None = None,
    memory: int = 2 * GIB,
    seed: int = 0,
) -> Trace | Blocks[Trace]:
    r"""The sum of all eigenvalues, by Hutchinson's estimator (1990): the mean of :math:`v^T H v` over signs v.

    The traces of all diagonal blocks come from the same products, :math:`v_b^T (H v)_b`: they cost nothing extra.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        probes: number of random vectors, each a matrix-vector product; at least 2.
        kind: ``"hessian"`` or ``"ggn"``.
        tensors: ``"all"`` or ``"weights"``.
        by: for each diagonal block instead: ``"layer"``, ``"block"``, or a pattern, see
            :func:`lossatlas.curvature.blocks.blocks_of`.
        how: ``"derivatives"``, or ``"differences"`` of gradients, see :class:`lossatlas.curvature.products.Matrix`.
        rows: samples that are differentiated at once; by default a batch.
        memory: bytes that may hold first derivatives from one product to the next.
        seed: of the signs.

    Returns:
        The estimate with its standard error; with ``by``, one for each block.

    Raises:
        SpecError: there are fewer than two probes, or an option is unknown.

    Example:
        >>> x, y = torch.eye(3), torch.zeros(3, 1)
        >>> objective = Objective(torch.nn.Linear(3, 1, bias=False), (x, y), torch.nn.functional.mse_loss)
        >>> round(trace(objective, probes=2).value, 6)
        2.0
    """
    matrix = Matrix(objective, params, kind=kind, tensors=tensors, how=how, rows=rows, memory=memory)
    if by is not None:
        return traces_of(matrix, by=by, probes=probes, seed=seed)
    return trace_of(matrix, probes=probes, seed=seed)


def trace_of(matrix: Matrix, *, probes: int = 30, seed: int = 0) -> Trace:
    """The trace of a matrix at its point, see :func:`trace`."""
    found = _estimates(matrix, [matrix.size], probes, seed)[:, 0]
    return _trace(found, matrix.subject)


def traces_of(matrix: Matrix, *, by: str, probes: int = 30, seed: int = 0) -> Blocks[Trace]:
    """The traces of the diagonal blocks of a matrix at its point, see :func:`trace`."""
    blocks = blocks_of(matrix, by)
    each = _estimates(matrix, [tensor.numel() for tensor in matrix.tensors], probes, seed)
    found = {block.name: _trace(each[:, list(block.places)].sum(axis=1), block.subject) for block in blocks}
    return Blocks(by=by, found=found, subject=matrix.subject)


def _estimates(matrix: Matrix, sizes: list[int], probes: int, seed: int) -> np.ndarray:
    """For each random vector and part of it, the part's share of the trace, float64 [probes, parts]."""
    check_whole("probes", probes, 2)  # for a standard error
    check_whole("seed", seed)
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(probes):
        vector = signs(matrix, generator)
        parts = zip(torch.split(vector, sizes), torch.split(matrix @ vector, sizes), strict=True)
        rows.append([dots(part[None], product)[0] for part, product in parts])
    return np.array(rows)


def _trace(found: np.ndarray, subject: Subject) -> Trace:
    spread = float(np.std(found, ddof=1)) / math.sqrt(len(found))
    return Trace(value=float(np.mean(found)), standard_error=spread, probes=len(found), subject=subject)
