"""What is each measure of flatness? Its definition, its paper, its cost, and what it is and is not invariant to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lossatlas.oneline import one_line

__all__ = ["DEFINITIONS", "INVARIANCES", "Definition", "Name"]

INVARIANCES = {
    "layers": "one layer times a constant and the next divided by it, between ReLUs (Dinh et al. 2017)",
    "units": "what enters a hidden unit times a constant and what leaves it divided by it, between ReLUs",
    "filters": "what enters one channel before BatchNorm times a constant",
}
"""Ways to change the weights that leave the function as it is, by name."""

Name = str
"""What a measure is called: a name of :data:`DEFINITIONS`, or of an entry point of another distribution."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What a measure is.

    Attributes:
        title: what to call it.
        formula: the definition in a line.
        source: the paper.
        cost: how many evaluations and gradients of the whole data it takes.
        invariant_to: names of :data:`INVARIANCES`.
        flatter: whether a flatter network has a smaller or a larger value.
    """

    title: str
    formula: str
    source: str
    cost: str
    invariant_to: tuple[str, ...]
    flatter: Literal["smaller", "larger"] = "smaller"

    __repr__ = one_line

    @property
    def changes_with(self) -> tuple[str, ...]:
        """The other names of :data:`INVARIANCES`: the same function can have very different values."""
        return tuple(name for name in INVARIANCES if name not in self.invariant_to)

    @property
    def caveat(self) -> str:
        """What a value does not prove."""
        if self.changes_with:
            names = " or ".join(self.changes_with)
            return f"Rescaling {names} changes it but not the function, so on its own it says nothing about a function."
        return "Invariant to all rescalings tested here, which does not mean that it tracks generalisation."


DEFINITIONS: Mapping[Name, Definition] = {
    "epsilon_sharpness": Definition(
        title="ε-sharpness",
        formula="100 (max L(w + z) − L(w)) / (1 + L(w)) over |z_i| ≤ ε (|w_i| + 1)",
        source="Keskar et al. 2017, arXiv 1609.04836, metric 2.1",
        cost="about 12 evaluations with gradients",
        invariant_to=(),
    ),
    "sam": Definition(
        title="SAM sharpness",
        formula="mean over groups of m samples of max L(w + δ) − L(w) over ‖δ‖ ≤ ρ",
        source="Foret et al. 2021, arXiv 2010.01412",
        cost="1 gradient and 2 evaluations for each step",
        invariant_to=(),
    ),
    "adaptive_worst": Definition(
        title="worst adaptive sharpness",
        formula="max L(w + δ) − L(w) over ‖δ / |w|‖ ≤ ρ",
        source="Kwon et al. 2021, arXiv 2102.11600; Andriushchenko et al. 2023, arXiv 2302.07011",
        cost="1 gradient and 2 evaluations for each step",
        invariant_to=("layers", "units", "filters"),
    ),
    "adaptive_average": Definition(
        title="mean adaptive sharpness",
        formula="mean of L(w + ρ |w| z) − L(w) over z ~ N(0, 1)",
        source="Andriushchenko et al. 2023, arXiv 2302.07011",
        cost="2 evaluations for each draw",
        invariant_to=("layers", "units", "filters"),
    ),
    "radius": Definition(
        title="filter-normalised radius",
        formula="smallest t with L(w + t d) ≥ L(w) + rise, mean over filter-normalised random d",
        source="directions of Li et al. 2018, arXiv 1712.09913, section 4",
        cost="about 30 evaluations for each direction",
        invariant_to=("layers", "filters"),
        flatter="larger",
    ),
    "lpf": Definition(
        title="LPF",
        formula="mean of L(w + σ z) over z ~ N(0, 1)",
        source="Bisla et al. 2022, arXiv 2201.08025",
        cost="2 evaluations for each draw",
        invariant_to=(),
    ),
    "relative_flatness": Definition(
        title="relative flatness",
        formula="sum over s, t of ⟨w_s, w_t⟩ tr H_st, for the rows w_s of one layer",
        source="Petzka et al. 2021, arXiv 2001.00939",
        cost="1 Hessian-vector product for each probe",
        invariant_to=("layers", "filters"),
    ),
    "fisher_rao": Definition(
        title="Fisher-Rao norm",
        formula="root of the mean over samples of ⟨w, ∇ℓ_i(w)⟩²",
        source="Liang et al. 2019, arXiv 1711.01530",
        cost="1 evaluation with 2 gradients",
        invariant_to=("layers", "units", "filters"),
    ),
    "trace": Definition(
        title="trace of the Hessian",
        formula="tr H, the sum of all eigenvalues",
        source="Hutchinson 1990",
        cost="1 Hessian-vector product for each probe",
        invariant_to=(),
    ),
    "lambda_max": Definition(
        title="λmax of the Hessian",
        formula="largest eigenvalue of H",
        source="Lanczos' method, see lossatlas.eigenvalues",
        cost="10 to 100 Hessian-vector products",
        invariant_to=(),
    ),
    "critical": Definition(
        title="critical sharpness",
        formula="2 / η with η the step along the gradient at which the loss first rises; gᵀHg / gᵀg to second order",
        source="arXiv 2601.16979",
        cost="1 gradient and about 6 evaluations",
        invariant_to=(),
    ),
    "llc": Definition(
        title="local learning coefficient",
        formula="nβ (E[L(w)] − L(w*)) over w ~ exp(−nβ L(w) − γ/2 ‖w − w*‖²), by chains that are checked",
        source="Lau et al. 2023, arXiv 2308.12108",
        cost="6,000 steps of one batch, each an evaluation with a gradient",
        invariant_to=(),
    ),
    "input_margin": Definition(
        title="margin in the input",
        formula="median over samples of (f_y − f_j) / ‖∇_x (f_y − f_j)‖, j the best other class",
        source="Jiang et al. 2019, arXiv 1810.00113, at the input",
        cost="1 evaluation with a gradient",
        invariant_to=("layers", "units", "filters"),
        flatter="larger",
    ),
    "spectral_margin": Definition(
        title="spectral margin",
        formula="median over samples of n (f_y − f_j) / (R ‖X‖), R the spectral complexity of the weights",
        source="Bartlett et al. 2017, arXiv 1706.08498, section 1",
        cost="1 evaluation and a singular value for each layer",
        invariant_to=("layers",),
        flatter="larger",
    ),
}
