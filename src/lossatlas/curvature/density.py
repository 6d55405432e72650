"""How are the eigenvalues of a curvature matrix spread? The spectral density, by stochastic Lanczos quadrature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, overload

import numpy as np
import scipy.linalg
import torch

from lossatlas.curvature.asking import Asking, DiagonalBlock, answered, room_for, together
from lossatlas.curvature.blocks import Beside, Blocks, blocks_of
from lossatlas.curvature.products import GIB, How, Kind, Matrix, Which
from lossatlas.curvature.recurrence import recurrence
from lossatlas.curvature.subject import Subject
from lossatlas.expected import check_whole
from lossatlas.figure.plot import Panel, Plot, Series, onto
from lossatlas.figure.words import capital, number
from lossatlas.objective import Objective
from lossatlas.oneline import number_of, one_line
from lossatlas.space.parameters import Parameters

__all__ = ["STEPS", "Density", "densities_of", "density_of", "spectral_density"]

SHOWN = 8
"""How many blocks a picture shows the density of: as many as colours can tell apart."""

_ROUNDING = 1e-5
"""Eigenvalues that differ by less than about this share of the largest are one line."""


STEPS = 40
"""Products for each random vector, unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Density:
    """A spectral density.

    Attributes:
        eigenvalues: float64 [points], where the density is given.
        density: float64 [points], non-negative; its integral is 1.
        standard_error: float64 [points], over the probes.
        width: standard deviation of the Gaussian into which every eigenvalue is smeared.
        nodes: float64 [probes * steps], Ritz values.
        weights: float64 [probes * steps], their weights, which sum to 1.
        probes: number of random vectors.
        subject: what the matrix is of, and what it does not prove.
    """

    eigenvalues: np.ndarray
    density: np.ndarray
    standard_error: np.ndarray
    width: float
    nodes: np.ndarray
    weights: np.ndarray
    probes: int
    subject: Subject

    __repr__ = one_line
    heading: ClassVar[str] = "Spectral density"

    @property
    def words(self) -> str:
        """The range of the eigenvalues that were seen, and what they are of, in sentences."""
        return f"{self.subject.words} {capital(self.said)}."

    @property
    def said(self) -> str:
        """The range of the eigenvalues that were seen."""
        low, high = number(float(self.nodes.min())), number(float(self.nodes.max()))
        return f"eigenvalues from {low} to {high} were seen from {number_of(self.probes, 'random vector')}"

    @property
    def largest(self) -> float:
        """The largest eigenvalue that was seen: what blocks are compared by."""
        return float(self.nodes.max())

    @property
    def single(self) -> bool:
        """Whether all eigenvalues seen are equal up to rounding: zero for a linear loss."""
        return _is_single(self.nodes)

    def plot(self, ax: Any = None) -> Plot:
        """The logarithm of the density, with both ends marked; for :func:`lossatlas.draw`.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        one = 1.0 / (self.subject.size * self.width * math.sqrt(2 * math.pi))
        seen = self.density > 0.1 * one  # anything lower is not a tenth of an eigenvalue
        band = [np.where(seen, np.maximum(self.density + s * self.standard_error, 0.1 * one), np.nan) for s in (-1, 1)]
        low, high = band if self.probes > 1 else (None, None)
        line = Series(x=self.eigenvalues, y=np.where(seen, self.density, np.nan), low=low, high=high)
        ends = float(self.nodes.min()), float(self.nodes.max())
        words = f"λmin {number(ends[0])} and λmax {number(ends[1])}"
        marked = Series(x=np.array(ends), y=np.full(2, 0.1 * one), style="points", label=words)
        if self.single:
            words = f"all eigenvalues that were seen are {number(float(np.mean(self.nodes)))}"
            marked = Series(x=np.array([np.mean(self.nodes)]), y=np.array([0.1 * one]), style="points", label=words)
        reach = self.eigenvalues[[0, -1]]
        single = Series(x=reach, y=np.full(2, one), label="height of one eigenvalue", color=-1, dashed=True)
        panel = Panel(
            series=[single, line, marked],
            x_label="eigenvalue (loss per squared parameter norm)",
            y_label="density (share of all eigenvalues)",
            y_scale="log",
        )
        how = f"Each eigenvalue is smeared into a bell of standard deviation {number(self.width)}"
        how += f"; mean of {self.probes} random vectors" + ("; band: standard error." if self.probes > 1 else ".")
        unseen = "Eigenvalues that no random vector sees are missing, above all single ones far from the bulk."
        caption = [self.subject.words, how, unseen, *self.subject.caveats]
        return onto(ax, Plot(panels=[panel], title=self.subject.title(self.heading), caption=caption))

    @staticmethod
    def beside(found: Mapping[str, Density]) -> Beside:
        """The densities of some blocks in one panel, those that reach furthest, and what is to be said about them."""
        widest = sorted(found, key=lambda name: -float(np.abs(found[name].nodes).max()))[:SHOWN]
        series = []
        for name in (name for name in found if name in widest):
            one = found[name]
            floor = 0.1 / (one.subject.size * one.width * math.sqrt(2 * math.pi))
            series.append(Series(x=one.eigenvalues, y=np.where(one.density > floor, one.density, np.nan), label=name))
        panel = Panel(
            series=series,
            x_label="eigenvalue (loss per squared parameter norm)",
            y_label="density (share of all eigenvalues)",
            y_scale="log",
        )
        said = ["Each eigenvalue is smeared into a bell as wide as a hundredth of its block's spectrum."]
        if len(widest) < len(found):
            said.append(f"The {len(widest)} of {len(found)} blocks that reach furthest are shown.")
        return panel, said


@overload
def spectral_density(
    objective: Objective,
    params: Parameters | None = None,
    *,
    probes: int = 5,
    steps: int = STEPS,
    points: int = 400,
    kind: Kind = "hessian",
    tensors: Which = "all",
    by: None = None,
    how: How = "derivatives",
    rows: int | None = None,
    memory: int = 2 * GIB,
    seed: int = 0,
) -> Density: ...


@overload
def spectral_density(
    objective: Objective,
    params: Parameters | None = None,
    *,
    probes: int = 5,
    steps: int = STEPS,
    points: int = 400,
    kind: Kind = "hessian",
    tensors: Which = "all",
    by: str,
    how: How = "derivatives",
    rows: int | None = None,
    memory: int = 2 * GIB,
    seed: int = 0,
) -> Blocks[Density]: ...


@torch.inference_mode(False)
def spectral_density(
    objective: Objective,
    params: Parameters | None = None,
    *,
    probes: int = 5,
    steps: int = STEPS,
    points: int = 400,
    kind: Kind = "hessian",
    tensors: Which = "all",
    by: str | None = None,
    how: How = "derivatives",
    rows: int | None = None,
    memory: int = 2 * GIB,
    seed: int = 0,
) -> Density | Blocks[Density]:
    """The density of the eigenvalues, by stochastic Lanczos quadrature (Ghorbani, Krishnan, Xiao 2019).

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        probes: number of random vectors.
        steps: Lanczos steps for each of them, a matrix-vector product each.
        points: where the density is given.
        kind: ``"hessian"`` or ``"ggn"``.
        tensors: ``"all"`` or ``"weights"``.
        by: for each diagonal block instead: ``"layer"``, ``"block"``, or a pattern, see
            :func:`lossatlas.curvature.blocks.blocks_of`. All blocks go through the data together.
        how: ``"derivatives"``, or ``"differences"`` of gradients, see :class:`lossatlas.curvature.products.Matrix`.
        rows: samples that are differentiated at once; by default a batch.
        memory: bytes that may hold vectors of the iteration, and as many that may hold first derivatives. If there is
            no room for ``steps`` vectors, three are kept, and converged eigenvalues appear as several nodes that share
            their weight.
        seed: of the random vectors.

    Returns:
        The density, smeared by a hundredth of the spectrum's width; a spectrum of one value is a peak of its own. With
        ``by``, one for each block.

    Raises:
        SpecError: an option is unknown, or there are too few probes, steps or points.
    """
    matrix = Matrix(objective, params, kind=kind, tensors=tensors, how=how, rows=rows, memory=memory)
    options = {"probes": probes, "steps": steps, "points": points, "seed": seed}
    return density_of(matrix, **options) if by is None else densities_of(matrix, by=by, **options)


def density_of(matrix: Matrix, *, probes: int = 5, steps: int = STEPS, points: int = 400, seed: int = 0) -> Density:
    """The density of the eigenvalues of a matrix at its point, see :func:`spectral_density`."""
    _check(probes=probes, steps=steps, points=points, seed=seed)
    found = answered(matrix, _asking(matrix, probes, steps, seed, room=room_for(matrix)))
    return _density(matrix, found, points)


def densities_of(
    matrix: Matrix, *, by: str, probes: int = 5, steps: int = STEPS, points: int = 400, seed: int = 0
) -> Blocks[Density]:
    """The densities of the diagonal blocks of a matrix at its point, see :func:`spectral_density`."""
    _check(probes=probes, steps=steps, points=points)
    blocks = blocks_of(matrix, by)
    asking = partial(_asking, probes=probes, steps=steps, seed=seed, room=room_for(matrix))
    found = together(blocks, asking)
    each = {block.name: _density(block, found[block.name], points) for block in blocks}
    return Blocks(by=by, found=each, subject=matrix.subject)


def _check(**counts: int) -> None:
    least = {"probes": 1, "steps": 2, "points": 2}
    for name, count in counts.items():
        check_whole(name, count, least.get(name))


Rule = list[tuple[np.ndarray, np.ndarray]]
"""Nodes and weights that sum to one, for each random vector."""


def _asking(matrix: Matrix | DiagonalBlock, probes: int, steps: int, seed: int, room: int) -> Asking[Rule]:
    """The Gauss quadratures of the spectrum that some random vectors give."""
    random, found = np.random.default_rng(seed), []
    for _ in range(probes):
        start = torch.empty(matrix.size, dtype=matrix.dtype, device=matrix.device)
        for piece in torch.split(start, 1 << 22):
            piece.copy_(torch.from_numpy(random.normal(size=len(piece))))
        diagonal, beside = yield from recurrence(start, min(steps, matrix.size), room=room)
        values, vectors = scipy.linalg.eigh_tridiagonal(diagonal, beside[:-1])
        found.append((values, vectors[0] ** 2))
    return found


def _density(matrix: Matrix | DiagonalBlock, found: Rule, points: int) -> Density:
    probes = len(found)
    nodes = np.concatenate([node for node, _ in found])
    width = _width(nodes)
    grid = np.linspace(nodes.min() - 4 * width, nodes.max() + 4 * width, points)
    each = np.array([_smeared(grid, node, weight, width) for node, weight in found])
    error = each.std(axis=0, ddof=1) / math.sqrt(probes) if probes > 1 else np.full(points, np.nan)
    return Density(
        eigenvalues=grid,
        density=each.mean(axis=0),
        standard_error=error,
        width=width,
        nodes=nodes,
        weights=np.concatenate([weight for _, weight in found]) / probes,
        probes=probes,
        subject=matrix.subject,
    )


def _is_single(nodes: np.ndarray) -> bool:
    return float(np.ptp(nodes)) <= _ROUNDING * (float(np.abs(nodes).max()) or 1.0)


def _width(nodes: np.ndarray) -> float:
    """A hundredth of the spectrum's width; of its value, or of 1 for zero, if all are equal up to rounding."""
    size = float(np.abs(nodes).max()) or 1.0
    return size / 100 if _is_single(nodes) else max(float(np.ptp(nodes)) / 100, _ROUNDING * size)


def _smeared(grid: np.ndarray, nodes: np.ndarray, weights: np.ndarray, width: float) -> np.ndarray:
    bells = np.exp(-(((grid[:, None] - nodes) / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi))
    return np.asarray(bells @ weights)
