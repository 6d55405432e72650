r"""How does the volume of low loss around a minimum shrink with the height? λ by its definition.

.. math:: V(ε) = \mathrm{vol} \{w : ‖w - w^*‖ < R,\; L(w) - L(w^*) < ε\} \propto ε^λ (-\log ε)^{m - 1}

for small ε (Watanabe 2009; Lau et al. 2023, arXiv 2308.12108, section 3). In polar coordinates the part visible from
the point along straight lines is a mean over directions, :math:`V(ε) = v_d E_u[r_ε(u)^d]`, with :math:`r_ε` the
distance at which the loss first has risen by ε. With directions scaled by the Hessian's power :math:`-1/2` every
direction of an ellipsoid has the same distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.special
import torch
from tqdm import tqdm

from lossatlas.curvature.products import Matrix
from lossatlas.errors import SpecError, unknown
from lossatlas.figure.plot import Panel, Plot, Series, onto
from lossatlas.figure.words import capital, number
from lossatlas.flatness.degeneracy.walk import Posterior
from lossatlas.objective import Objective
from lossatlas.objective.alone import one_at_a_time
from lossatlas.oneline import one_line
from lossatlas.space.parameters import Parameters

__all__ = ["FEWEST_DIRECTIONS", "MOST_DENSE", "Scaled", "Volume", "local_volume"]

Scaled = Literal["none", "hessian"]

FEWEST_DIRECTIONS = 20.0
"""Effective directions below which a few of them carry the volume, so that no estimate is given."""

MOST_DENSE = 300
"""Parameters up to which the Hessian is formed."""

_GROWTH, _STEPS, _HALVINGS, _BOOTSTRAP, _PATIENCE = 1.5, 24, 12, 200, 2.0


@dataclass(frozen=True, kw_only=True)
class Volume:
    """How the volume around a point grows with the height.

    Attributes:
        heights: float64 [k], ε, increasing, in the unit of the loss.
        distances: float64 [directions, k], in multiples of each direction, logarithms.
        caps: float64 [directions], the logarithm of the distance at which the ball ends.
        log_unit: logarithm of the volume of the unit ball, times the determinant of the scale.
        parameters: d.
        ceiling: the median rise at the end of the ball: the height that is no longer small.
        lower: the lowest rise that was met; negative where the point is not the minimum.
        evaluations: of all data.
        name: of the model.
    """

    heights: np.ndarray
    distances: np.ndarray
    caps: np.ndarray
    log_unit: float
    parameters: int
    ceiling: float
    lower: float
    evaluations: int
    name: str = ""

    __repr__ = one_line

    @property
    def log_volumes(self) -> np.ndarray:
        """Logarithm of the volume below each height, float64 [k]."""
        return self._log_volumes(self.distances) + self.log_unit

    @property
    def effective(self) -> np.ndarray:
        """How many directions carry the volume at each height, float64 [k]."""
        weights = self.parameters * self.distances
        return np.asarray(np.exp(2 * _log_mean(weights) - _log_mean(2 * weights)) * len(weights))

    @property
    def coefficient(self) -> float:
        """λ̂: the slope of log V over log ε; NaN where it is refused."""
        return self._fit(self.distances)[0] if not self.problem else math.nan

    @property
    def multiplicity(self) -> float:
        """m̂ of a fit with both: 1 at a regular minimum, more where λ is reached by several crossing sheets."""
        return self._joint(self.distances)[1] if not self.problem else math.nan

    @property
    def joint(self) -> float:
        """λ̂ of the fit with both."""
        return self._joint(self.distances)[0] if not self.problem else math.nan

    @property
    def problem(self) -> str:
        """Why it is refused, and what to change; empty where it is not."""
        return ": ".join(filter(None, self._refusal))

    @property
    def _refusal(self) -> tuple[str, str]:
        """What is wrong, and what to change; each fits a line below the picture."""
        if self.lower < 0:
            seen = f"not a minimum: the loss falls by {number(-self.lower)} nearby"
            return seen, "train further on this data, or take a smaller radius"
        least = float(self.effective.min())
        if least < min(FEWEST_DIRECTIONS, len(self.distances) / 2):
            seen = f"{least:.1f} of {len(self.distances)} directions carry the volume of {self.parameters} parameters"
            return seen, "take more directions, only=, scaled='hessian', or walk: llc()"
        if bool((self.distances >= self.caps[:, None] - 1e-9).all()):
            return "the loss does not rise that high within the radius", "take a larger radius, or lower heights"
        return "", ""

    def intervals(self, seed: int = 0) -> dict[str, tuple[float, float]]:
        """95 % bootstrap intervals over the directions, of ``coefficient``, ``joint`` and ``multiplicity``.

        Args:
            seed: of the bootstrap.

        Returns:
            Both ends, by name.
        """
        rng, count = np.random.default_rng(seed), len(self.distances)
        rows = []
        for _ in range(_BOOTSTRAP):
            some = self.distances[rng.integers(count, size=count)]
            rows.append((self._fit(some)[0], *self._joint(some)))
        low, high = np.quantile(np.array(rows), [0.025, 0.975], axis=0)
        return {n: (float(low[i]), float(high[i])) for i, n in enumerate(("coefficient", "joint", "multiplicity"))}

    @property
    def words(self) -> tuple[str, ...]:
        """What may be said, in sentences."""
        if self.problem:
            return (f"Refused: {self.problem}.",)
        low, high = self.intervals()["coefficient"]
        m_low, m_high = self.intervals()["multiplicity"]
        return (
            f"λ̂ = {number(self.coefficient)} ({number(low)} to {number(high)}), of at most "
            f"d/2 = {self.parameters / 2:g}.",
            f"With a multiplicity: λ̂ = {number(self.joint)}, m = {number(self.multiplicity)} ({number(m_low)} to "
            f"{number(m_high)}).",
            "Only what is visible from the point along straight lines counts.",
        )

    def plot(self, ax: Any = None) -> Plot:
        """The volume against the height, both as logarithms, with its slope.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        x, y = self.heights, self.log_volumes / math.log(10)
        series = [Series(x=x, y=y, style="points", color=0, label="measured")]
        if not self.problem:
            slope, level = self._fit(self.distances)
            line = (slope * np.log(x) + level + self.log_unit) / math.log(10)
            series.append(Series(x=x, y=line, color=1, label=f"slope {number(slope)}", dashed=True))
        panel = Panel(series=series, x_label="height ε above the point", y_label="log10 of the volume", x_scale="log")
        seen, remedy = self._refusal
        caption = (f"Refused: {seen}.", f"{capital(remedy)}.") if seen else self.words
        heading = f"Local volume{f' of {self.name}' if self.name else ''}"
        return onto(ax, Plot(title=heading, panels=[panel], caption=caption))

    def _log_volumes(self, distances: np.ndarray) -> np.ndarray:
        return np.asarray(_log_mean(self.parameters * distances))

    def _fit(self, distances: np.ndarray) -> tuple[float, float]:
        slope, level = np.polyfit(np.log(self.heights), self._log_volumes(distances), 1)
        return float(slope), float(level)

    def _joint(self, distances: np.ndarray) -> tuple[float, float]:
        """λ and m of log V = c + λ log ε + (m − 1) log log(e ε_ceiling / ε)."""
        logs = np.log(self.heights)
        bend = np.log(1 + np.log(max(self.ceiling, float(self.heights.max()))) - logs)
        design = np.stack([np.ones_like(logs), logs, bend], axis=1)
        found = np.linalg.lstsq(design, self._log_volumes(distances), rcond=None)[0]
        return float(found[1]), float(found[2]) + 1


