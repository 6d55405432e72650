r"""Where does the loss curve downwards in any direction, not only in the slice: :math:`|λ_{min} / λ_{max}|` on a grid.

The map of Li et al. 2018, section 6 and figure 7. Eigenvalues come from Lanczos' method, which begins at each point
with the eigenvectors of the last one: a snake through the grid makes that point a neighbour.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from lossatlas.atomic import whole
from lossatlas.curvature.products import Kind, Matrix, NotFiniteError, Which
from lossatlas.curvature.spectrum import Eigen, ends_of
from lossatlas.curvature.subject import MATRICES
from lossatlas.errors import SpecError
from lossatlas.objective import Objective
from lossatlas.objective.probe import probe
from lossatlas.results.landscape import Status
from lossatlas.results.spec import Block, RunSpec
from lossatlas.sampling.provenance import run_spec
from lossatlas.sampling.run import begun
from lossatlas.sampling.samplers import Grid, check_axes
from lossatlas.space.charts import Plane

__all__ = ["PATIENCE_SECONDS", "VALUES", "curvature_map", "snake"]

VALUES = ("loss", "ratio", "lambda_min", "lambda_max", "residual", "products")
PATIENCE_SECONDS = 2.0


def curvature_map(
    objective: Objective,
    plane: Plane,
    grid: Grid,
    *,
    tensors: Which = "all",
    kind: Kind = "hessian",
    tolerance: float = 0.1,
    most: int = 120,
    warm: bool = True,
    checks: int = 3,
    seed: int = 0,
    run: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Extreme eigenvalues of the curvature at every point of a grid.

    Args:
        objective: whose loss.
        plane: where.
        grid: which points.
        tensors: ``"all"`` or ``"weights"``.
        kind: ``"hessian"`` or ``"ggn"``.
        tolerance: wanted residual, relative to each eigenvalue as in :func:`lossatlas.eigenvalues`. Eigenvalues are
            better than residuals: with 0.1 ratios were found within 3 % (``docs/curvature.md``).
        most: matrix-vector products at a point after which it has failed, and says so.
        warm: begin with a mixture of both eigenvectors of the neighbour and a random vector.
        checks: with warm starts, so many points are solved again from a random vector. By how much the values differ,
            and how many products either way took, is kept with the result.
        seed: of the vector to begin with at the first point.
        run: run folder; the same call resumes there.
        progress: show a progress bar; left out, where it takes more than two seconds.

    Returns:
        A Landscape with ``loss``, ``ratio`` (:math:`|λ_{min}/λ_{max}|`, 0 where no eigenvalue is negative),
        ``lambda_min``, ``lambda_max``, ``residual`` (the larger of both, as of :func:`lossatlas.eigenvalues`) and
        ``products``, the matrix-vector products each point took. A point that has not converged has failed; it keeps
        what was found.

    Raises:
        SpecError: bad input.
        RunMismatchError: the folder holds another run.

    Example:
        >>> import lossatlas as la
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
        >>> objective = la.Objective(net, (torch.randn(8, 2), torch.randn(8, 1)), torch.nn.functional.mse_loss)
        >>> found = curvature_map(objective, la.Plane.random(objective), la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))
        >>> bool((found["lambda_min"] <= found["lambda_max"]).all())
        True
    """
    if not isinstance(grid, Grid):
        raise SpecError(f"grid is a {type(grid).__name__}; a map of curvature needs a lossatlas.Grid")
    check_axes(grid.axes, plane.axes)
    matrix = Matrix(objective, plane.origin, kind=kind, tensors=tensors)
    options = {"kind": kind, "tensors": tensors, "tolerance": tolerance, "most": most, "warm": warm, "seed": seed}
    spec = _spec(objective, plane, grid, options)
    with begun(run, spec, plane) as journal:
        shelf = _Shelf(None if run is None else Path(run))
        told = journal.told()
        order = snake(grid.shape)
        pending = order[~np.isin(order, told.indices)]
        walker = _Walker(matrix, plane, grid, options)
        walker.last = shelf.vectors_of(int(order[len(told.indices) - 1])) if len(told.indices) else None
        again = _spread(order, checks if warm else 0)
        count, done = len(order) + len(again), len(told.indices)
        delay = 0.0 if progress else PATIENCE_SECONDS
        with tqdm(total=count, initial=done, unit="point", disable=progress is False, delay=delay) as bar:
            for index in map(int, pending):
                block = walker.visit(index)
                shelf.keep(index, walker.last)  # first, so that the next point of a resumed run begins with the same
                journal.commit(block)
                shelf.only(index)
                bar.update()
            cold = {}
            for index in map(int, again):
                cold[index] = walker.solved_cold(index)
                bar.update()
        journal.note_evaluation(_evaluation(journal.told(), options, cold))
        return journal.finish()


def _spread(order: np.ndarray, count: int) -> np.ndarray:
    """Some cells, spread evenly along the way, the first left out: it has no neighbour before it."""
    places = np.linspace(0, len(order) - 1, min(count, len(order) - 1) + 2).round().astype(int)[1:-1]
    return np.asarray(order[np.unique(places[places > 0])])


def snake(shape: tuple[int, ...]) -> np.ndarray:
    """All cells of a grid, each beside the one before: flat indices in C order, int64.

    Returns:
        The order, int64 [cells].

    Example:
        >>> snake((2, 3)).tolist()
        [0, 1, 2, 5, 4, 3]
    """
    cells = np.arange(shape[-1])
    for length in reversed(shape[:-1]):
        rows = [(cells if i % 2 == 0 else cells[::-1]) + i * len(cells) for i in range(length)]
        cells = np.concatenate(rows)
    return cells.astype(np.int64)


