r"""How much higher is the loss nearby on average, and how far must one walk until it is? Means over random steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_number, check_whole
from lossatlas.flatness.definitions import Name
from lossatlas.flatness.ground import Ground, mean_and_error
from lossatlas.flatness.result import Sharpness
from lossatlas.objective import Objective
from lossatlas.space.normalize import STILL, WAYS, By
from lossatlas.space.parameters import Parameters

__all__ = ["FIRST", "GROWTH", "HALVINGS", "adaptive_average", "lpf", "radius"]

FIRST = 0.01
"""Where the walk for a radius begins, in multiples of the direction."""

GROWTH = 1.2
"""How much longer each of its steps is than the last."""

HALVINGS = 12
"""How often the step that crossed is halved: the radius is known to a part in 20 000 of itself."""


def adaptive_average(
    objective: Objective,
    params: Parameters | None = None,
    *,
    rho: float = 0.1,
    draws: int = 50,
    seed: int = 0,
) -> Sharpness:
    r"""Adaptive sharpness on average (Andriushchenko et al. 2023).

    .. math:: E_{z ∼ N(0, 1)} L(w + ρ \, |w| ⊙ z) - L(w)

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        rho: size ρ of the noise, relative to each weight.
        draws: number of draws, each taken with both signs.
        seed: of the noise, which is drawn for each tensor by its name.

    Returns:
        The mean rise with its standard error over the draws. If the noise is large, it is dominated by the worst draws.

    Raises:
        SpecError: an option that makes no sense, or a loss that is not finite.
    """
    settings = {"rho": rho, "draws": draws, "seed": seed}
    return _mean_rise("adaptive_average", objective, params, settings, rho, "weight")


def lpf(
    objective: Objective,
    params: Parameters | None = None,
    *,
    sigma: float = 0.01,
    draws: int = 100,
    seed: int = 0,
) -> Sharpness:
    r"""The loss smoothed by a Gaussian low-pass filter (Bisla et al. 2022): :math:`E_{z ∼ N(0, 1)} L(w + σ z)`.

    The loss itself is averaged, not its rise; the loss at the point is in the settings.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        sigma: standard deviation σ of the noise in every weight.
        draws: number of draws, each taken with both signs.
        seed: of the noise, which is drawn for each tensor by its name.

    Returns:
        The filtered loss with its standard error over the draws.

    Raises:
        SpecError: an option that makes no sense, or a loss that is not finite.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> objective = Objective(model, (torch.ones(1, 1), torch.zeros(1, 1)), torch.nn.functional.mse_loss)
        >>> found = lpf(objective, sigma=0.1, draws=200)
        >>> abs(found.value - 0.01) < 4 * found.spread
        True
    """
    settings = {"sigma": sigma, "draws": draws, "seed": seed}
    return _mean_rise("lpf", objective, params, settings, sigma, "none")


def _mean_rise(
    name: Name,
    objective: Objective,
    params: Parameters | None,
    settings: dict[str, Any],
    size: float,
    by: By,
) -> Sharpness:
    check_number(next(iter(settings)), size)
    if not 0 < size < math.inf:
        raise SpecError(f"{next(iter(settings))}={size!r}; expected a positive number")
    check_whole("draws", settings["draws"], 2)  # for a standard error
    check_whole("seed", settings["seed"])
    ground = Ground(objective, params)
    below = 0.0 if name == "lpf" else ground.height
    rises = []
    for number in range(settings["draws"]):
        step = size * ground.draw(settings["seed"], number, by)
        rises.append((ground.loss(step) + ground.loss(-step)) / 2 - below)  # so that a slope adds no spread
    value, spread = mean_and_error(rises)
    return Sharpness(
        measure=name,
        value=value,
        spread=spread,
        spread_is="standard error over draws",
        settings=settings | {"loss": ground.height},
        evaluations=ground.evaluations,
        gradients=0.0,
    )


def radius(
    objective: Objective,
    params: Parameters | None = None,
    *,
    rise: float = 0.1,
    directions: int = 10,
    far: float = 3.0,
    by: By = "filter",
    seed: int = 0,
) -> Sharpness:
    r"""How far one can walk along filter-normalised random directions before the loss has risen by a given amount.

    .. math:: r(d) = \min \{t : L(w + t d) ≥ L(w) + \mathrm{rise}\}

    Each step is a fifth longer than the last, and the one that crosses is bisected; a bump narrower than a step is not
    seen. A direction along which the loss has not risen by ``far`` counts as ``far``, and the note says how many did:
    the mean is then a lower bound.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        rise: how much the loss must rise, in its own unit.
        directions: number of random directions.
        far: where to give up, in multiples of the direction; at 1 the step is as long as the weights.
        by: normalisation of the directions, see :func:`lossatlas.normalize`.
        seed: of the directions; biases and normalising layers are held still.

    Returns:
        The mean distance in multiples of the direction, and its standard deviation over the directions.

    Raises:
        SpecError: an option that makes no sense, or a loss that is not finite.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.ones_(model.weight)
        >>> objective = Objective(model, (torch.ones(1, 1), torch.ones(1, 1)), torch.nn.functional.mse_loss)
        >>> round(radius(objective, rise=0.25, directions=2).value, 3)
        0.5
    """
    for argument, number in (("rise", rise), ("far", far)):
        check_number(argument, number)
        if not 0 < number < math.inf:
            raise SpecError(f"{argument}={number!r}; expected a positive number")
    check_whole("directions", directions, 1)
    check_whole("seed", seed)
    if by not in WAYS:
        raise SpecError(unknown("by", by, WAYS))
    ground = Ground(objective, params)
    found = [_crossing(ground, ground.draw(seed, k, by, STILL), rise, far) for k in range(directions)]
    censored = sum(distance is None for distance in found)
    distances = [far if distance is None else distance for distance in found]
    note = f"{censored} of {directions} directions had not risen by {rise:g} at {far:g}: a lower bound."
    return Sharpness(
        measure="radius",
        value=float(np.mean(distances)),
        spread=float(np.std(distances, ddof=1)) if directions > 1 else math.nan,
        spread_is="standard deviation over directions" if directions > 1 else "",
        settings={"rise": rise, "directions": directions, "far": far, "by": by, "seed": seed, "loss": ground.height},
        evaluations=ground.evaluations,
        gradients=0.0,
        note=note if censored else "",
    )


def _crossing(ground: Ground, direction: Any, rise: float, far: float) -> float | None:
    """Where the loss first has risen, or ``None``."""

    def risen(t: float) -> bool:
        return not ground.loss(t * direction) < ground.height + rise  # a loss that is not finite counts as risen

    inside, outside = 0.0, min(FIRST, far)
    while not risen(outside):
        if outside >= far:
            return None
        inside, outside = outside, min(outside * GROWTH, far)
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if risen(middle) else (middle, outside)
    return outside