@one_at_a_time
def local_volume(
    objective: Objective,
    params: Parameters | None = None,
    *,
    only: str | Iterable[str] = (),
    heights: tuple[float, float] = (1e-6, 1e-2),
    levels: int = 9,
    radius: float = 1.0,
    directions: int = 200,
    scaled: Scaled = "none",
    seed: int = 0,
    progress: bool | None = None,
) -> Volume:
    """The volume of low loss around a point, at several heights.

    It costs about 40 evaluations of all data per direction. With many parameters, a few directions carry the volume and
    the estimate is refused: use :func:`lossatlas.llc` instead.

    Args:
        objective: whose loss; in float64 if heights are below a millionth of the loss.
        params: the point, a minimum; by default the origin.
        only: patterns of names of the tensors that move; all others are fixed.
        heights: lowest and highest ε, in the unit of the loss.
        levels: number of heights between, evenly by their logarithm, at least 3.
        radius: R, in parameter norm.
        directions: number of random directions.
        scaled: "none": evenly on the sphere; "hessian": scaled by its power -1/2, for up to 300 parameters, which turns
            an ellipsoid into a ball.
        seed: of the directions.
        progress: show a progress bar; by default where it takes more than two seconds.

    Returns:
        The volume at each height, and λ̂ with its multiplicity.

    Raises:
        SpecError: an option that makes no sense, or too many parameters for the Hessian.

    Example:
        >>> layer = torch.nn.Linear(3, 1, bias=False).double()
        >>> _ = torch.nn.init.zeros_(layer.weight)
        >>> data = torch.eye(3).double(), torch.zeros(3, 1).double()
        >>> found = local_volume(Objective(layer, data, torch.nn.functional.mse_loss), directions=20)
        >>> round(found.coefficient, 2), round(found.multiplicity, 2)  # a ball in three dimensions
        (1.5, 1.0)
    """
    _check(heights, levels, radius, directions, scaled)
    posterior = Posterior(objective, params, only=only)
    scale, log_det = _scale(posterior, scaled)
    rises = _Rises(posterior)
    eps = np.geomspace(*heights, levels)
    rng, rows = np.random.default_rng(seed), []
    bar = tqdm(range(directions), unit="direction", disable=progress is False, delay=_PATIENCE, leave=False)
    for _ in bar:
        raw = rng.normal(size=posterior.size)
        way = scale(raw / np.linalg.norm(raw))
        far = radius / float(np.linalg.norm(way))
        rows.append((_crossings(rises.along(way), eps, far), math.log(far), rises.along(way)(far)))
    d, tolerated = posterior.size, 1e-9 * max(1.0, abs(rises.floor))
    return Volume(
        heights=eps,
        distances=np.array([row[0] for row in rows]),
        caps=np.array([row[1] for row in rows]),
        log_unit=d / 2 * math.log(math.pi) - float(scipy.special.gammaln(d / 2 + 1)) + log_det,
        parameters=d,
        ceiling=float(np.nanmedian([row[2] for row in rows])),
        lower=rises.least if rises.least < -tolerated else 0.0,
        evaluations=rises.count,
        name=objective.name,
    )


