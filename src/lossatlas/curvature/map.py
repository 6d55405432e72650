r"""Where does the loss bend down in any direction, not only in the slice? :math:`|λ_{min} / λ_{max}|` on a grid.

The map of Li et al. 2018, section 6 and figure 7. Eigenvalues come from Lanczos' method, which begins at each point
with the eigenvectors of the last one: a snake through the grid makes that point a neighbour.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import xarray as xr
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from lossatlas.atomic import replacing
from lossatlas.curvature.products import Kind, Matrix, NotFiniteError, Which
from lossatlas.curvature.spectrum import Eigen, ends_of
from lossatlas.curvature.subject import MATRICES
from lossatlas.errors import SpecError
from lossatlas.evaluate.evaluator import FAULTS
from lossatlas.evaluate.way import UnmeasuredError
from lossatlas.expected import check_kind, check_number, check_whole, path_of
from lossatlas.objective import Objective, sealing
from lossatlas.objective.probe import probe
from lossatlas.results.landscape import Status
from lossatlas.results.spec import Block, RunSpec
from lossatlas.sampling.executors import HERE, Executor, Work
from lossatlas.sampling.loop import PATIENCE_SECONDS, Places, visit
from lossatlas.sampling.provenance import run_spec
from lossatlas.sampling.run import Runner, begun, check_question
from lossatlas.sampling.samplers import Grid, GridQueue, Queue, Sampler
from lossatlas.sampling.workers.named import executor_of
from lossatlas.sampling.workers.torchrun import Torchrun
from lossatlas.space.charts import Chart
from lossatlas.space.facts import origin_of
from lossatlas.space.inputs import InputPlane

__all__ = ["VALUES", "Ends", "curvature_map", "snake"]

VALUES = ("loss", "ratio", "lambda_min", "lambda_max", "residual", "products")


@torch.inference_mode(False)
def curvature_map(
    objective: Objective,
    chart: Chart,
    sampler: Sampler,
    *,
    tensors: Which = "all",
    kind: Kind = "hessian",
    tolerance: float = 0.1,
    most: int = 120,
    warm: bool | None = None,
    checks: int = 3,
    seed: int = 0,
    run: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    executor: Runner = HERE,
) -> xr.Dataset:
    r"""Extreme eigenvalues of the curvature at every point that a sampler asks for.

    Args:
        objective: whose loss.
        chart: where: a plane, a curve, or any other chart, as for :func:`lossatlas.sample`.
        sampler: which points: a :class:`~lossatlas.Grid`, or an :class:`~lossatlas.Adaptive`, which follows the loss.
        tensors: ``"all"`` or ``"weights"``.
        kind: ``"hessian"`` or ``"ggn"``.
        tolerance: wanted residual, relative to each eigenvalue as in :func:`lossatlas.eigenvalues`. Eigenvalues are
            more accurate than their residuals: with 0.1, ratios were found to within 3 % (``docs/measured.md``).
        most: matrix-vector products after which a point counts as failed, and says so.
        warm: begin with a mixture of the neighbour's two eigenvectors and a random vector; by default if this process
            evaluates every point: with an executor the neighbour is not known, and each point takes more products.
        checks: with warm starts, the number of points that are solved again from a random vector. The result keeps by
            how much the values differ, and how many products each way took.
        seed: of the vector to begin with at the first point.
        run: run folder; the same call resumes there.
        progress: show a progress bar; by default where it takes more than two seconds.
        executor: what evaluates the points, as for :func:`lossatlas.sample`.

    Returns:
        A Landscape with ``loss``, ``ratio`` (:math:`|λ_{min}/λ_{max}|`, 0 where no eigenvalue is negative),
        ``lambda_min``, ``lambda_max``, ``residual`` (the larger of both, as of :func:`lossatlas.eigenvalues`) and
        ``products``, the matrix-vector products each point took. A point that has not converged counts as failed but
        keeps what was found. A point that raises has failed too, and the others go on.

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
    warm = warm if warm is not None else _alone(executor) == HERE
    check_question(objective, chart, sampler)
    _check(chart, tolerance, run, most=most, checks=checks, seed=seed, warm=warm)
    matrix = Matrix(objective, origin_of(chart), kind=kind, tensors=tensors)
    options = {"kind": kind, "tensors": tensors, "tolerance": tolerance, "most": most, "warm": warm, "seed": seed}
    centre = probe(objective, origin_of(chart))
    spec = _spec(run_spec(objective, chart, sampler, centre), options)
    places = Places(sampler.axes, chart.axes)
    with begun(run, spec, chart) as journal:
        told, shelf = journal.told(), _Shelf(None if run is None else Path(run))
        rest: dict[str, Any] = {"done": len(told.indices), "size": journal.size, "progress": progress}
        way = Ends(matrix, chart, options, last=shelf.vectors_after(len(told.indices)))
        visit(
            _work(way, objective, warm=warm),
            places,
            _snaking(sampler, told),
            _Remembering(journal, shelf, way, len(told.indices)),
            _alone(executor),
            seconds=centre.seconds * most,
            **rest,
        )
        if len((found := journal.told()).indices) > len(told.indices) or not journal.evaluation:
            again = _spread(_walked(sampler, found.indices), checks if warm else 0)
            cold = {int(index): way.solved_cold(places.of(index[None])[0]) for index in _shown(again, progress)}
            journal.note_evaluation(_evaluation(found, options, cold))
        return journal.finish(sampler.finish)


