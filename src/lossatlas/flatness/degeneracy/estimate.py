r"""How degenerate is a minimum? The local learning coefficient λ̂, by chains that walk around it.

.. math:: \hat λ(w^*) = nβ \big(E^β_{w | w^*, γ}[L(w)] - L(w^*)\big)

with :math:`nβ = n / \log n` by default (Lau, Furman, Wang, Murfet, Wei 2023, The Local Learning Coefficient: A
Singularity-Aware Complexity Measure, arXiv 2308.12108; Furman and Lau 2024, arXiv 2402.03698). λ governs how the volume
of parameters within ε of the minimum's loss shrinks, :math:`V(ε) ∝ ε^λ (-\log ε)^{m - 1}`: it is d/2 at a regular
minimum, and less where directions are flat or cross.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lossatlas.curvature.spectrum import eigenvalues
from lossatlas.errors import SpecError
from lossatlas.expected import check_kind, check_whole
from lossatlas.flatness.degeneracy.result import LearningCoefficient, problems
from lossatlas.flatness.degeneracy.walk import Chain, Gradient, Posterior, walk
from lossatlas.objective import Objective
from lossatlas.objective.alone import one_at_a_time
from lossatlas.objective.part import taken
from lossatlas.oneline import number_of
from lossatlas.space.filters.selection import patterns_of
from lossatlas.space.parameters import Parameters

__all__ = ["PATIENCE_SECONDS", "default_nbeta", "estimated", "llc", "stable_step", "stiffness"]

PATIENCE_SECONDS = 2.0

_PILOT, _PILOTS, _AGAIN = 100, 4, 5
"""Steps after which a step size is reconsidered, the short chains that take them, and how often chains that turn out to
have met steeper places are rerun."""


@one_at_a_time
@torch.inference_mode(False)
def llc(
    objective: Objective,
    params: Parameters | None = None,
    *,
    only: str | Iterable[str] = (),
    step: float | None = None,
    nbeta: float | None = None,
    gamma: float = 100.0,
    chains: int = 4,
    draws: int = 1000,
    burn: int | None = None,
    gradient: Gradient = "batch",
    averaged: bool = True,
    seed: int = 0,
    progress: bool | None = None,
) -> LearningCoefficient:
    r"""The local learning coefficient at a point, with the diagnostics of its chains.

    The losses at the point and along the chain are compared batch by batch, which removes most of the noise of small
    batches from the difference.

    Args:
        objective: whose loss, of any model and data; it must be a mean over samples.
        params: the point, a minimum; by default the origin.
        only: patterns of names of the tensors that move, such as ``"layer3.*"``: λ̂ of these weights, all others fixed.
        step: size ε of a step; by default 1 over the largest curvature of the posterior at the point and around it,
            which takes second derivatives.
        nbeta: the inverse temperature nβ; by default n / log n.
        gamma: the pull γ towards the point, per squared parameter norm: directions that curve by less than γ/nβ count
            as flat. It is a choice, whose effect :func:`lossatlas.flatness.degeneracy.scan` shows.
        chains: how many, at least 2.
        draws: steps of each that count.
        burn: steps of each before; by default half as many.
        gradient: ``"batch"``: of one batch of the objective at each step; ``"full"``: of all data, without that noise.
        averaged: use the noise of the scheme whose variance on a quadratic is exact; otherwise plain SGLD.
        seed: of noise and batches.
        progress: show a progress bar; by default where it takes more than two seconds.

    Returns:
        The estimate. If its chains cannot be trusted, ``value`` is NaN and ``problems`` says what to change.

    Raises:
        SpecError: an option makes no sense, or the loss is not finite at the point.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(4, 1, bias=False).double()
        >>> _ = torch.nn.init.zeros_(layer.weight)
        >>> data = 2 * torch.eye(4).double(), torch.zeros(4, 1).double()
        >>> half = Objective(layer, data, lambda f, y: (f - y).square().mean() / 2)
        >>> found = llc(half, nbeta=1000.0, gamma=1.0)
        >>> abs(found.value - 4 / 2) < 4 * found.error  # regular: d/2
        True
    """
    _check(step=step, nbeta=nbeta, gamma=gamma, chains=chains, draws=draws, burn=burn, seed=seed)
    burn = draws // 2 if burn is None else burn
    only = patterns_of(only) if only != "" else ()
    posterior = Posterior(objective, params, only=only, gradient=gradient)
    nbeta = default_nbeta(posterior.samples) if nbeta is None else float(nbeta)
    own = step is None
    size = stable_step(posterior, nbeta=nbeta, gamma=gamma, seed=seed) if step is None else float(step)
    settings: dict[str, Any] = {
        "step": size, "step chosen": "by curvature" if own else "given", "nbeta": nbeta, "gamma": float(gamma),
        "chains": chains, "draws": draws, "burn": burn, "gradient": gradient, "averaged": averaged, "seed": seed,
        "only": list(only),
    }  # fmt: skip
    found = estimated(posterior, settings, progress=progress)
    for _ in range(_AGAIN if own else 0):
        kinds = {one.kind for one in found.problems}
        if not kinds & {"coarse", "diverged"}:
            break
        settings["step"] = settings["step"] / 4 if "diverged" in kinds else 1 / found.stiffness
        found = estimated(posterior, settings, progress=progress)
    return found


def estimated(posterior: Posterior, settings: dict[str, Any], *, progress: bool | None = None) -> LearningCoefficient:
    """The estimate from a neighbourhood and all settings.

    Args:
        posterior: the neighbourhood.
        settings: as :func:`llc` puts them together.
        progress: as for :func:`llc`.

    Returns:
        The estimate.
    """
    found = list(_walked(posterior, settings, progress))
    burn, nbeta = settings["burn"], settings["nbeta"]
    rises = nbeta * np.stack([chain.rises for chain in found])
    stiff = _stiffest(posterior, found, settings)
    far = np.stack([chain.distances for chain in found])[:, burn:]
    lost = [chain.lost for chain in found if chain.lost is not None]
    return LearningCoefficient(
        trace=rises[:, burn:],
        burnt=rises[:, :burn],
        held=settings["gamma"] / 2 * float(far.mean()),
        parameters=posterior.size,
        samples=posterior.samples,
        settings=settings,
        problems=problems(
            rises[:, burn:],
            parameters=posterior.size,
            settings=settings,
            lost=lost,
            stiffness=stiff,
            distances=far,
        ),
        stiffness=stiff,
        gradients=sum(int(np.isfinite(chain.rises).sum()) for chain in found),
        name=posterior.objective.name,
    )


def _stiffest(posterior: Posterior, found: list[Chain], settings: dict[str, Any]) -> float:
    """The curvature of the posterior where the chains were farthest out; NaN where there are no second derivatives."""
    if any(chain.lost is not None for chain in found):
        return math.nan
    options = {name: settings[name] for name in ("nbeta", "gamma", "seed")}
    try:
        return stiffness(posterior, [chain.far for chain in found], **options)
    except SpecError:
        return math.nan


def _walked(posterior: Posterior, settings: dict[str, Any], progress: bool | None) -> Iterator[Chain]:
    steps = settings["burn"] + settings["draws"]
    options = {name: settings[name] for name in ("step", "nbeta", "gamma", "averaged")}
    with tqdm(
        total=steps * settings["chains"],
        unit="step",
        desc="chains",
        disable=progress is False,
        delay=0.0 if progress else PATIENCE_SECONDS,
        dynamic_ncols=True,
        leave=False,
    ) as bar:
        for number in range(settings["chains"]):
            yield walk(posterior, steps=steps, seed=(settings["seed"], number), told=bar.update, **options)


def default_nbeta(samples: int) -> float:
    """The inverse temperature of the WBIC, n / log n (Watanabe 2013).

    Args:
        samples: n.

    Returns:
        nβ.

    Raises:
        SpecError: fewer than three samples.

    Example:
        >>> round(default_nbeta(1000), 1)
        144.8
    """
    if samples < 3:
        raise SpecError(f"the objective has {number_of(samples, 'sample')}; n / log n needs at least 3: give nbeta")
    return samples / math.log(samples)


def stable_step(posterior: Posterior, *, nbeta: float, gamma: float, seed: int = 0) -> float:
    """A step size from the curvature that a chain meets: 1 over the largest of nβ λmax + γ.

    λmax is that of the first batch, at the point and again where short chains end, until they agree.

    Args:
        posterior: the neighbourhood.
        nbeta: nβ.
        gamma: γ.
        seed: of the short chains.

    Returns:
        The step.

    Raises:
        SpecError: there are no second derivatives, or no step holds the chain near the point.
    """
    step = 1 / stiffness(posterior, [posterior.home], nbeta=nbeta, gamma=gamma, seed=seed)
    for number in range(30):
        options: dict[str, Any] = {"steps": _PILOT, "step": step, "nbeta": nbeta, "gamma": gamma}
        pilots = [walk(posterior, seed=(seed, 10**6 + number, k), **options) for k in range(_PILOTS)]
        if any(pilot.lost is not None for pilot in pilots):
            step /= 4
            continue
        ends = [pilot.end for pilot in pilots]
        needed = 1 / stiffness(posterior, ends, nbeta=nbeta, gamma=gamma, seed=seed)
        if step <= 1.2 * needed:
            return min(step, needed)
        step = needed
    raise SpecError(
        f"no step size keeps a chain near the point (tried down to {step:.2g}); raise gamma above {gamma:g}, or lower "
        f"nbeta below {nbeta:g}"
    )


def stiffness(posterior: Posterior, at: list[Tensor], *, nbeta: float, gamma: float, seed: int = 0) -> float:
    """The largest of nβ λmax + γ over some points, λmax that of the first batch.

    Args:
        posterior: the neighbourhood.
        at: the points, each [d].
        nbeta: nβ.
        gamma: γ.
        seed: of the iteration.

    Returns:
        The largest curvature of the posterior.

    Raises:
        SpecError: there are no second derivatives.
    """
    objective = posterior.objective
    part = taken(objective, np.arange(objective.sizes[0])) if len(objective.sizes) > 1 else objective
    tops = []
    for place in at:
        try:
            found = eigenvalues(part, posterior.point(place), tolerance=0.1, most=60, seed=seed)
        except SpecError as fault:
            raise SpecError(f"no step size could be found from the curvature ({fault}); give step=") from fault
        tops.append(float(found.values[-1]))
    return nbeta * max(0.0, *tops) + gamma


def _check(**given: Any) -> None:
    check_whole("seed", given["seed"])
    for name, least in (("chains", 2), ("draws", 8), ("burn", 0)):
        if name == "burn" and given[name] is None:
            continue
        check_kind(name, given[name], int, "a whole number")
        if given[name] < least:
            raise SpecError(f"{name}={given[name]}; expected at least {least}")
    for name in ("step", "nbeta", "gamma"):
        value = given[name]
        if value is None and name != "gamma":
            continue
        check_kind(name, value, (int, float), "a number")
        if not (math.isfinite(value) and (value > 0 or (name == "gamma" and value == 0))):
            raise SpecError(f"{name}={value!r}; expected a positive number" + (", or 0" if name == "gamma" else ""))