class _Rises:
    """How much the loss rises along rays from a point, how often it was evaluated, and the lowest rise that was met."""

    def __init__(self, posterior: Posterior) -> None:
        self._posterior = posterior
        self.floor = posterior.objective(posterior.base)["loss"]
        self.count, self.least = 0, 0.0

    def along(self, way: np.ndarray) -> Callable[[float], float]:
        return lambda t: self._at(t * way)

    def _at(self, step: np.ndarray) -> float:
        self.count += 1
        home = self._posterior.home
        moved = home + torch.from_numpy(step).to(home)
        found = self._posterior.objective(self._posterior.point(moved))["loss"] - self.floor
        self.least = min(self.least, found)
        return found


def _crossings(rise: Callable[[float], float], heights: np.ndarray, far: float) -> list[float]:
    """Log-distances at which the loss along a ray has first risen by each height; ``far`` where it has not."""
    grid = far * _GROWTH ** np.arange(-_STEPS, 1.0)
    known: list[float] = []
    found: list[float] = []
    for height in heights:
        first = next((place for place, value in enumerate(known) if value >= height), None)
        while first is None and len(known) < len(grid):
            value = rise(float(grid[len(known)]))
            known.append(value if math.isfinite(value) else math.inf)
            first = len(known) - 1 if known[-1] >= height else None
        if first is None:
            found.append(math.log(far))
            continue
        high = math.log(grid[first])
        low = math.log(grid[first - 1]) if first else high - 14.0
        for _ in range(_HALVINGS if first else 2 * _HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if rise(math.exp(middle)) < height else (low, middle)
        found.append((low + high) / 2)
    return found


def _scale(posterior: Posterior, scaled: Scaled) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """What directions are multiplied by, and the logarithm of its determinant."""
    if scaled == "none":
        return (lambda way: way), 0.0
    if posterior.size > MOST_DENSE:
        raise SpecError(
            f"scaled='hessian' forms a matrix of {posterior.size} parameters; up to {MOST_DENSE}: name fewer with only="
        )
    matrix = Matrix(posterior.objective, posterior.base)
    rows = []
    for unit in torch.eye(posterior.size, dtype=torch.float64):
        zero = {name: tensor * 0 for name, tensor in posterior.base.items()}
        product = matrix.named(matrix @ matrix.joined({**zero, **posterior.parts(unit)}))
        rows.append(torch.cat([product[name].reshape(-1).double() for name in posterior.names]).numpy())
    full = np.array(rows)
    values, vectors = np.linalg.eigh((full + full.T) / 2)
    if not values[-1] > 0:
        raise SpecError("scaled='hessian': no eigenvalue is positive; use scaled='none'")
    sizes = 1 / np.sqrt(np.maximum(values, 1e-6 * values[-1]))
    sizes /= sizes.max()
    return (lambda way: np.asarray(vectors @ (sizes * (vectors.T @ way)))), float(np.log(sizes).sum())


def _log_mean(table: np.ndarray) -> np.ndarray:
    return np.asarray(scipy.special.logsumexp(table, axis=0) - math.log(len(table)))


def _check(heights: tuple[float, float], levels: int, radius: float, directions: int, scaled: str) -> None:
    low, high = heights
    if not 0 < low < high < math.inf:
        raise SpecError(f"heights={heights}; expected two positive numbers, the lower one first")
    if levels < 3 or directions < 2:
        raise SpecError(f"levels={levels}, directions={directions}; expected at least 3 heights and 2 directions")
    if not 0 < radius < math.inf:
        raise SpecError(f"radius={radius}; expected a positive number")
    if scaled not in ("none", "hessian"):
        raise SpecError(unknown("scaled", scaled, ("none", "hessian")))