def _alone(executor: Runner) -> Executor:
    """The executor, whose workers each evaluate a point by themselves."""
    found = executor_of(executor)
    if isinstance(found, Torchrun):
        raise SpecError("executor='torchrun': ranks cannot compute curvature together; use processes, devices or dask")
    return found


def _check(chart: Chart, tolerance: float, run: str | os.PathLike[str] | None, **others: Any) -> None:
    for argument, least in (("most", 1), ("checks", 0), ("seed", None)):
        check_whole(argument, others[argument], least)
    check_kind("warm", others["warm"], bool, "True or False")
    if isinstance(chart, InputPlane):
        raise SpecError(
            "chart: an InputPlane moves the inputs, but this curvature is with respect to the weights; use la.sample"
        )
    if run is not None:
        path_of("run", run)
    check_number("tolerance", tolerance)
    if not tolerance > 0:
        raise SpecError(f"tolerance={tolerance}; expected a positive share of the largest eigenvalue")


def _work(way: Ends, objective: Objective, *, warm: bool) -> Work:
    every = tuple(range(len(VALUES)))
    return Work(make=partial(_itself, way), width=len(VALUES), decisive=every, in_order=warm, subject=objective)


def _itself(way: Ends) -> Ends:
    return way


def _snaking(sampler: Sampler, told: Block) -> Queue:
    """The points of a grid, each next to the one before; any other sampler has an order of its own."""
    if not isinstance(sampler, Grid):
        return sampler.start(told)
    order = snake(sampler.shape)
    return GridQueue(order[~np.isin(order, told.indices)])


def _walked(sampler: Sampler, indices: np.ndarray) -> np.ndarray:
    return snake(sampler.shape) if isinstance(sampler, Grid) else indices


def _shown(again: np.ndarray, progress: bool | None) -> Any:
    delay = 0.0 if progress else PATIENCE_SECONDS
    return tqdm(again, unit="check", disable=progress is False, delay=delay, leave=False)


def _spread(order: np.ndarray, count: int) -> np.ndarray:
    """Some cells, spread evenly along the way, except the first, which has no predecessor."""
    places = np.linspace(0, len(order) - 1, min(count, len(order) - 1) + 2).round().astype(int)[1:-1]
    return np.asarray(order[np.unique(places[places > 0])])


