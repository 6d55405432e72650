"""What the largest and smallest eigenvalues of a curvature matrix are, and their sum, each with its error."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.curvature.products import Kind, Matrix, Which
from lossatlas.curvature.subject import Subject
from lossatlas.curvature.subspace import FLOOR, Pairs, completed, extreme
from lossatlas.errors import SpecError
from lossatlas.expected import check_kind
from lossatlas.figure.plot import Mark, Panel, Plot, Series, onto
from lossatlas.objective import Objective
from lossatlas.oneline import one_line
from lossatlas.space.parameters import Parameters

__all__ = ["Eigen", "Trace", "eigenvalues", "end_names", "ends_of", "trace", "trace_of"]


@dataclass(frozen=True, kw_only=True)
class Eigen:
    """Extreme eigenvalues of a curvature matrix.

    Attributes:
        values: float64 [m], ascending.
        vectors: unit vectors as tensors by name, one for each value.
        residuals: float64 [m], :math:`‖H v - λ v‖ / s` with s the size of λ, or a hundredth of the largest where λ is
            smaller than that.
        converged: bool [m], whether the residual is within the tolerance asked for, and, of all but the outermost at
            either end, whether none was passed over before it.
        complete: whether the space at right angles to the vectors was searched and holds nothing further out than the
            last of them: so many copies of a multiple eigenvalue there are. Not asked where there is one at either end.
        products: matrix-vector products it took.
        subject: what the matrix is of, and what it does not prove.
    """

    values: np.ndarray
    vectors: tuple[dict[str, Tensor], ...] = field(repr=False)
    residuals: np.ndarray
    converged: np.ndarray
    products: int
    subject: Subject
    complete: bool = True

    __repr__ = one_line

    @property
    def errors(self) -> np.ndarray:
        """float64 [m], :math:`‖H v - λ v‖`: so near to each value there is an eigenvalue."""
        sizes = np.abs(self.values)
        return np.asarray(self.residuals * np.maximum(sizes, FLOOR * sizes.max()))

    @property
    def ratio(self) -> float:
        """The paper's measure of non-convexity, :math:`|λ_{min} / λ_{max}|`.

        It is 0 where no eigenvalue is negative, and infinite where some are and none is positive.
        """
        low, high = float(self.values[0]), float(self.values[-1])
        if low >= 0:
            return 0.0
        return -low / high if high > 0 else math.inf

    @property
    def caveats(self) -> tuple[str, ...]:
        """What these numbers do not prove, in sentences."""
        said = ["The true λmin may be lower and the true λmax higher: an iteration finds both from inside."]
        low, error = float(self.values[0]), float(self.errors[0])
        if low >= -error:
            near = max(error, -low)
            said.append(f"No eigenvalue below -{near:.2g} was found; that does not prove that there is none.")
        if not self.complete:
            said.append(
                "Whether eigenvalues were passed over, as copies of a multiple one, was not settled: all but the "
                "outermost ones may be too far in."
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
        places = np.arange(len(self.values), dtype=float)
        below, above = self.values[: len(self.values) // 2], self.values[len(self.values) // 2 :]
        bars = [
            _bars(places[: len(below)], below, self.residuals[: len(below)], "smallest", 1),
            _bars(places[len(below) :], above, self.residuals[len(below) :], "largest", 0),
        ]
        ticks = [(float(place), name) for place, name in zip(places, end_names(len(below), len(above)), strict=True)]
        panel = Panel(
            series=bars,
            x_label="",
            y_label="eigenvalue (loss per squared parameter norm)",
            y_scale="symlog" if np.ptp(np.log10(np.maximum(np.abs(self.values), 1e-300))) > 1.5 else "linear",
            x_ticks=ticks,
            marks=[Mark(y=0.0)],
        )
        ratio = f"|λmin/λmax| = {self.ratio:.3g}."
        caption = [self.subject.words, ratio, "Lines: residuals.", *self.caveats]
        return onto(ax, Plot(panels=[panel], caption=caption))


def _bars(places: np.ndarray, values: np.ndarray, residuals: np.ndarray, label: str, color: int) -> Series:
    reach = residuals * np.abs(values)
    ends = {"low": values - reach, "high": values + reach}
    return Series(x=places, y=values, label=label, style="bars", color=color, **ends)


def end_names(low: int, high: int) -> list[str]:
    """What the eigenvalues at both ends are called, ascending.

    Returns:
        ``low + high`` names.

    Example:
        >>> end_names(2, 2)
        ['λmin', 'λ2 from below', 'λ2 from above', 'λmax']
    """
    below = ["λmin", *(f"λ{i} from below" for i in range(2, low + 1))]
    above = [*(f"λ{i} from above" for i in range(high, 1, -1)), "λmax"]
    return below[:low] + above[-high:]


def eigenvalues(
    objective: Objective,
    params: Parameters | None = None,
    *,
    k: int = 1,
    kind: Kind = "hessian",
    tensors: Which = "all",
    tolerance: float = 0.01,
    seed: int = 0,
    most: int = 200,
) -> Eigen:
    """The k smallest and the k largest eigenvalues, with their vectors.

    A small residual proves that there is an eigenvalue so near; that none lies further out is likely, since random
    vectors find the ends first, and not proved. The smallest value is never too low and the largest never too high.
    With k above 1, multiple eigenvalues come as often as they are there: the space at right angles to the vectors is
    searched again from another random vector, which about doubles the cost.

    Args:
        objective: whose loss.
        params: the point; left out, the origin.
        k: how many at either end.
        kind: ``"hessian"`` or ``"ggn"``.
        tensors: ``"all"`` or ``"weights"``.
        tolerance: wanted residual, relative to the size of each eigenvalue; one smaller than a hundredth of the
            largest is held against that hundredth. The error of an eigenvalue is about the square of it.
        seed: of the vector to begin with.
        most: matrix-vector products after which it gives up; what it has then says how good it is. With k above 1 the
            search for what was passed over may take as many again.

    Returns:
        Values, vectors, residuals and whether they have converged.

    Raises:
        SpecError: an unknown option, k < 1, a tolerance that is not positive, or a curvature that is not finite.

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
    matrix = Matrix(objective, params, kind=kind, tensors=tensors)
    return ends_of(matrix, k=k, tolerance=tolerance, seed=seed, most=most)


