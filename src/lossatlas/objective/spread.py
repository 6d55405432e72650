r"""How certain is a mean over samples? Its standard error, from the value of every sample.

For N samples with values v and weights w (1 where a sample counts as one, its number of tokens where the mean is over
tokens) the mean is :math:`m = \sum_i w_i v_i / \sum_i w_i`, and its standard error, a sample drawn as a whole,

.. math:: \sqrt{\frac{N}{N - 1}} \, \frac{\sqrt{\sum_i w_i^2 (v_i - m)^2}}{\sum_i w_i},

to first order in the spread of the weights (Cochran 1977, Sampling Techniques, section 6.4). For equal weights it is
the standard deviation over :math:`\sqrt{N}`.

With fewer than 100 samples, twice this error covers the mean less often than it should, above all where a few samples
carry most of the loss. There it is widened, to :math:`t_{N-1} / 1.96` times itself for the spread that is itself
estimated (Student), and by :math:`1 + 3 |g| / \sqrt{N}` with g the skewness of the samples (the term is Johnson's, J.
Am. Stat. Assoc. 73, 1978; its size was set by simulation). With 20 samples or more, twice the error then covers in 95 %
of draws of exponential, log-normal (σ = 1) and squared normal losses, with ten in 93 %. It assumes that whatever makes
the loss large was seen: twenty samples say nothing about a kind that occurs once in a hundred. Scores of 0 and 1 take
the error of :math:`(k + 2) / (N + 4)` (Agresti and Coull, Am. Stat. 52, 1998) and its distance from :math:`k / N`
instead, so that none wrong in ten does not give an error of 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.objective import reduction
from lossatlas.objective.objective import Objective

__all__ = ["ENOUGH", "SUFFIX", "error_names", "measure_with_errors", "standard_errors"]

SUFFIX = "_se"
"""What the name of a standard error ends in: ``loss_se`` is kept beside ``loss``."""


ENOUGH = 100
"""Number of samples from which the standard error is simply that of the formula."""

SKEWED = 3.0
"""How much the skewness of few samples widens it."""


def error_names(objective: Objective) -> tuple[str, ...]:
    """The names of the standard errors: of all that is measured batch by batch, the loss first.

    Returns:
        A name for each standard error.

    Raises:
        SpecError: one sample has no spread, a model's own loss has no samples, or a metric already has such a name.
    """
    if objective.loss is None:
        raise SpecError(
            "standard_error=True: a model's own loss is one number per batch; pass loss=... to see each sample"
        )
    if objective.samples < 2:
        raise SpecError("standard_error=True: one sample has no spread; give at least two, or leave it out")
    return tuple(name + SUFFIX for name in objective.measured)


def measure_with_errors(objective: Objective, seed: int = 0) -> tuple[dict[str, float], dict[str, float]]:
    """Loss and metrics of the private copy at its present point, and their standard errors, in one pass over the data.

    Args:
        objective: what is measured.
        seed: as for :meth:`Objective.measure`.

    Returns:
        The values as of :meth:`Objective.measure`, bit for bit; the standard errors by :func:`error_names`.

    Raises:
        SpecError: single samples have no loss.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> data = torch.ones(4, 1), torch.tensor([[1.0], [1.0], [0.0], [0.0]])
        >>> values, errors = measure_with_errors(Objective(model, data, torch.nn.functional.mse_loss))
        >>> values["loss"], round(errors["loss_se"], 6)
        (0.5, 0.288675)
    """
    names = error_names(objective)
    sums: list[Tensor] = []
    weights: list[Tensor] = []

    def watch(shown: Any, targets: Any, size: int) -> None:
        columns = list(_columns(objective, shown, targets, size))
        sums.append(torch.stack([column[0] for column in columns], dim=1).detach().cpu())
        weights.append(torch.stack([column[1] for column in columns], dim=1).detach().cpu())

    values = objective.measure(seed, watch=watch)
    found = standard_errors(torch.cat(sums).numpy(), torch.cat(weights).numpy())
    return values, dict(zip(names, found.tolist(), strict=True))


def _columns(objective: Objective, shown: Any, targets: Any, size: int) -> Any:
    """For each value the weighted sum and the weight of every sample, both float64 [N]."""
    loss = objective.loss
    assert loss is not None
    for name in objective.measured:
        measure = loss if name == "loss" else objective.metrics[name]
        assert not isinstance(measure, reduction.Derived)
        value = measure(shown, targets)
        if isinstance(value, reduction.Weighted):
            yield _weighted(name, value, size)
        else:
            each = (
                reduction.loss_each(loss, shown, targets, size)
                if name == "loss"
                else reduction.metric_each(name, value, size)
            )
            yield each, torch.ones_like(each)


def _weighted(name: str, value: reduction.Weighted, size: int) -> tuple[Tensor, Tensor]:
    weights = reduction.by_sample(name, value.weights, size, flat=True)
    kept = torch.where(weights > 0, value.values.double().reshape(size, -1) * weights, 0.0)
    return kept.sum(dim=1), weights.sum(dim=1)


def standard_errors(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The standard error of each weighted mean.

    Args:
        sums: float64 [N, k], weight times value of every sample.
        weights: float64 [N, k].

    Returns:
        float64 [k]; NaN where a value is not finite. With fewer than 100 samples it is widened so that twice the error
        covers.

    Example:
        >>> values = np.tile([[1.0], [3.0]], (50, 1))
        >>> standard_errors(values, np.ones((100, 1))).round(6).tolist()
        [0.100504]
        >>> standard_errors(values[:10], np.ones((10, 1))).round(6).tolist()
        [0.384728]
    """
    n = len(sums)
    with np.errstate(invalid="ignore", over="ignore"):
        means = sums.sum(axis=0) / weights.sum(axis=0)
        off = sums - means * weights
        errors = np.asarray(math.sqrt(n / (n - 1)) * np.sqrt(np.square(off).sum(axis=0)) / weights.sum(axis=0))
        if n >= ENOUGH:
            return errors
        scores = ((weights == 1) & ((sums == 0) | (sums == 1))).all(axis=0)
        return np.asarray(np.where(scores, np.maximum(errors, _of_scores(sums)), errors * _widened(off)))


def _widened(off: np.ndarray) -> np.ndarray:
    """By how much the error of few samples is widened, from each one's distance to the mean; float64 [k]."""
    from scipy.special import stdtrit  # imported here: most runs need no error and save a tenth of a second

    n, spread = len(off), np.square(off).mean(axis=0)
    skewness = np.where(spread > 0, (off**3).mean(axis=0) / np.where(spread > 0, spread, 1.0) ** 1.5, 0.0)
    return np.asarray(stdtrit(n - 1, 0.975) / stdtrit(math.inf, 0.975) * (1 + SKEWED * np.abs(skewness) / math.sqrt(n)))


def _of_scores(sums: np.ndarray) -> np.ndarray:
    """The error of a share of few scores of 0 and 1; float64 [k]."""
    n, share = len(sums), sums.mean(axis=0)
    nearer = (sums.sum(axis=0) + 2) / (n + 4)
    return np.asarray(np.sqrt(nearer * (1 - nearer) / (n + 4)) + np.abs(nearer - share) / 2)