def snake(shape: tuple[int, ...]) -> np.ndarray:
    """All cells of a grid, each next to the one before: flat indices in C order, int64.

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


class Ends:
    """The way of a map: both ends of the spectrum at a point, starting from where the previous point ended.

    Args:
        matrix: the curvature.
        chart: where.
        options: of :func:`curvature_map`, by name.
        last: eigenvectors to begin with, [2, n].
    """

    def __init__(self, matrix: Matrix, chart: Chart, options: Mapping[str, Any], last: Tensor | None = None) -> None:
        self.matrix = matrix
        self.chart = chart
        self.options = options
        self.last = last

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        """Loss, ratio, both ends, residual and products at some points.

        Args:
            coordinates: float64 [n, k], in the order of the chart's axes.

        Returns:
            float64 [n, 6].

        Raises:
            UnmeasuredError: the curvature is not finite, or the iteration has not converged.
        """
        return np.stack([self.visit(row) for row in coordinates])

    def close(self) -> None:
        """Nothing is held."""

    def visit(self, row: np.ndarray) -> np.ndarray:
        """The values at one point.

        Returns:
            float64 [6], as ``VALUES`` names them.

        Raises:
            UnmeasuredError: the curvature is not finite, or the iteration has not converged.
        """
        start, self.last = self._start(), None
        parameters = self._at(row)
        loss = self.matrix.objective(parameters)["loss"]
        self.matrix.move(parameters)
        try:
            found = self._solved(start)
        except NotFiniteError as fault:
            nothing = np.array([loss, *[np.nan] * 5])
            raise UnmeasuredError(str(fault), nothing, Status.NON_FINITE) from fault
        ends = found.vectors[0], found.vectors[-1]
        self.last = torch.stack([self.matrix.joined(vector).to(self.matrix.dtype) for vector in ends])
        low, high, worst = float(found.values[0]), float(found.values[-1]), float(found.residuals.max())
        values = np.array([loss, found.ratio, low, high, worst, found.products])
        if not np.isfinite(values).all():
            raise UnmeasuredError("no eigenvalue is positive", values, Status.NON_FINITE)
        if not found.converged.all():
            raise UnmeasuredError(f"not converged after {self.options['most']} products: {worst:.1e}", values)
        return values

    def solved_cold(self, row: np.ndarray) -> Eigen | None:
        """Both ends from a random vector; ``None`` where there are none."""
        try:
            self.matrix.move(self._at(row))
            return self._solved(None)
        except (NotFiniteError, *FAULTS):
            return None

    def _start(self) -> Tensor | None:
        """A single vector finds both ends with the fewest products; most of it is the eigenvector harder to find.

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

    def _at(self, row: np.ndarray) -> dict[str, Tensor]:
        return self.chart.at(dict(zip(self.chart.axes, row.tolist(), strict=True)))

    def _solved(self, start: Tensor | None) -> Eigen:
        options = {name: self.options[name] for name in ("tolerance", "most", "seed")}
        return ends_of(self.matrix, start=start, **options)


class _Keeper(Protocol):
    """Where blocks are kept."""

    def commit(self, block: Block) -> None: ...


@dataclass
class _Remembering:
    """A journal that keeps, with each block, the state of the way after it: a resumed run begins there."""

    journal: _Keeper
    shelf: _Shelf
    way: Ends
    count: int

    def commit(self, block: Block) -> None:
        """Write the eigenvectors first, so that none are missing for a block that is kept."""
        self.count += len(block.indices)
        self.shelf.keep(self.count, self.way.last)
        self.journal.commit(block)
        self.shelf.only(self.count)


class _Shelf:
    """The file of the last point's eigenvectors, so that a resumed run begins its next point as if never stopped.

    Args:
        folder: the run folder; ``None`` for a run that is not kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def vectors_after(self, count: int) -> Tensor | None:
        """The eigenvectors of the point that came last when so many were done, if they were kept and can be read."""
        if self._folder is None or not self._file(count).is_file():
            return None
        try:
            with safe_open(self._file(count), framework="pt") as file:
                found: Tensor = file.get_tensor("vectors")
                sealing.check(self._file(count), {"vectors": found}, file.metadata())
                return found
        except (SafetensorError, OSError, SpecError):
            return None

    def keep(self, count: int, vectors: Tensor | None) -> None:
        """Write the eigenvectors of a point."""
        if self._folder is None or vectors is None:
            return
        with replacing(self._file(count)) as scratch:
            kept = {"vectors": vectors.contiguous()}
            save_file(kept, scratch, metadata=sealing.sealed(kept, {}))

    def only(self, count: int) -> None:
        """Drop those of all other points."""
        if self._folder is not None:
            for file in self._folder.glob("eigenvectors-*.safetensors"):
                if file != self._file(count):
                    file.unlink()

    def _file(self, count: int) -> Path:
        assert self._folder is not None
        return self._folder / f"eigenvectors-{count}.safetensors"


def _spec(spec: RunSpec, options: Mapping[str, Any]) -> RunSpec:
    return replace(spec, values=VALUES, identity={**spec.identity, "curvature": dict(options)})


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
