r"""What is a local learning coefficient worth? The number, its chains, and why it is refused if it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.figure.plot import Mark, Panel, Plot, Series, onto
from lossatlas.figure.words import capital, number, percent
from lossatlas.flatness.degeneracy.chains import effective, mean_error, r_hat
from lossatlas.oneline import one_line

__all__ = ["COARSE", "DRIFT", "FEWEST_EFFECTIVE", "MOST_R_HAT", "SURE", "LearningCoefficient", "Problem", "problems"]

MOST_R_HAT = 1.05
"""R-hat above which chains disagree; Vehtari et al. 2021 ask for 1.01 where chains are cheap."""

FEWEST_EFFECTIVE = 100.0
"""Effective draws, of all chains, below which not even the error is known (Vehtari et al. 2021)."""

COARSE = 2.0
"""Step times curvature above which a step overshoots the point it aims at."""

DRIFT = 0.2
"""Share by which the squared distance may grow while the draws count."""

SURE = 3.0
"""Standard errors by which a bound has to be broken."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why an estimate must not be used.

    Attributes:
        kind: "diverged", "negative", "above d/2", "coarse", "R-hat", "still moving" or
            "effective size".
        words: what was seen.
        remedy: what to change.
    """

    kind: str
    words: str
    remedy: str

    __repr__ = one_line

    @property
    def sentence(self) -> str:
        """Both in one."""
        return f"{capital(self.words)}: {self.remedy}."


@dataclass(frozen=True, kw_only=True)
class LearningCoefficient:
    r"""An estimate of the local learning coefficient at a point.

    Attributes:
        trace: float64 [chains, draws], :math:`nβ (L_b(w_t) - L_b(w^*))` after the burn-in.
        burnt: float64 [chains, burn], the same before.
        held: :math:`\tfrac{γ}{2} E ‖w - w^*‖^2`: degrees of freedom, halved, that the pull holds rather than the loss.
        parameters: number d of parameters that move.
        samples: n.
        settings: everything else that the value depends on.
        problems: why it is refused; empty where it is not.
        stiffness: the largest curvature of the posterior where the chains were farthest out; NaN where it is not known.
        gradients: of one batch, or of all data, that it took.
        name: of the model.
    """

    trace: np.ndarray
    burnt: np.ndarray
    held: float
    parameters: int
    samples: int
    settings: Mapping[str, Any]
    problems: tuple[Problem, ...]
    stiffness: float
    gradients: int
    name: str = ""

    __repr__ = one_line

    @property
    def trusted(self) -> bool:
        """Whether there is no reason to refuse the estimate."""
        return not self.problems

    @property
    def value(self) -> float:
        """The estimate λ̂; NaN where it is refused, see ``problems``."""
        return self.raw if self.trusted else math.nan

    @property
    def raw(self) -> float:
        """The mean of all draws, refused or not."""
        return float(self.trace.mean())

    @property
    def error(self) -> float:
        """Its Monte Carlo standard error: of the chains, not of the data."""
        return mean_error(self.trace)

    @property
    def r_hat(self) -> float:
        """How much the chains disagree; 1 where they do not."""
        return r_hat(self.trace)

    @property
    def effective(self) -> float:
        """How many independent draws they are worth."""
        return effective(self.trace)

    def checked(self) -> LearningCoefficient:
        """Itself, if it can be used.

        Returns:
            Itself.

        Raises:
            SpecError: it is refused; the message has the reasons, and what to change.
        """
        if self.problems:
            raise SpecError(
                f"the estimate {number(self.raw)} is refused. {' '.join(p.sentence for p in self.problems)}"
            )
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """What may be said, in sentences."""
        d, s = self.parameters, self.settings
        if not self.trusted:
            return ("Refused.", *(problem.sentence for problem in self.problems))
        rest = d / 2 - self.raw
        share = (
            f"the pull γ = {number(s['gamma'])} holds {number(self.held)} of the other {number(rest)}"
            if rest > 0
            else ""
        )
        return (
            f"λ̂ = {number(self.raw)} ± {number(self.error, 2)} at nβ = {number(s['nbeta'])}, of at most "
            f"d/2 = {number(d / 2)}" + (f"; {share}." if share else "."),
            f"R-hat {self.r_hat:.3f}, {self.effective:.0f} effective draws of {self.trace.size}.",
            "A direction that curves by less than γ/nβ counts as flat; ± covers the chains only, not the data.",
        )

    def plot(self, ax: Any = None) -> Plot:
        """The chains, and their running means.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        burn = self.burnt.shape[1]
        whole = np.concatenate([self.burnt, self.trace], axis=1)
        steps = np.arange(whole.shape[1])
        traces = [Series(x=steps, y=row, color=i, label=f"chain {i + 1}") for i, row in enumerate(whole)]
        count = np.arange(1, self.trace.shape[1] + 1)
        means = [Series(x=burn + count, y=np.cumsum(row) / count, color=i) for i, row in enumerate(self.trace)]
        marks = [Mark(x=burn, label="burn-in ends")] if burn else []
        level = [Mark(y=self.raw, label=f"{'λ̂' if self.trusted else 'refused:'} {number(self.raw)}")]
        panels = [
            Panel(title="Chains", series=traces, x_label="step", y_label="nβ (L − L*)", marks=marks),
            Panel(title="Running means", series=means, x_label="step", y_label="λ̂", marks=level),
        ]
        seen = [panel for panel in panels if any(np.isfinite(one.y).any() for one in panel.series)]
        heading = f"Local learning coefficient{f' of {self.name}' if self.name else ''}"
        return onto(ax, Plot(title=heading, panels=seen or panels, caption=self._caption()))

    def _caption(self) -> tuple[str, ...]:
        """The words; a refusal begins with its first reason and ends with what to change: any picture shows both."""
        if self.trusted:
            return self.words
        first, *others = self.problems
        many = f" ({len(self.problems)} reasons)" if others else ""
        return f"Refused{many}: {first.words}.", *(one.sentence for one in others), f"{capital(first.remedy)}."


