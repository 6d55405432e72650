r"""What is the local learning coefficient as one measure of flatness among others? One number, or a reason for none."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lossatlas.flatness.degeneracy.estimate import llc as estimate
from lossatlas.flatness.degeneracy.walk import Gradient
from lossatlas.flatness.result import Sharpness
from lossatlas.objective import Objective
from lossatlas.space.parameters import Parameters

__all__ = ["llc"]


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
    seed: int = 0,
) -> Sharpness:
    r"""The local learning coefficient λ̂ (Lau et al. 2023), for a table beside other measures.

    :func:`lossatlas.llc` gives the chains as well. It takes thousands of steps of a batch, far more than any other
    measure: 6,000 with the defaults.

    Args:
        objective: whose loss.
        params: the point, a minimum; by default the origin.
        only: patterns of names of the tensors that move.
        step: size ε of a step; by default set by the curvature that the chains meet.
        nbeta: the inverse temperature nβ; by default n / log n.
        gamma: the pull γ towards the point.
        chains: how many.
        draws: steps of each that count.
        burn: steps of each before; by default half as many.
        gradient: of one ``"batch"`` at each step, or the ``"full"`` one.
        seed: of noise and batches.

    Returns:
        λ̂ with the Monte Carlo standard error of its chains.

    Raises:
        SpecError: the chains cannot be trusted (with the reasons and what to change), or an option makes no sense.
    """
    found = estimate(
        objective, params, only=only, step=step, nbeta=nbeta, gamma=gamma, chains=chains, draws=draws, burn=burn,
        gradient=gradient, seed=seed, progress=False,
    ).checked()  # fmt: skip
    passes = found.gradients if gradient == "full" else found.gradients * float(np.square(objective.shares()).sum())
    return Sharpness(
        measure="llc",
        value=found.value,
        spread=found.error,
        spread_is="Monte Carlo standard error of the chains",
        settings=dict(found.settings),
        evaluations=1.0,
        gradients=passes,
        note=f"At nβ = {found.settings['nbeta']:.4g} and γ = {found.settings['gamma']:.4g}; R-hat {found.r_hat:.3f}.",
    )
