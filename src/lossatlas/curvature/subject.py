"""What is a curvature of, and what do its numbers not prove?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lossatlas.figure.words import NAMELESS, capital, counted, grouped, number, smallest, with_error
from lossatlas.objective import Objective
from lossatlas.objective.reduction import name_of
from lossatlas.oneline import number_of, one_line, verb_of

__all__ = ["MATRICES", "Subject", "ends_said", "ends_words", "ratio_said", "subject"]

MATRICES = {"hessian": "Hessian", "ggn": "Gauss-Newton matrix"}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a curvature is of.

    Attributes:
        words: matrix, model, tensors, loss, samples and BatchNorm mode, as written on a picture.
        kind: "hessian" or "ggn".
        tensors: "all" or "weights".
        size: number of parameters.
        samples: number of samples of the mean.
        kinks: what has no second derivative, see :func:`lossatlas.curvature.kinks.kinks`.
        idle: names of tensors that do not enter the loss: every direction within them has eigenvalue 0.
        surrogates: what has steps, or a derivative written by hand, see
            :func:`lossatlas.curvature.kinks.surrogates_behind`.
        inexact: how products were approximated, and how well, in a sentence; empty where they are derivatives.
        name: of the network.
    """

    words: str
    kind: str
    tensors: str
    size: int
    samples: int
    kinks: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    surrogates: tuple[str, ...] = ()
    inexact: str = ""
    name: str = ""

    def title(self, what: str, by: str = "") -> str:
        """The heading of a picture.

        Args:
            what: is drawn.
            by: how the matrix was cut.

        Returns:
            Words such as "Curvature of MLP by layer".
        """
        return f"{what}{f' of {self.name}' if self.name else ''}{f' by {by}' if by else ''}"

    def block(self, name: str, size: int, tensors: Sequence[str]) -> Subject:
        """The same for a diagonal block.

        Args:
            name: what it is called.
            size: its number of parameters.
            tensors: the names of its tensors.

        Returns:
            The subject of the block.
        """
        words = f"Diagonal block {name} ({grouped(size, 'parameter')}) of: {self.words}"
        idle = tuple(tensor for tensor in self.idle if tensor in tensors)
        return replace(self, words=words, size=size, idle=idle)

    __repr__ = one_line

    @property
    def caveats(self) -> tuple[str, ...]:
        """What no number of this matrix proves, in sentences."""
        said = [self.inexact] if self.inexact else []
        if self.kinks and not self.inexact:
            said.append(
                f"{_listed(self.kinks)} {verb_of(len(self.kinks), 'has')} kinks, which second derivatives do not see. "
                "The surface shows them."
            )
        if self.surrogates:
            said.append(
                f"{_listed(self.surrogates)}: steps have no derivative, so what is computed here is zero or a "
                "surrogate (such as a straight-through estimator's) and may not be the curvature of this loss; "
                "differences give it (lossatlas.curvature.differences.curvature_along, --along)."
            )
        if self.kind == "ggn":
            said.append("If the loss is convex in the outputs, this matrix has no negative eigenvalue at any point.")
        if self.tensors == "weights":
            said.append("Biases and normalising layers are still: over all tensors λmin may be lower and λmax higher.")
        if self.idle:
            number, more = len(self.idle), ", …" * (len(self.idle) > 1)
            tensors = f"{number_of(number, 'tensor')} ({self.idle[0]}{more}) {verb_of(number, 'does')}"
            said.append(f"{tensors} not enter the loss: eigenvalue 0.")
        return tuple(said)


def subject(
    objective: Objective, *, kind: str, tensors: str, size: int, kinks: tuple[str, ...], idle: tuple[str, ...]
) -> Subject:
    """Describe the curvature of an objective; for the arguments see :class:`Subject`."""
    loss = "its own loss" if objective.loss is None else name_of(objective.loss)
    which = grouped(size, "parameter") if tensors == "all" else f"{grouped(size, 'weight')} (biases and norms still)"
    data = "" if objective.data_name in NAMELESS else f" of {objective.data_name}"
    parts = [
        f"{MATRICES[kind]} of {objective.name}, {which}",
        f"mean of {loss} over {_count(objective)}{number_of(objective.samples, 'sample')}{data}",
    ]
    if objective.batchnorm_words:
        parts.append(f"BatchNorm {objective.batchnorm_words}")
    words = "; ".join(parts) + "."
    return Subject(
        words=words, kind=kind, tensors=tensors, size=size, samples=objective.samples, kinks=kinks, idle=idle,
        name=objective.name,
    )  # fmt: skip


def ends_words(found: Any) -> str:
    """What was found about both ends of a spectrum, in sentences."""
    return f"{found.subject.words} {ends_said(found)}; {ratio_said(found)}."


def ratio_said(found: Any) -> str:
    """The paper's measure of non-convexity, in words where there is nothing to be divided."""
    if found.ratio == 0:
        return "no direction that bends down was found"
    return f"|λmin/λmax| = {number(found.ratio)}" if found.ratio < math.inf else "no direction that bends up was found"


def ends_said(found: Any) -> str:
    """Both ends of a spectrum with their residuals."""
    (least, off), (most, about) = ((float(found.values[at]), float(found.errors[at])) for at in (0, -1))
    low, high = smallest(least, off) if abs(least) <= off else with_error(least, off), with_error(most, about)
    return f"λmin {low}, λmax {high}"


def _count(objective: Objective) -> str:
    """What the mean is over, if that is not samples and a point was evaluated."""
    told = {name: asdict(count) for name, count in objective.counts.items() if name == "loss"}
    words = counted(told, samples=False)
    return f"{words} in " if words else ""


def _listed(words: tuple[str, ...]) -> str:
    """Words as a list, the first letter of a sentence.

    Returns:
        The words, with commas and one "and".

    Example:
        >>> _listed(("ReLU", "max pooling"))
        'ReLU and max pooling'
    """
    text = " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    return capital(text)
