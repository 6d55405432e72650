"""Is a claimed effect there? The three words of a verdict, and the verdicts about one share, mean or value.

A verdict says "seen" only where a test finds the effect in the claimed direction at the nominal rate *and* the interval
lies on that side. If even the most extreme outcome could not have reached that rate, the claim cannot be decided.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.stats

from lossatlas.figure.words import capital
from lossatlas_studies import resampling

Word = Literal["seen at this scale", "not seen at this scale", "cannot be told (n too small)"]
SEEN: Word = "seen at this scale"
NOT_SEEN: Word = "not seen at this scale"
CANNOT_TELL: Word = "cannot be told (n too small)"

LEVEL = 0.05
"""Rate at which a claim may be made although there is no effect, for each verdict."""

Groups = Mapping[Any, Sequence[float]] | Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the numbers say about a claim.

    Attributes:
        claim: the claim, as a sentence.
        word: one of three words.
        quantity: what was measured, so that the claim says it is above ``reference``; with its unit.
        estimate: its value.
        low: lower end of the 95 % interval.
        high: upper end.
        reference: the value that means "no effect".
        p: the probability that chance alone does as much, one-sided unless ``how`` says otherwise.
        n: how many of what were compared.
        how: the test and the interval.
        caveat: what the verdict does not say.
    """

    claim: str
    word: Word
    quantity: str
    estimate: float
    low: float
    high: float
    reference: float = 0.0
    p: float = math.nan
    n: str = ""
    how: str = ""
    caveat: str = ""

    @property
    def words(self) -> str:
        """The verdict as one sentence with its numbers.

        Example:
            >>> within("near one", [0.98, 1.01, 1.02, 0.99], 0.9, 1.1, quantity="mean").words
            'Seen at this scale: mean = 1 (95 % interval 0.971 to 1.03), p = 0.00081, n = 4 runs.'
        """
        start = f"{capital(self.word)}: {self.quantity}"
        if math.isnan(self.estimate):
            return f"{start} is not known, n = {self.n}."
        ends = "" if math.isnan(self.low) else f" (95 % interval {self.low:.3g} to {self.high:.3g})"
        p = "" if math.isnan(self.p) else f", p = {self.p:.2g}"
        other = ""
        if self.word == NOT_SEEN and self.high < self.reference:
            other = " The interval lies wholly on the other side."
        return f"{start} = {self.estimate:.3g}{ends}{p}, n = {self.n}.{other}"


def share(
    claim: str,
    hits: int,
    trials: int,
    *,
    above: float,
    quantity: str,
    caveat: str = "",
    unit: str = "trials",
    level: float = LEVEL,
) -> Verdict:
    """Is a share above a value? Exact binomial test, Clopper-Pearson interval; the trials must be independent.

    Args:
        claim: the claim.
        hits: how often.
        trials: of how many.
        above: the share that is claimed to be exceeded.
        quantity: what the share is.
        caveat: what the verdict does not say.
        unit: what the trials are.
        level: nominal rate.

    Example:
        >>> share("most", 19, 20, above=0.5, quantity="share").word
        'seen at this scale'
    """
    n, how = f"{trials} {unit}", "exact binomial test, Clopper-Pearson interval"
    if trials < 1:
        return verdict(claim, CANNOT_TELL, quantity, math.nan, (math.nan,) * 2, above, math.nan, n, how, caveat)
    found = scipy.stats.binomtest(hits, trials, above, alternative="greater")
    interval = scipy.stats.binomtest(hits, trials, above).proportion_ci(0.95)
    ends = (float(interval.low), float(interval.high))
    word = decide(float(found.pvalue), above**trials, ends, above, level, False)
    return verdict(claim, word, quantity, hits / trials, ends, above, float(found.pvalue), n, how, caveat)


