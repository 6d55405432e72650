r"""How much higher is the highest point nearby? ε-sharpness, SAM's sharpness, adaptive sharpness."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_number, check_whole
from lossatlas.flatness.definitions import Name
from lossatlas.flatness.ground import Ground, groups
from lossatlas.flatness.result import Sharpness
from lossatlas.objective import Objective
from lossatlas.space.parameters import Parameters

__all__ = ["Norm", "Size", "adaptive_worst", "epsilon_sharpness", "sam"]

Norm = Literal["l2", "linf"]
Size = Literal["weight", "filter"]


@torch.inference_mode(False)
def epsilon_sharpness(
    objective: Objective,
    params: Parameters | None = None,
    *,
    epsilon: float = 1e-3,
    iterations: int = 10,
    seed: int = 0,
) -> Sharpness:
    r"""ε-sharpness in the full space (Keskar et al. 2017, metric 2.1).

    .. math:: 100 \cdot \frac{\max_{z ∈ C_ε} L(w + z) - L(w)}{1 + L(w)}, \qquad
        C_ε = \{z : |z_i| ≤ ε (|w_i| + 1)\}

    The maximum is sought as in the paper, by ten iterations of L-BFGS-B, here of SciPy. It begins at a random corner of
    a box a tenth as large, since the gradient at a minimum is zero. The result is a lower bound on the maximum.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        epsilon: half the side of the box, relative.
        iterations: of L-BFGS-B.
        seed: of the corner.

    Returns:
        The sharpness in percent. It depends on the scale of the weights: see :data:`INVARIANCES`.

    Raises:
        SpecError: an option that makes no sense, or a loss that is not finite.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.ones_(model.weight)
        >>> data = torch.ones(2, 1), torch.ones(2, 1)
        >>> found = epsilon_sharpness(Objective(model, data, torch.nn.functional.mse_loss), epsilon=0.05)
        >>> round(found.value, 4)
        1.0
    """
    _positive("epsilon", epsilon)
    check_whole("iterations", iterations, 1)
    check_whole("seed", seed)
    ground = Ground(objective, params)
    box = (epsilon * (ground.home.abs() + 1)).numpy()
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=len(box))
    highest = ground.height

    def downwards(step: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal highest
        here = torch.from_numpy(step)
        height = ground.loss(here)
        highest = max(highest, height) if math.isfinite(height) else highest
        return -height, -ground.gradient(here).numpy()

    scipy.optimize.minimize(
        downwards,
        0.1 * box * signs,
        jac=True,
        method="L-BFGS-B",
        bounds=scipy.optimize.Bounds(-box, box),
        options={"maxiter": iterations},
    )
    value = 100 * (highest - ground.height) / (1 + ground.height)
    settings = {"epsilon": epsilon, "iterations": iterations, "seed": seed, "loss": ground.height}
    return _result("epsilon_sharpness", value, math.nan, [ground], settings)


def sam(
    objective: Objective,
    params: Parameters | None = None,
    *,
    rho: float = 0.05,
    m: int | None = None,
    steps: int = 1,
    seed: int = 0,
) -> Sharpness:
    r"""SAM's sharpness, and its m-sharpness (Foret et al. 2021).

    .. math:: \frac{1}{N} \sum_{g} |g| \Big(\max_{‖δ‖_2 ≤ ρ} L_g(w + δ) - L_g(w)\Big)

    over groups g of m samples, each with a maximum of its own. With one step the maximum is SAM's approximation,
    :math:`δ = ρ \, ∇L / ‖∇L‖`; more steps go on from there, :math:`δ ← ρ \, ∇L(w + δ) / ‖∇L(w + δ)‖`, and keep the
    highest point, which is still a lower bound.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        rho: radius ρ of the ball, in parameter norm.
        m: samples in a group; by default all of them are one.
        steps: gradients for each group.
        seed: of the grouping.

    Returns:
        The sharpness, in the unit of the loss.

    Raises:
        SpecError: an option that makes no sense, or a loss that is not finite.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> data = torch.ones(2, 1), torch.ones(2, 1)
        >>> round(sam(Objective(model, data, torch.nn.functional.mse_loss), rho=0.1).value, 4)
        0.21
    """
    settings = {"rho": rho, "m": m, "steps": steps, "norm": "l2", "seed": seed}
    return _worst("sam", objective, params, settings, "none")


def adaptive_worst(
    objective: Objective,
    params: Parameters | None = None,
    *,
    rho: float = 0.05,
    m: int | None = None,
    norm: Norm = "l2",
    by: Size = "weight",
    steps: int = 1,
    seed: int = 0,
) -> Sharpness:
    r"""Adaptive sharpness in the worst case (Kwon et al. 2021; Andriushchenko et al. 2023).

    .. math:: \max_{‖δ / c‖_p ≤ ρ} L(w + δ) - L(w), \qquad c_i = |w_i|

    or with the norm of its filter for c. One step is ASAM's: :math:`δ = ρ \, c^2 ∇L / ‖c ∇L‖_2`, or
    :math:`ρ \, c \, \mathrm{sign} ∇L` for p = ∞.

    Args:
        objective: whose loss.
        params: the point; by default the origin.
        rho: radius ρ, relative to the weights.
        m: samples in a group; by default all of them are one.
        norm: "l2" or "linf".
        by: "weight" or "filter". By filter it is no longer invariant to rescaling units.
        steps: gradients for each group.
        seed: of the grouping.

    Returns:
        The sharpness, in the unit of the loss.

    Raises:
        SpecError: an option that makes no sense, or a loss that is not finite.
    """
    if norm not in ("l2", "linf"):
        raise SpecError(unknown("norm", norm, ("l2", "linf")))
    if by not in ("weight", "filter"):
        raise SpecError(unknown("by", by, ("weight", "filter")))
    settings = {"rho": rho, "m": m, "steps": steps, "norm": norm, "by": by, "seed": seed}
    note = "By filter, rescaling units changes it." if by == "filter" else ""
    return _worst("adaptive_worst", objective, params, settings, by, note)


def _worst(
    name: Name,
    objective: Objective,
    params: Parameters | None,
    settings: dict[str, Any],
    by: Literal["none", "weight", "filter"],
    note: str = "",
) -> Sharpness:
    _positive("rho", settings["rho"])
    check_whole("steps", settings["steps"], 1)
    check_whole("seed", settings["seed"])
    rises, sizes, grounds = [], [], []
    for part in groups(objective, settings["m"], settings["seed"]):
        ground = Ground(part, params)
        rises.append(_highest(ground, ground.sizes(by), settings))
        sizes.append(part.samples / objective.samples)
        grounds.append(ground)
        ground.evaluations *= sizes[-1]
        ground.gradients *= sizes[-1]
    value = float(np.dot(rises, sizes))
    spread = float(np.std(rises, ddof=1)) / math.sqrt(len(rises)) if len(rises) > 1 else math.nan
    return _result(name, value, spread, grounds, settings, "standard error over groups", note)


def _highest(ground: Ground, sizes: Tensor, settings: dict[str, Any]) -> float:
    """The largest rise of the loss that was met within the ball."""
    best, step = 0.0, None
    for _ in range(settings["steps"]):
        gradient = ground.gradient(step)
        if float((sizes * gradient).norm()) == 0:  # at a stationary point every direction is as good
            gradient = ground.draw(settings["seed"], 0)
        if settings["norm"] == "l2":
            step = settings["rho"] * sizes**2 * gradient / (sizes * gradient).norm()
        else:
            step = settings["rho"] * sizes * gradient.sign()
        rise = ground.loss(step) - ground.height
        best = max(best, rise) if settings["steps"] > 1 else rise
    return best


def _positive(argument: str, value: float) -> None:
    check_number(argument, value)
    if not 0 < value < math.inf:
        raise SpecError(f"{argument}={value!r}; expected a positive number")


def _result(
    name: Name,
    value: float,
    spread: float,
    grounds: list[Ground],
    settings: dict[str, Any],
    spread_is: str = "",
    note: str = "",
) -> Sharpness:
    return Sharpness(
        measure=name,
        value=value,
        spread=spread,
        spread_is=spread_is if math.isfinite(spread) else "",
        settings=settings,
        evaluations=sum(ground.evaluations for ground in grounds),
        gradients=sum(ground.gradients for ground in grounds),
        note=note,
    )
