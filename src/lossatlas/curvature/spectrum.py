"""What are the largest and smallest eigenvalues of a curvature matrix, or of each of its blocks, with their errors?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, overload

import numpy as np
import torch
from torch import Tensor

from lossatlas.curvature.asking import Asking, DiagonalBlock, answered, counted, drawn, room_for, together
from lossatlas.curvature.blocks import Beside, Blocks, blocks_of
from lossatlas.curvature.ends_plot import ends_beside, ends_plot
from lossatlas.curvature.products import GIB, How, Kind, Matrix, Which
from lossatlas.curvature.recurrence import slim
from lossatlas.curvature.subject import Subject, ends_said, ends_words
from lossatlas.curvature.subspace import FLOOR, MOST, Pairs, completed, dense, extreme, is_small
from lossatlas.errors import SpecError
from lossatlas.expected import check_kind
from lossatlas.figure.plot import Plot, onto
from lossatlas.figure.words import number
from lossatlas.objective import Objective
from lossatlas.oneline import one_line
from lossatlas.space.parameters import Parameters

__all__ = ["Eigen", "eigenvalues", "ends_by", "ends_of"]


@dataclass(frozen=True, kw_only=True)
class Eigen:
    """Extreme eigenvalues of a curvature matrix.

    Attributes:
        values: float64 [m], ascending.
        vectors: unit vectors as tensors by name, one for each value; none if they were not asked for.
        residuals: float64 [m], :math:`‖H v - λ v‖ / s` with s the magnitude of λ, or a hundredth of the largest if λ is
            smaller than that.
        converged: bool [m], whether the residual is within the tolerance asked for and, for all but the outermost at
            each end, whether none was passed over before it.
        complete: whether the space orthogonal to the vectors was searched and holds nothing further out than the last
            of them, which settles the number of copies of a multiple eigenvalue. Not asked if there is one at each end.
        products: matrix-vector products it took.
        subject: what the matrix is of, and what it does not prove.
        rounding: how far rounding may have moved a value, of which residuals see only a part: eight spacings of the
            shortest number format in which a loss was computed, times the largest value; by differences, also what
            these are off.
    """

    values: np.ndarray
    vectors: tuple[dict[str, Tensor], ...] = field(repr=False)
    residuals: np.ndarray
    converged: np.ndarray
    products: int
    subject: Subject
    complete: bool = True
    rounding: float = 0.0

    __repr__ = one_line
    words = property(ends_words)
    heading: ClassVar[str] = "Curvature"

    @property
    def said(self) -> str:
        """Both ends with their residuals."""
        return ends_said(self)

    @property
    def largest(self) -> float:
        """λmax: what blocks are compared by."""
        return float(self.values[-1])

    @property
    def errors(self) -> np.ndarray:
        """float64 [m], :math:`‖H v - λ v‖` and rounding: within this distance of each value there is an eigenvalue."""
        sizes = np.abs(self.values)
        return np.asarray(self.residuals * np.maximum(sizes, FLOOR * sizes.max()) + self.rounding)

    @property
    def ratio(self) -> float:
        """The paper's measure of non-convexity, :math:`|λ_{min} / λ_{max}|`.

        It is 0 if no eigenvalue is negative beyond rounding, and infinite if some are and none is positive.
        """
        low, high = float(self.values[0]), float(self.values[-1])
        if low >= -self.rounding:
            return 0.0
        return -low / high if high > 0 else math.inf

    @property
    def caveats(self) -> tuple[str, ...]:
        """What these numbers do not prove, in sentences."""
        said = ["The true λmin may be lower and the true λmax higher: the iteration approaches both from within."]
        low, error = float(self.values[0]), float(self.errors[0])
        if low >= -error:
            near = number(-max(error, -low), 2)
            said.append(f"No eigenvalue below {near} was found; that does not prove that there is none.")
        if not self.complete:
            said.append(
                "It was not settled whether eigenvalues were passed over, such as copies of a multiple one: all but "
                "the outermost ones may be too far in."
            )
        if (self.residuals > 0).any() and not self.converged.all() and self.complete:
            worst = float(self.residuals.max())
            said.append(f"Not converged after {self.products} products: residuals up to {worst:.2g} of an eigenvalue.")
        return (*said, *self.subject.caveats)

    def plot(self, ax: Any = None) -> Plot:
        """Both ends as bars, with their residuals; for :func:`lossatlas.draw`.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        return onto(ax, ends_plot(self))

    @staticmethod
    def beside(found: Mapping[str, Eigen]) -> Beside:
        """Both ends of some blocks in one panel, and what is to be said about them."""
        return ends_beside(found)