def ends_of(
    matrix: Matrix,
    *,
    k: int = 1,
    tolerance: float = 0.01,
    seed: int = 0,
    most: int = 200,
    start: Tensor | None = None,
) -> Eigen:
    """Both ends of the spectrum of a matrix, see :func:`eigenvalues`.

    Args:
        matrix: the matrix, at its point.
        k: how many at either end.
        tolerance: wanted residual, relative to the size of each eigenvalue.
        seed: of the vector to begin with.
        most: products after which it gives up.
        start: vectors to begin with instead, [m, n]: the eigenvectors of a point nearby save a part of the work.

    Returns:
        As :func:`eigenvalues`.

    Raises:
        SpecError: a number or tolerance that makes no sense.
    """
    check_kind("k", k, int, "how many eigenvalues at either end")
    check_kind("tolerance", tolerance, (int, float), "a share, such as 0.01")
    if k < 1:
        raise SpecError(f"k={k}; expected at least one eigenvalue at either end")
    if not tolerance > 0:
        raise SpecError(f"tolerance={tolerance}; expected a positive share of the largest eigenvalue")
    before, complete = matrix.products, True
    if matrix.size <= max(2 * k + 2, 24 if k == 1 else 64):  # as cheap as an iteration, and nothing is passed over
        found = _dense(matrix, k)
    else:
        generator = torch.Generator().manual_seed(seed)
        random = torch.randn(1, matrix.size, generator=generator, dtype=torch.float64)
        found = extreme(matrix, random if start is None else start, k=k, tolerance=tolerance, most=most)
        if k > 1:
            found, complete = completed(matrix, found, k=k, tolerance=tolerance, most=most, seed=seed)
    inner = np.isin(np.arange(len(found.values)), (0, len(found.values) - 1), invert=True)
    return Eigen(
        values=found.values,
        vectors=tuple(matrix.named(vector) for vector in found.vectors),
        residuals=found.residuals / found.sizes,
        converged=(found.residuals <= tolerance * found.sizes) & (complete | ~inner),
        complete=complete,
        products=matrix.products - before,
        subject=matrix.subject,
    )


def _dense(matrix: Matrix, k: int) -> Pairs:
    full = torch.stack([matrix @ row for row in torch.eye(matrix.size, dtype=torch.float64)]).numpy()
    values, vectors = np.linalg.eigh((full + full.T) / 2)
    ends = sorted({*range(min(k, len(values))), *range(max(len(values) - k, 0), len(values))})
    rest = full @ vectors[:, ends] - vectors[:, ends] * values[ends]
    chosen = torch.from_numpy(vectors[:, ends].T.copy())
    return Pairs(values=values[ends], vectors=chosen, residuals=np.linalg.norm(rest, axis=0))


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


def trace(
    objective: Objective,
    params: Parameters | None = None,
    *,
    probes: int = 30,
    kind: Kind = "hessian",
    tensors: Which = "all",
    seed: int = 0,
) -> Trace:
    r"""The sum of all eigenvalues, by Hutchinson's estimator (1990): the mean of :math:`v^T H v` over signs v.

    Args:
        objective: whose loss.
        params: the point; left out, the origin.
        probes: number of random vectors, each a matrix-vector product; at least 2.
        kind: ``"hessian"`` or ``"ggn"``.
        tensors: ``"all"`` or ``"weights"``.
        seed: of the signs.

    Returns:
        The estimate with its standard error.

    Raises:
        SpecError: fewer than two probes, or an unknown option.

    Example:
        >>> x, y = torch.eye(3), torch.zeros(3, 1)
        >>> objective = Objective(torch.nn.Linear(3, 1, bias=False), (x, y), torch.nn.functional.mse_loss)
        >>> round(trace(objective, probes=2).value, 6)
        2.0
    """
    return trace_of(Matrix(objective, params, kind=kind, tensors=tensors), probes=probes, seed=seed)


def trace_of(matrix: Matrix, *, probes: int = 30, seed: int = 0) -> Trace:
    """The trace of a matrix at its point, see :func:`trace`."""
    if probes < 2:
        raise SpecError(f"probes={probes}; a standard error needs at least 2")
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(probes):
        signs = torch.randint(0, 2, (matrix.size,), generator=generator).double() * 2 - 1
        found.append(float(signs @ (matrix @ signs)))
    spread = float(np.std(found, ddof=1)) / math.sqrt(probes)
    return Trace(value=float(np.mean(found)), standard_error=spread, probes=probes, subject=matrix.subject)