def problems(
    trace: np.ndarray,
    *,
    parameters: int,
    settings: Mapping[str, Any],
    lost: list[int],
    stiffness: float = math.nan,
    distances: np.ndarray | None = None,
) -> tuple[Problem, ...]:
    """Why the chains of an estimate cannot be trusted.

    Args:
        trace: float64 [chains, draws].
        parameters: number d of parameters that move.
        settings: with ``step``, ``gamma``, ``draws`` and ``burn``.
        lost: steps at which chains were lost.
        stiffness: the largest curvature of the posterior that the chains met; NaN where it is not known.
        distances: float64 [chains, draws], squared distances from the point; by default they are not checked.

    Returns:
        The problems; empty where there are none.
    """
    step, gamma = settings["step"], settings["gamma"]
    if lost or not np.isfinite(trace).all():
        at = f" from step {min(lost)} on" if lost else ""
        seen = f"{max(len(lost), 1)} of {len(trace)} chains left every neighbourhood{at}"
        return (Problem(kind="diverged", words=seen, remedy=_smaller(step, gamma)),)
    found, mean, error = [], float(trace.mean()), mean_error(trace)
    error = error if math.isfinite(error) else 0.0
    below = int((trace.mean(axis=1) < 0).sum())
    if below:
        found.append(
            Problem(
                kind="negative",
                words=f"{below} of {len(trace)} chains found a lower loss on average (λ̂ = {number(mean)}), so this is "
                "not a minimum of what is measured",
                remedy=f"train the network further on these data and this loss, or raise gamma above {number(gamma)} "
                "to stay nearer",
            )
        )
    if mean - SURE * error > parameters / 2:
        found.append(
            Problem(
                kind="above d/2",
                words=f"λ̂ = {number(mean)} is above d/2 = {number(parameters / 2)}, the value of a regular minimum: "
                "steps that are too coarse, batches that are too noisy, or a chain that climbs a wall",
                remedy=_smaller(step, gamma) + ", or gradient='full'",
            )
        )
    if step * stiffness > COARSE:
        found.append(
            Problem(
                kind="coarse",
                words=f"where the chains were farthest out the posterior curves by {number(stiffness)}, "
                f"{step * stiffness:.1f} times 1/step: they overshoot there",
                remedy=f"take step={1 / stiffness:.2g} or a stronger pull, such as gamma={max(4 * gamma, 1):.3g}",
            )
        )
    disagree = r_hat(trace)
    if not disagree <= MOST_R_HAT:
        words = f"R-hat is {disagree:.2f}, above {MOST_R_HAT}: the chains have not found the same distribution"
        found.append(Problem(kind="R-hat", words=words, remedy=_longer(settings)))
    if distances is not None and (drift := _drift(distances)) > DRIFT:
        words = f"the chains are still walking away: the squared distance grew by {percent(drift)} while they counted"
        found.append(Problem(kind="still moving", words=words, remedy=_longer(settings)))
    worth = effective(trace)
    if not worth >= FEWEST_EFFECTIVE:
        words = (
            f"{worth:.0f} effective draws of {trace.size} ({percent(worth / trace.size)}), below {FEWEST_EFFECTIVE:.0f}"
        )
        found.append(Problem(kind="effective size", words=words, remedy=_longer(settings)))
    return tuple(found)


def _drift(distances: np.ndarray) -> float:
    """By what share the squared distance grows from the first third of the draws to the last; 0 within its errors."""
    third = max(1, distances.shape[1] // 3)
    first, last = float(distances[:, :third].mean()), float(distances[:, -third:].mean())
    sure = SURE * math.hypot(mean_error(distances[:, :third]), mean_error(distances[:, -third:]))
    return (last - first) / last if last - first > sure else 0.0


def _smaller(step: float, gamma: float) -> str:
    return f"take a smaller step (step={step / 4:.2g}) or a stronger pull (gamma={max(4 * gamma, 1):.3g})"


def _longer(settings: Mapping[str, Any]) -> str:
    draws, burn = settings["draws"], settings["burn"]
    return (
        f"walk longer (draws={4 * draws}, burn={max(4 * burn, draws)}), or raise gamma: directions that the loss "
        "does not constrain are explored in about 2/(step·gamma) steps"
    )