@overload
def eigenvalues(
    objective: Objective,
    params: Parameters | None = None,
    *,
    k: int = 1,
    kind: Kind = "hessian",
    tensors: Which = "all",
    by: None = None,
    how: How = "derivatives",
    rows: int | None = None,
    memory: int = 2 * GIB,
    tolerance: float = 0.01,
    seed: int = 0,
    most: int = MOST,
    vectors: bool = True,
) -> Eigen: ...


@overload
def eigenvalues(
    objective: Objective,
    params: Parameters | None = None,
    *,
    k: int = 1,
    kind: Kind = "hessian",
    tensors: Which = "all",
    by: str,
    how: How = "derivatives",
    rows: int | None = None,
    memory: int = 2 * GIB,
    tolerance: float = 0.01,
    seed: int = 0,
    most: int = MOST,
    vectors: bool = True,
) -> Blocks[Eigen]: ...


def eigenvalues(
    objective: Objective,
    params: Parameters | None = None,
    *,
    k: int = 1,
    kind: Kind = "hessian",
    tensors: Which = "all",
    by: str | None = None,
    how: How = "derivatives",
    rows: int | None = None,
    memory: int = 2 * GIB,
    tolerance: float = 0.01,
    seed: int = 0,
    most: int = MOST,
    vectors: bool = True,
) -> Eigen | Blocks[Eigen]:
    """The k smallest and the k largest eigenvalues, with their vectors.

    A small residual proves that there is an eigenvalue that close; that none lies further out is likely, since random
    vectors find the ends first, but not proved. The smallest value is never too low and the largest never too high.
    With k above 1, a multiple eigenvalue appears as often as its multiplicity: the space orthogonal to the vectors is
    searched again from another random vector, which roughly doubles the cost.

    The iteration keeps up to 40 vectors and their products, or as many as ``memory`` has room for; if there is no room
    for eight, and k is 1, it is Lanczos' recurrence with three vectors.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        k: how many at each end.
        kind: ``"hessian"`` or ``"ggn"``.
        tensors: ``"all"`` or ``"weights"``.
        by: for each diagonal block instead: ``"layer"``, ``"block"``, or a pattern, see
            :func:`lossatlas.curvature.blocks.blocks_of`. All blocks go through the data together.
        how: ``"derivatives"``, or ``"differences"`` of gradients, see :class:`lossatlas.curvature.products.Matrix`.
        rows: samples that are differentiated at once; by default a batch.
        memory: bytes that may hold vectors of the iteration, and as many that may hold first derivatives.
        tolerance: wanted residual, relative to the size of each eigenvalue; one smaller than a hundredth of the largest
            is compared with that hundredth. The error of an eigenvalue is about the square of its residual.
        seed: of the vector to begin with.
        most: matrix-vector products after which it gives up; the result then says how good it is. With k above 1 the
            search for eigenvalues passed over may take as many again.
        vectors: whether eigenvectors are wanted. Without them the recurrence with three vectors needs half the
            products; residuals are then the recurrence's own.

    Returns:
        Values, vectors, residuals and whether they have converged; with ``by``, for each block.

    Raises:
        SpecError: an option is unknown, k < 1, the tolerance is not positive, or the curvature is not finite.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([2.0, 1.0]))
        >>> class Product(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.weight = weight
        ...     def forward(self, x):
        ...         return self.weight[0] * self.weight[1] * x
        >>> data = (torch.ones(4, 1), torch.full((4, 1), 2.0))
        >>> half = lambda f, y: 0.5 * torch.nn.functional.mse_loss(f, y)
        >>> found = eigenvalues(Objective(Product(), data, half))
        >>> [round(float(value), 4) + 0.0 for value in found.values]
        [0.0, 5.0]
    """
    matrix = Matrix(objective, params, kind=kind, tensors=tensors, how=how, rows=rows, memory=memory)
    options = {"k": k, "tolerance": tolerance, "seed": seed, "most": most, "vectors": vectors}
    return ends_of(matrix, **options) if by is None else ends_by(matrix, by=by, **options)  # type: ignore[arg-type]


