"""How many points do other ways of choosing and joining them need? Each is stopped by the truth, which favours it.

All work on the same heights: logarithms where the loss is positive, then the view. Reported is the first number of
points at which 99 % of the cells, and at which all cells, are truly within the tolerance.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
from scipy.interpolate import BarycentricInterpolator, RectBivariateSpline

import lossatlas as la
from lossatlas.results.spec import Block
from lossatlas.sampling import surrogate
from lossatlas.sampling.adaptive import coarse_cells

MOST = 1300
"""Points after which a rival is stopped; half as many for the Gaussian process, which takes minutes."""

Steps = Iterator[tuple[int, np.ndarray]]
"""Number of points, and the values of all cells by them."""


def ours(truth: np.ndarray, sampler: la.Adaptive) -> Steps:
    """The sampler of lossatlas; the only rival that takes or leaves the logarithm by itself."""
    flat, cells = truth.ravel(), surrogate.places(truth.shape)
    never = la.Adaptive(**dict(sampler.axes), tolerance=1e-9, scale=sampler.scale, clip=sampler.clip)
    queue, seen = never.start(Block.joined([], 1)), np.zeros(truth.size, bool)
    while seen.sum() < MOST and len(indices := queue.ask(500)):
        seen[indices] = True
        queue.tell(Block(indices=indices, values=flat[indices, None], status=np.ones(len(indices), np.int8)))
        known = np.flatnonzero(seen)
        yield len(known), surrogate.estimate(cells, known, flat[known], never.shown).values


def splines(work: np.ndarray, _: la.Adaptive) -> Steps:
    """Cubic splines on nested uniform grids."""
    last = len(work) - 1
    for stride in (10, 5, 2, 1):
        every = np.arange(0, last + 1, stride)
        spline = RectBivariateSpline(every, every, work[np.ix_(every, every)], s=0)
        yield len(every) ** 2, spline(np.arange(last + 1), np.arange(last + 1)).ravel()


def curtis(work: np.ndarray, _: la.Adaptive) -> Steps:
    """Clenshaw-Curtis: nested Chebyshev points, doubled in a patch and then the patch cut in four, where needed."""
    for accuracy in np.geomspace(0.3, 1e-3, 20):
        seen, joined = np.zeros(work.shape, bool), np.zeros(work.shape)
        _patch(work, (0, len(work) - 1), (0, len(work) - 1), accuracy * np.ptp(work), seen, joined)
        yield int(seen.sum()), joined.ravel()


def _nodes(bounds: tuple[int, int], count: int) -> np.ndarray:
    """Chebyshev points on the nearest cells."""
    low, high = bounds
    at = (1 - np.cos(np.pi * np.arange(count) / (count - 1))) / 2
    return np.unique(np.round(low + (high - low) * at)).astype(int)


def _patch(
    work: np.ndarray,
    rows: tuple[int, int],
    columns: tuple[int, int],
    accuracy: float,
    seen: np.ndarray,
    joined: np.ndarray,
) -> None:
    inside = np.ix_(np.arange(rows[0], rows[1] + 1), np.arange(columns[0], columns[1] + 1))
    before = None
    for count in (3, 5, 9):
        i, j = _nodes(rows, count), _nodes(columns, count)
        seen[np.ix_(i, j)] = True
        along = BarycentricInterpolator(i, work[np.ix_(i, j)], axis=0)(np.arange(rows[0], rows[1] + 1))
        joined[inside] = BarycentricInterpolator(j, along, axis=1)(np.arange(columns[0], columns[1] + 1))
        if before is not None and np.abs(before[np.ix_(i, j)] - work[np.ix_(i, j)]).max() <= accuracy:
            return
        before = np.full(work.shape, np.nan)
        before[inside] = joined[inside]
    if rows[1] - rows[0] < 8:
        seen[inside], joined[inside] = True, work[inside]
        return
    for half in _halves(rows):
        for other in _halves(columns):
            _patch(work, half, other, accuracy, seen, joined)


def _halves(bounds: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    middle = sum(bounds) // 2
    return (bounds[0], middle), (middle, bounds[1])


def learner(work: np.ndarray, _: la.Adaptive) -> Steps:
    """The Learner2D of the package `adaptive`: triangles, linear inside. Between cells it is given a spline."""
    import adaptive

    side = np.arange(len(work))
    spline = RectBivariateSpline(side, side, work, s=0)
    found = adaptive.Learner2D(lambda point: float(spline(*point)[0, 0]), bounds=((0, side[-1]), (0, side[-1])))
    cells = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    while found.npoints < MOST:
        points, _gains = found.ask(20)
        for point in points:
            found.tell(point, found.function(point))
        yield found.npoints, np.asarray(found.interpolator(scaled=False)(cells)).ravel()


def process(work: np.ndarray, sampler: la.Adaptive) -> Steps:
    """A Gaussian process (Matérn 5/2, scikit-learn); ten points at a time, where it is least sure."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    cells, flat = surrogate.places(work.shape), work.ravel()
    known, refit = coarse_cells(sampler.axes), 0
    kernel = ConstantKernel(1.0) * Matern(0.3, nu=2.5) + WhiteKernel(1e-6, (1e-10, 1.0))
    while len(known) < MOST // 2:
        learn = len(known) >= refit
        model = GaussianProcessRegressor(kernel, normalize_y=True, optimizer="fmin_l_bfgs_b" if learn else None)
        model.fit(cells[known], flat[known])
        if learn:
            kernel, refit = model.kernel_, 2 * len(known)
        mean, doubt = model.predict(cells, return_std=True)
        mean[known] = flat[known]
        yield len(known), mean
        for _ in range(10):
            best = int(doubt.argmax())
            known = np.append(known, best)
            doubt = doubt * (1 - np.exp(-((cells - cells[best]) ** 2).sum(axis=1) / 0.05**2))


RIVALS: dict[str, tuple[Callable[[np.ndarray, la.Adaptive], Steps], str]] = {
    "lossatlas": (ours, ""),
    "cubic splines, nested uniform grids": (splines, ""),
    "Clenshaw-Curtis, nested, locally refined": (curtis, ""),
    "`adaptive`, Learner2D": (learner, "adaptive"),
    "Gaussian process, active": (process, "sklearn"),
}


def needed(truth: np.ndarray, sampler: la.Adaptive, name: str) -> str:
    """Points for 99 % of the cells, and for all of them."""
    rival, package = RIVALS[name]
    if package and importlib.util.find_spec(package) is None:
        return "not installed"
    shown = sampler.shown(truth)
    heights, span = shown.heights(truth).ravel(), float(np.ptp(shown.limits))
    logarithmic = rival is not ours and truth.min() > 0
    first: dict[float, int] = {}
    for count, values in rival(np.log10(truth) if logarithmic else truth, sampler):
        valued = 10.0 ** np.clip(values, -300, 300) if logarithmic else values
        within = np.mean(np.abs(shown.heights(valued) - heights) <= sampler.tolerance * span)
        for share in (0.99, 1.0):
            if within >= share:
                first[share] = min(count, first.get(share, count))
        if len(first) == 2 and rival is not curtis:
            break
    return ", ".join(str(first.get(share, "more")) for share in (0.99, 1.0))