class _Walker:
    """Goes from point to point and remembers the last eigenvectors, ``[2, n]``."""

    def __init__(self, matrix: Matrix, plane: Plane, grid: Grid, options: dict[str, Any]) -> None:
        self.matrix = matrix
        self.plane = plane
        self.grid = grid
        self.options = options
        self.last: Tensor | None = None

    def visit(self, index: int) -> Block:
        """Eigenvalues at one cell."""
        parameters = self._at(index)
        loss = self.matrix.objective(parameters)["loss"]
        self.matrix.move(parameters)
        try:
            found = self._solved(self._start())
        except NotFiniteError as fault:
            self.last = None
            return _block(index, np.array([[loss, *[np.nan] * 5]]), Status.NON_FINITE, str(fault))
        ends = found.vectors[0], found.vectors[-1]
        self.last = torch.stack([self.matrix.joined(vector).to(self.matrix.dtype) for vector in ends])
        low, high, worst = float(found.values[0]), float(found.values[-1]), float(found.residuals.max())
        values = np.array([[loss, found.ratio, low, high, worst, found.products]])
        if not np.isfinite(values).all():
            return _block(index, values, Status.NON_FINITE, "no eigenvalue is positive")
        if found.converged.all():
            return _block(index, values, Status.OK, "")
        return _block(index, values, Status.FAILED, f"not converged after {self.options['most']} products: {worst:.1e}")

    def _start(self) -> Tensor | None:
        """A single vector finds both ends with the fewest products; most of it is the eigenvector that is hard to find.

        The random part keeps a new eigenvector, at right angles to both old ones, from being overlooked.

        Returns:
            A vector, [1, n], or ``None`` where no neighbour is known or wanted.
        """
        if self.last is None or not self.options["warm"]:
            return None
        low, high = self.last.double()
        generator = torch.Generator().manual_seed(self.options["seed"])
        random = torch.randn(self.matrix.size, generator=generator, dtype=torch.float64)
        start: Tensor = low + 0.3 * high + 0.3 * random / random.norm()
        return start[None]

    def solved_cold(self, index: int) -> Eigen | None:
        """The same from a random vector; ``None`` where the curvature is not finite."""
        self.matrix.move(self._at(index))
        try:
            return self._solved(None)
        except NotFiniteError:
            return None

    def _at(self, index: int) -> dict[str, Tensor]:
        where = np.unravel_index(index, self.grid.shape)
        return self.plane.at({a: float(c[at]) for (a, c), at in zip(self.grid.axes.items(), where, strict=True)})

    def _solved(self, start: Tensor | None) -> Eigen:
        options = {name: self.options[name] for name in ("tolerance", "most", "seed")}
        return ends_of(self.matrix, start=start, **options)


class _Shelf:
    """Where the eigenvectors of the last point lie, so that a resumed run begins its next point as if never stopped.

    Args:
        folder: the run folder; ``None`` for a run that nobody keeps.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def vectors_of(self, index: int) -> Tensor | None:
        """The eigenvectors of a point, where they were kept."""
        if self._folder is None or not self._file(index).is_file():
            return None
        return load_file(self._file(index))["vectors"]

    def keep(self, index: int, vectors: Tensor | None) -> None:
        """Put down the eigenvectors of a point."""
        if self._folder is None or vectors is None:
            return
        with whole(self._file(index)) as scratch:
            save_file({"vectors": vectors.contiguous()}, scratch)

    def only(self, index: int) -> None:
        """Drop those of all other points."""
        if self._folder is not None:
            for file in self._folder.glob("eigenvectors-*.safetensors"):
                if file != self._file(index):
                    file.unlink()

    def _file(self, index: int) -> Path:
        assert self._folder is not None
        return self._folder / f"eigenvectors-{index}.safetensors"


def _block(index: int, values: np.ndarray, status: Status, note: str) -> Block:
    return Block(indices=np.array([index]), values=values, status=np.array([status], np.int8), notes=(note,))


def _spec(objective: Objective, plane: Plane, grid: Grid, options: dict[str, Any]) -> RunSpec:
    spec = run_spec(objective, plane, grid, probe(objective, plane.origin), "exact")
    return replace(spec, values=VALUES, identity={**spec.identity, "curvature": options})


def _evaluation(told: Block, options: dict[str, Any], cold: dict[int, Eigen | None]) -> dict[str, Any]:
    products = told.values[:, VALUES.index("products")]
    which = "all tensors" if options["tensors"] == "all" else "the weights, without biases and norms,"
    words = f"{MATRICES[options['kind']]} of {which} to a residual of {options['tolerance']:g}"
    found = {
        "in words": words,
        "products": float(np.nansum(products)),
        "products per point": float(np.nanmean(products)),
        "finished": time.strftime("%Y-%m-%d"),
    }
    rows = {int(index): row for index, row in zip(told.indices, told.values, strict=True)}
    pairs = [
        (rows[index], again) for index, again in cold.items() if again is not None and np.isfinite(rows[index][-1])
    ]
    if pairs:
        places = [VALUES.index(name) for name in ("lambda_min", "lambda_max")]
        gaps = [np.abs(row[places] - again.values[[0, -1]]).max() / np.abs(again.values).max() for row, again in pairs]
        found |= {
            "check points": len(pairs),
            "largest difference from a cold start": float(max(gaps)),
            "products of a cold start": float(np.mean([again.products for _, again in pairs])),
            "products of a warm start": float(np.mean([row[VALUES.index("products")] for row, _ in pairs])),
        }
    return found
