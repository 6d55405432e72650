"""Does an estimate depend on the choices behind it: step size, temperature, and the pull towards the point?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from lossatlas.errors import SpecError, unknown
from lossatlas.figure.plot import Panel, Plot, Series, onto
from lossatlas.figure.words import capital, number
from lossatlas.flatness.degeneracy.estimate import PATIENCE_SECONDS, llc
from lossatlas.flatness.degeneracy.result import SURE, LearningCoefficient
from lossatlas.objective import Objective
from lossatlas.oneline import one_line
from lossatlas.space.parameters import Parameters

__all__ = ["FACTORS", "VARIED", "Scan", "scan"]

VARIED = {"step": "step size ε", "nbeta": "inverse temperature nβ", "gamma": "pull γ"}
"""What can be varied, and its words."""

FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Multiples of what is varied, where no others are asked for."""

STEADY = 0.1
"""Share by which an estimate may change and still be called steady."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Estimates at several settings, one of which varies at a time.

    Attributes:
        found: by what varies, the values and their estimates.
        centre: the estimate around which the settings vary.
    """

    found: dict[str, tuple[tuple[float, LearningCoefficient], ...]]
    centre: LearningCoefficient

    __repr__ = one_line

    def trusted(self, varied: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values, estimates and errors of those that are not refused, each float64 [n]."""
        rows = [(value, one.raw, one.error) for value, one in self.found[varied] if one.trusted]
        table = np.array(rows, np.float64).reshape(-1, 3)
        return table[:, 0], table[:, 1], table[:, 2]

    def steady(self, varied: str) -> bool | None:
        """Whether the estimate stays the same: within its errors, or a tenth of itself.

        Args:
            varied: "step", "nbeta" or "gamma".

        Returns:
            Whether it does; ``None`` where fewer than two values are trusted.
        """
        _, values, errors = self.trusted(varied)
        if len(values) < 2:
            return None
        low, high = int(values.argmin()), int(values.argmax())
        apart = float(values[high] - values[low])
        return apart <= max(SURE * math.hypot(errors[low], errors[high]), STEADY * abs(float(values.mean())))

    @property
    def slope(self) -> float:
        """λ̂ from the temperatures alone, without the loss at the point: the slope of the mean rise over 1/nβ.

        To first order the mean loss is :math:`L^* + λ / nβ` (Watanabe 2013, corollary 3), so its slope is λ even if the
        point is not quite a minimum. NaN where fewer than two temperatures are trusted.
        """
        if "nbeta" not in self.found:
            return math.nan
        heat, values, _ = self.trusted("nbeta")
        if len(heat) < 2:
            return math.nan
        return float(np.polyfit(1 / heat, values / heat, 1)[0])

    @property
    def words(self) -> tuple[str, ...]:
        """What may be said, in sentences."""
        said = []
        for varied, rows in self.found.items():
            values, estimates, _ = self.trusted(varied)
            lost = len(rows) - len(values)
            refused = f" {lost} of {len(rows)} refused." if lost else ""
            if self.steady(varied) is None:
                said.append(f"{capital(VARIED[varied])}: fewer than two estimates can be used.{refused}")
                continue
            over = f"from {number(estimates.min())} to {number(estimates.max())}"
            how = "steady" if self.steady(varied) else "not steady"
            between = f"{number(values.min())} to {number(values.max())}"
            said.append(f"{capital(VARIED[varied])} {between}: λ̂ is {how}, {over}.{refused}")
        if math.isfinite(self.slope):
            said.append(f"λ̂ from the temperatures alone: {number(self.slope)}.")
        return tuple(said)

    def plot(self, ax: Any = None) -> Plot:
        """The estimate by each choice, with errors; refused ones apart.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        panels = []
        for varied, rows in self.found.items():
            series = []
            for trusted, label, color in ((True, "λ̂", 0), (False, "refused", -1)):
                some = [(value, one) for value, one in rows if one.trusted == trusted and math.isfinite(one.raw)]
                if some:
                    x, y = np.array([v for v, _ in some]), np.array([one.raw for _, one in some])
                    error = np.nan_to_num(np.array([one.error for _, one in some]))
                    series.append(
                        Series(x=x, y=y, low=y - error, high=y + error, style="points", color=color, label=label)
                    )
            if not series:
                series = [Series(x=np.array([v for v, _ in rows]), y=np.full(len(rows), np.nan), label="refused")]
            panels.append(Panel(series=series, x_label=VARIED[varied], y_label="λ̂", x_scale="log"))
        return onto(ax, Plot(title="What the estimate depends on", panels=panels, caption=self.words))


def scan(
    objective: Objective,
    params: Parameters | None = None,
    *,
    vary: str | Iterable[str] = ("step", "nbeta", "gamma"),
    factors: Sequence[float] = FACTORS,
    progress: bool | None = None,
    **options: Any,
) -> Scan:
    """The local learning coefficient at several step sizes, temperatures and pulls, one of them varied at a time.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        vary: which of "step", "nbeta" and "gamma".
        factors: multiples of each value, with those of the other two held.
        progress: show a progress bar; by default where it takes more than two seconds.
        **options: of :func:`lossatlas.llc`.

    Returns:
        The estimates.

    Raises:
        SpecError: an unknown word, factors that are not positive, or what :func:`lossatlas.llc` refuses.
    """
    names = (vary,) if isinstance(vary, str) else tuple(vary)
    for name in names:
        if name not in VARIED:
            raise SpecError(unknown("vary", name, tuple(VARIED)))
    if not names or not len(factors) or not all(math.isfinite(f) and f > 0 for f in factors):
        raise SpecError(f"vary={names}, factors={tuple(factors)}; expected at least one word and positive numbers")
    centre = llc(objective, params, progress=progress, **options)
    base = {name: centre.settings[name] for name in VARIED}
    work = [(name, factor) for name in names for factor in sorted(set(factors))]
    found: dict[str, list[tuple[float, LearningCoefficient]]] = {name: [] for name in names}
    bar = tqdm(
        work, unit="estimate", disable=progress is False, delay=PATIENCE_SECONDS, dynamic_ncols=True, leave=False
    )
    for name, factor in bar:
        value = base[name] * factor
        same = factor == 1.0
        one = centre if same else llc(objective, params, progress=False, **{**options, **base, name: value})
        found[name].append((value, one))
    return Scan(found={name: tuple(rows) for name, rows in found.items()}, centre=centre)
