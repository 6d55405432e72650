"""How much does the largest eigenvalue differ between mini-batches? Many of them in one call, as a histogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from lossatlas.curvature.products import GIB, How, Kind, Matrix, Which
from lossatlas.curvature.spectrum import ends_of
from lossatlas.curvature.subject import Subject
from lossatlas.errors import SpecError
from lossatlas.figure.plot import Mark, Panel, Plot, Series, onto
from lossatlas.figure.words import number
from lossatlas.objective import Objective, cutting
from lossatlas.oneline import number_of, one_line, verb_of
from lossatlas.sampling.loop import PATIENCE_SECONDS
from lossatlas.space.parameters import Parameters

__all__ = ["BatchEigen", "batch_eigenvalues"]


@dataclass(frozen=True, kw_only=True)
class BatchEigen:
    """The ends of the spectrum on mini-batches.

    Attributes:
        largest: float64 [batches], λmax of the mean loss of each batch.
        smallest: float64 [batches], λmin of the same.
        residuals: float64 [batches], the larger of both, as of :class:`~lossatlas.curvature.spectrum.Eigen`.
        errors: float64 [batches, 2], of λmin and of λmax, as of the same.
        converged: bool [batches].
        sizes: int64 [batches], samples.
        products: matrix-vector products of all batches together.
        subject: what the matrix of all batches is of.
    """

    largest: np.ndarray
    smallest: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    sizes: np.ndarray
    errors: np.ndarray
    products: int
    subject: Subject

    __repr__ = one_line

    @property
    def words(self) -> str:
        """How the largest eigenvalue varies between batches, and of what, in sentences."""
        middle, low, high = (number(float(part)) for part in np.quantile(self.largest, (0.5, 0.0, 1.0)))
        count = number_of(len(self.largest), "batch", "batches")
        return f"{self.subject.words} λmax of {count}: {low} to {high}, median {middle}."

    @property
    def caveats(self) -> tuple[str, ...]:
        """What these numbers do not prove, in sentences."""
        loose = int((~self.converged).sum())
        said = [
            "λmax over all samples is at most the sample-weighted mean of these: each batch bends most along a "
            "direction of its own.",
            *([f"{loose} of {len(self.largest)} batches {verb_of(loose, 'has')} not converged."] if loose else []),
        ]
        return (*said, *self.subject.caveats)

    def plot(self, ax: Any = None) -> Plot:
        """A histogram of the largest eigenvalues, with their median; for :func:`lossatlas.draw`.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        counts, edges = np.histogram(self.largest, bins=_bins(self.largest))
        x, y = np.append(edges, edges[-1]), np.concatenate([counts, counts[-1:], [0]]).astype(float)
        low, middle, high = np.quantile(self.largest, (0.1, 0.5, 0.9))
        steps = Series(x=np.insert(x, 0, x[0]), y=np.insert(y, 0, 0.0), style="step", label="batches")
        panel = Panel(
            series=[steps],
            x_label="λmax of a batch (loss per squared parameter norm)",
            y_label="number of batches",
            marks=[Mark(x=float(middle), label="median")],
        )
        sizes = sorted({int(size) for size in self.sizes})
        span = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        words = f"λmax of {len(self.largest)} batches of {span} samples: median {number(float(middle))}"
        words += f", from {number(float(low))} to {number(float(high))} in eight of ten."
        return onto(
            ax,
            Plot(
                panels=[panel],
                title=self.subject.title("Curvature", "batch"),
                caption=[words, self.subject.words, *self.caveats],
            ),
        )


def batch_eigenvalues(
    objective: Objective,
    params: Parameters | None = None,
    *,
    batch_size: int | None = None,
    kind: Kind = "hessian",
    tensors: Which = "all",
    how: How = "derivatives",
    memory: int = 2 * GIB,
    tolerance: float = 0.05,
    seed: int = 0,
    most: int = 100,
    progress: bool | None = None,
) -> BatchEigen:
    """The largest and smallest eigenvalue of the curvature on each mini-batch, as training sees it.

    Args:
        objective: whose loss, and whose batches.
        params: the point; by default the origin.
        batch_size: samples of a mini-batch; by default the batches of the data.
        kind: ``"hessian"`` or ``"ggn"``.
        tensors: ``"all"`` or ``"weights"``.
        how: ``"derivatives"`` or ``"differences"``.
        memory: bytes for vectors, and as many for first derivatives; each batch is linearised once where they fit.
        tolerance: wanted residual, as in :func:`lossatlas.eigenvalues`.
        seed: of the vector to begin with, the same for each batch.
        most: matrix-vector products for a batch after which it gives up.
        progress: show a progress bar; by default where it takes more than two seconds.

    Returns:
        Both ends for each batch.

    Raises:
        SpecError: an unknown option, or data in a single batch.

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
        >>> net = torch.nn.Linear(1, 1, bias=False)
        >>> objective = Objective(net, (x, torch.zeros(4, 1)), torch.nn.functional.mse_loss)
        >>> [round(float(value)) for value in batch_eigenvalues(objective, batch_size=2).largest]
        [5, 25]
    """
    whole = objective if batch_size is None else cutting.cut(objective, batch_size)
    if whole.batches.number < 2:
        raise SpecError("data is a single batch; pass batch_size=..., or use la.eigenvalues for all samples together")
    matrix = Matrix(whole, params, kind=kind, tensors=tensors, how=how, memory=memory)
    delay = 0.0 if progress else PATIENCE_SECONDS
    options: dict[str, Any] = {"unit": "batch", "disable": progress is False, "delay": delay, "leave": False}
    found = []
    for batch in tqdm(whole.batches, total=whole.batches.number, **options):
        matrix.only(batch)
        found.append(ends_of(matrix, tolerance=tolerance, seed=seed, most=most, vectors=False))
    return BatchEigen(
        largest=np.array([ends.values[-1] for ends in found]),
        smallest=np.array([ends.values[0] for ends in found]),
        residuals=np.array([ends.residuals.max() for ends in found]),
        converged=np.array([bool(ends.converged.all()) for ends in found]),
        sizes=np.array(whole.sizes),
        errors=np.array([ends.errors[[0, -1]] for ends in found]),
        products=sum(ends.products for ends in found),
        subject=matrix.subject,
    )


def _bins(values: np.ndarray) -> int:
    return int(np.clip(np.sqrt(len(values)) * 2, 5, 40))