def within(
    claim: str,
    values: Sequence[float],
    low: float,
    high: float,
    *,
    quantity: str,
    caveat: str = "",
    unit: str = "runs",
    level: float = LEVEL,
) -> Verdict:
    """Does a mean lie in a range? Two one-sided t tests (Schuirmann 1987), each at the nominal rate.

    Args:
        claim: the claim that it does.
        values: one for each run.
        low: lower end of the range.
        high: upper end.
        quantity: what the mean is.
        caveat: what the verdict does not say.
        unit: what each value belongs to.
        level: nominal rate.

    Example:
        >>> within("near one", [0.98, 1.01, 1.02, 0.99], 0.9, 1.1, quantity="mean").word
        'seen at this scale'
    """
    known = finite(values)
    n, how = f"{len(known)} {unit}{lost(values)}", f"two one-sided t tests against {low:g} and {high:g}, t interval"
    if len(known) < 3:
        return verdict(claim, CANNOT_TELL, quantity, mean(known), (math.nan,) * 2, low, math.nan, n, how, caveat)
    centre, error = float(known.mean()), float(scipy.stats.sem(known))
    if error == 0:
        p, half = (0.0 if low < centre < high else 1.0), 0.0
    else:
        student = scipy.stats.t(len(known) - 1)
        p = float(max(student.sf((centre - low) / error), student.sf((high - centre) / error)))
        half = float(student.ppf(0.975)) * error
    word = SEEN if p <= level else NOT_SEEN
    return verdict(claim, word, quantity, centre, (centre - half, centre + half), low, p, n, how, caveat)


def beyond_null(
    claim: str,
    observed: float,
    null: Sequence[float],
    *,
    quantity: str,
    caveat: str = "",
    unit: str = "draws of the null",
    level: float = LEVEL,
) -> Verdict:
    """Is one value larger than draws of a null model? The interval is the null's, not the value's.

    Args:
        claim: the claim.
        observed: the value.
        null: draws under the null.
        quantity: what the value is.
        caveat: what the verdict does not say.
        unit: what the draws are.
        level: nominal rate.

    Example:
        >>> beyond_null("beyond", 3.0, np.linspace(0, 1, 50), quantity="value").word
        'seen at this scale'
    """
    draws = finite(null)
    n, how = f"{len(draws)} {unit}", "Monte-Carlo test; the interval is that of the null"
    least = 1 / (len(draws) + 1)
    p = float((1 + np.sum(draws >= observed)) / (len(draws) + 1))
    ends = resampling.ends(draws) if len(draws) else (math.nan, math.nan)
    word = CANNOT_TELL if least > level or not math.isfinite(observed) else SEEN if p <= level else NOT_SEEN
    return verdict(claim, word, quantity, observed, ends, ends[1], p, n, how, caveat)


def verdict(
    claim: str,
    word: Word,
    quantity: str,
    estimate: float,
    ends: tuple[float, ...],
    reference: float,
    p: float,
    n: str,
    how: str,
    caveat: str,
) -> Verdict:
    """A verdict from its parts."""
    low, high = ends
    return Verdict(
        claim=claim, word=word, quantity=quantity, estimate=estimate, low=low, high=high, reference=reference,
        p=p, n=n, how=how, caveat=caveat,
    )  # fmt: skip


def decide(p: float, least: float, ends: tuple[float, float], reference: float, level: float, two_sided: bool) -> Word:
    """The word: a small p and an interval on the claimed side, unless no outcome could have had a small p."""
    if least > level:
        return CANNOT_TELL
    apart = ends[0] > reference or (two_sided and ends[1] < reference)
    return SEEN if p <= level and apart else NOT_SEEN


def finite(values: Sequence[float]) -> np.ndarray:
    """The values that are finite, float64 [n]."""
    array = np.asarray(values, np.float64)
    return array[np.isfinite(array)]


def lost(*groups: Groups) -> str:
    """How many values were not finite and are left out, in words."""
    flat = [list(itertools.chain(*g.values())) if isinstance(g, Mapping) else list(g) for g in groups]
    lost = sum(int(np.sum(~np.isfinite(np.asarray(values, np.float64)))) for values in flat)
    return f" ({lost} not finite, left out)" if lost else ""


def mean(values: np.ndarray) -> float:
    """The mean; not a number if there are no values."""
    return float(values.mean()) if len(values) else math.nan
