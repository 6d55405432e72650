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

from lossatlas.analysis.curvature import Kind, Matrix, Which
from lossatlas.analysis.spectrum import Eigen, eigenvalues
from lossatlas.errors import SpecError
from lossatlas.objective import Objective
from lossatlas.objective.probe import probe
from lossatlas.results.landscape import Status
from lossatlas.results.spec import Block, RunSpec
from lossatlas.results.store import MemoryRun, RunFolder
from lossatlas.sampling.provenance import run_spec
from lossatlas.sampling.samplers import Grid
from lossatlas.space.charts import Plane
from lossatlas.space.planefile import save_directions

VALUES = ("loss", "ratio", "lambda_min", "lambda_max", "products")
WARM = "eigenvectors.safetensors"
PATIENCE_SECONDS = 2.0


def curvature_map(
    objective: Objective,
    plane: Plane,
    grid: Grid,
    *,
    tensors: Which = "all",
    kind: Kind = "hessian",
    tolerance: float = 1e-2,
    most: int = 120,
    warm: bool = True,
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
        tolerance: wanted residual, relative to the largest eigenvalue in magnitude.
        most: matrix-vector products at a point after which it has failed, and says so.
        warm: begin with the eigenvectors of the neighbour; the same values to the tolerance, at a fraction of the cost.
        seed: of the vector to begin with at the first point.
        run: run folder; the same call resumes there.
        progress: show a progress bar; left out, where it takes more than two seconds.

    Returns:
        A Landscape with ``loss``, ``ratio`` (:math:`|λ_{min}/λ_{max}|`, 0 where no eigenvalue is negative),
        ``lambda_min``, ``lambda_max`` and ``products``, the matrix-vector products each point took.

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
    if set(grid.axes) != set(plane.axes):
        raise SpecError(f"grid has the axes {list(grid.axes)}, the plane {list(plane.axes)}; they must be the same")
    matrix = Matrix(objective, plane.origin, kind=kind, tensors=tensors)
    options = {"kind": kind, "tensors": tensors, "tolerance": tolerance, "most": most, "warm": warm, "seed": seed}
    spec = _spec(objective, plane, grid, options)
    with RunFolder.begin(run, spec) if run is not None else MemoryRun(spec) as journal:
        folder = None if run is None else Path(run)
        if folder is not None:
            save_directions(plane, folder / "directions.safetensors")
        told = journal.told()
        order = snake(grid.shape)
        walker = _Walker(matrix, plane, grid, options, _kept(folder, told))
        pending = order[~np.isin(order, told.indices)]
        bar = tqdm(pending, unit="point", initial=0, disable=progress is False, delay=PATIENCE_SECONDS)
        for index in bar:
            journal.commit(walker.visit(int(index)))
            _keep(folder, walker)
        journal.note_evaluation(_evaluation(journal.told(), options))
        return journal.finish()


def snake(shape: tuple[int, ...]) -> np.ndarray:
    """All cells of a grid, each beside the one before: flat indices in C order, int64.

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
    """Goes from point to point and remembers the last eigenvectors."""

    def __init__(
        self, matrix: Matrix, plane: Plane, grid: Grid, options: dict[str, Any], kept: tuple[int, Tensor] | None
    ) -> None:
        self.matrix = matrix
        self.plane = plane
        self.grid = grid
        self.options = options
        self.last = kept

    def visit(self, index: int) -> Block:
        """Eigenvalues at one cell."""
        where = np.unravel_index(index, self.grid.shape)
        point = {axis: float(c[at]) for (axis, c), at in zip(self.grid.axes.items(), where, strict=True)}
        parameters = self.plane.at(point)
        self.matrix.move(parameters)
        loss = self.matrix.objective(parameters)["loss"]
        try:
            found = self._solved()
        except SpecError as fault:
            self.last = None
            values = np.array([[loss, *[np.nan] * 4]])
            return _block(index, values, Status.NON_FINITE, str(fault))
        low, high = float(found.values[0]), float(found.values[-1])
        start = self.matrix.joined(found.vectors[0]) + self.matrix.joined(found.vectors[-1])
        self.last = (index, start)
        values = np.array([[loss, found.ratio, low, high, found.products]])
        if found.converged.all():
            return _block(index, values, Status.OK, "")
        worst = float(found.residuals.max())
        return _block(index, values, Status.FAILED, f"not converged after {self.options['most']} products: {worst:.1e}")

    def _solved(self) -> Eigen:
        start = self.last[1] if self.options["warm"] and self.last is not None else None
        return eigenvalues(
            self.matrix.objective,
            matrix=self.matrix,
            tolerance=self.options["tolerance"],
            most=self.options["most"],
            seed=self.options["seed"],
            start=start,
        )


def _block(index: int, values: np.ndarray, status: Status, note: str) -> Block:
    return Block(indices=np.array([index]), values=values, status=np.array([status], np.int8), notes=(note,))


def _spec(objective: Objective, plane: Plane, grid: Grid, options: dict[str, Any]) -> RunSpec:
    spec = run_spec(objective, plane, grid, probe(objective, plane.origin), "exact")
    return replace(spec, values=VALUES, identity={**spec.identity, "curvature": options})


def _evaluation(told: Block, options: dict[str, Any]) -> dict[str, Any]:
    products = told.values[:, VALUES.index("products")]
    words = f"{options['kind']} of {options['tensors']} tensors by Lanczos' method to {options['tolerance']:g}"
    return {
        "in words": words,
        "products": float(np.nansum(products)),
        "products per point": float(np.nanmean(products)),
        "finished": time.strftime("%Y-%m-%d"),
    }


def _kept(folder: Path | None, told: Block) -> tuple[int, Tensor] | None:
    """The eigenvectors of the last point, where they were kept and belong to a committed one."""
    if folder is None or not (folder / WARM).is_file():
        return None
    there = load_file(folder / WARM)
    index = int(there["index"])
    return (index, there["start"].double()) if index in told.indices else None


def _keep(folder: Path | None, walker: _Walker) -> None:
    if folder is None or walker.last is None:
        return
    index, start = walker.last
    scratch = folder / f".{WARM}"
    save_file({"index": torch.tensor(index), "start": start.contiguous()}, scratch)
    scratch.replace(folder / WARM)