def ends_of(
    matrix: Matrix,
    *,
    k: int = 1,
    tolerance: float = 0.01,
    seed: int = 0,
    most: int = MOST,
    start: Tensor | None = None,
    vectors: bool = True,
) -> Eigen:
    """Both ends of the spectrum of a matrix, see :func:`eigenvalues`.

    Args:
        matrix: the matrix, at its point.
        k: how many at either end.
        tolerance: wanted residual, relative to the size of each eigenvalue.
        seed: of the vector to begin with.
        most: products after which it gives up.
        start: vectors to begin with instead, [m, n]: the eigenvectors of a point nearby save a part of the work.
        vectors: whether eigenvectors are wanted.

    Returns:
        As :func:`eigenvalues`.

    Raises:
        SpecError: a number or tolerance that makes no sense.
    """
    _check(k, tolerance)
    before = matrix.products
    asking = _asking(matrix, k, tolerance, most, seed, start, vectors=vectors, room=_room(matrix, k))
    found, complete = answered(matrix, asking)
    return _eigen(matrix, found, complete, tolerance=tolerance, products=matrix.products - before)


def ends_by(
    matrix: Matrix,
    *,
    by: str,
    k: int = 1,
    tolerance: float = 0.01,
    seed: int = 0,
    most: int = MOST,
    vectors: bool = True,
) -> Blocks[Eigen]:
    """Both ends of the spectrum of each diagonal block of a matrix, see :func:`eigenvalues`.

    Args:
        matrix: the matrix, at its point.
        by: how tensors make blocks.
        k: how many at either end.
        tolerance: wanted residual, relative to the size of each eigenvalue.
        seed: of the vectors to begin with.
        most: products after which the iteration of a block gives up.
        vectors: whether eigenvectors are wanted.

    Returns:
        As :func:`eigenvalues`, by the name of the block.

    Raises:
        SpecError: a number or tolerance that makes no sense, or blocks that are not there.
    """
    _check(k, tolerance)
    blocks = blocks_of(matrix, by)

    def begin(block: DiagonalBlock) -> Asking[tuple[tuple[Pairs, bool], int]]:
        return counted(_asking(block, k, tolerance, most, seed, vectors=vectors, room=_room(matrix, k)))

    found = together(blocks, begin)
    each = {}
    for block in blocks:
        pairs, products = found[block.name]
        each[block.name] = _eigen(block, *pairs, tolerance=tolerance, products=products)
    return Blocks(by=by, found=each, subject=matrix.subject)


def _check(k: int, tolerance: float) -> None:
    check_kind("k", k, int, "how many eigenvalues at either end")
    check_kind("tolerance", tolerance, (int, float), "a share, such as 0.01")
    if k < 1:
        raise SpecError(f"k={k}; expected at least one eigenvalue at either end")
    if not tolerance > 0:
        raise SpecError(f"tolerance={tolerance}; expected a positive share of the largest eigenvalue")


def _room(matrix: Matrix, k: int) -> int:
    return min(max(40, 4 * k + 4), room_for(matrix, copies=2))


def _asking(
    matrix: Matrix | DiagonalBlock,
    k: int,
    tolerance: float,
    most: int,
    seed: int,
    start: Tensor | None = None,
    *,
    vectors: bool,
    room: int,
) -> Asking[tuple[Pairs, bool]]:
    """The pairs at both ends, and whether none can have been passed over."""
    if is_small(matrix.size, k):  # as cheap as an iteration, and nothing is passed over
        return (yield from dense(matrix, k)), True
    if start is None:
        if k == 1 and room < 2 * k + 6:
            return (yield from slim(matrix, seed, tolerance=tolerance, most=most, vectors=vectors)), True
        start = drawn(matrix, torch.Generator().manual_seed(seed))[None]
    found = yield from extreme(matrix, start, k=k, tolerance=tolerance, most=most, room=room)
    if k == 1:
        return found, True
    return (yield from completed(matrix, found, k=k, tolerance=tolerance, most=most, seed=seed, room=room))


def _eigen(matrix: Matrix | DiagonalBlock, found: Pairs, complete: bool, *, tolerance: float, products: int) -> Eigen:
    whole = matrix if isinstance(matrix, Matrix) else matrix.matrix
    inner = np.isin(np.arange(len(found.values)), (0, len(found.values) - 1), invert=True)
    return Eigen(
        values=found.values,
        vectors=tuple(matrix.named(vector) for vector in found.vectors),
        residuals=found.residuals / found.sizes,
        converged=(found.residuals <= tolerance * found.sizes) & (complete | ~inner),
        complete=complete,
        products=products,
        subject=matrix.subject,
        rounding=whole.rounding * float(np.abs(found.values).max()),
    )
