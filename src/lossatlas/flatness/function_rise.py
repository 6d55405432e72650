r"""How far can one step before a function of arrays rises? Critical sharpness from nothing but values.

The update is given, as a gradient that JAX has taken or any other direction; or it is the gradient by central
differences, :math:`(L(θ + h e_i) - L(θ - h e_i)) / 2h`, which costs two values for each number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lossatlas.errors import SpecError
from lossatlas.expected import described_type
from lossatlas.flatness.first_rise import Step, first_rise
from lossatlas.flatness.result import Sharpness
from lossatlas.objective.function import Function

__all__ = ["MOST", "Slopes", "check_few", "critical_of", "gradient_by_differences", "update_at"]

MOST = 1000
"""Numbers above which a gradient by differences is refused: it would take thousands of values."""


def critical_of(
    function: Function, params: Any = None, *, update: Any = None, start: Step = 1.0, tolerance: float = 0.02
) -> Sharpness:
    """Critical sharpness of a function of arrays; see :func:`lossatlas.sharpness.critical`.

    Args:
        function: whose value.
        params: the point; by default the origin.
        update: nested like the parameters or by name, or a function of the parameters that gives it, such as
            ``jax.grad(loss)``; by default the gradient by differences.
        start: the step to begin with.
        tolerance: wanted accuracy of the step, relative.

    Returns:
        The value.

    Raises:
        SpecError: the value is not finite at the point; the update is zero, not finite, an optimiser, or of another
            shape; or no update is given and the function has too many numbers for differences.

    Example:
        >>> import numpy as np
        >>> bowl = Function(lambda p: 2.0 * p["w"][0] ** 2 + 0.5 * p["w"][1] ** 2, {"w": np.ones(2)})
        >>> round(critical_of(bowl).value, 6) == round((4 * 16 + 1) / (16 + 1), 6)  # gᵀHg / gᵀg
        True
    """
    base = {**function.origin, **({} if params is None else function.named(params))}
    height = function(base)["loss"]
    if not math.isfinite(height):
        raise SpecError(f"the loss is {height} at this point; its sharpness means nothing")
    if isinstance(update, torch.optim.Optimizer):
        raise SpecError(
            f"update is {described_type(update)}, which steps by the gradient of a torch model; for a Function give "
            "arrays by name"
        )
    way, asked = update_at(function, base, update)
    if not any(bool((part != 0).any()) for part in way.values()):
        raise SpecError("the update is zero, so nothing is updated; give another one, or another point")
    count = asked + 1

    def change(step: float) -> float:
        nonlocal count
        count += 1
        moved = {name: base[name] - step * part.to(base[name]) for name, part in way.items()}
        return function({**base, **moved})["loss"] - height

    step, note = first_rise(change, start, tolerance)
    return Sharpness(
        measure="critical",
        value=2 / step if step > 0 else math.inf,
        spread=math.nan,
        spread_is="",
        settings={"start": start, "tolerance": tolerance, "update": "differences" if update is None else "given"},
        evaluations=count,
        gradients=0,
        note=note,
    )


def update_at(function: Function, at: Mapping[str, Tensor], update: Any) -> tuple[dict[str, Tensor], int]:
    """The update at a point, by name, and how many values it took.

    Args:
        function: whose value.
        at: the point, all tensors by name.
        update: as for :func:`critical_of`.

    Returns:
        Both.

    Raises:
        SpecError: it is not finite or of another shape, or there is none and too many numbers for differences.
    """
    if update is None:
        return gradient_by_differences(function, at)
    way = dict(function.named(update(function.arrays(at)) if callable(update) else update))
    for name, part in way.items():
        if part.shape != at[name].shape:
            raise SpecError(f"update[{name!r}] has shape {tuple(part.shape)}; expected {tuple(at[name].shape)}")
        if not bool(part.isfinite().all()):
            raise SpecError(f"update[{name!r}] is not finite; give another one, or another point")
    return way, 0


class Slopes:
    """The update of a function of arrays from point to point, as one vector.

    Args:
        function: whose value.
        update: a function of the parameters that gives it, such as ``jax.grad(loss)``; by default the gradient by
            differences.

    Attributes:
        objective: the function.
        names: of all arrays, in the order in which they make up a vector.
        cost: values that a point takes.
        words: what the update is.

    Raises:
        SpecError: complex numbers, too many of them for differences, or an update that is no function.
    """

    def __init__(self, function: Function, update: Callable[[Any], Any] | None) -> None:
        if update is not None and not callable(update):
            raise SpecError(
                f"update is {described_type(update)}; expected a function of the parameters that gives the gradient at "
                "every point, such as jax.grad(loss)"
            )
        if update is None:
            check_few(function.origin)
        elif any(tensor.is_complex() for tensor in function.origin.values()):
            raise SpecError("the function has complex numbers, which a map cannot handle; la.sharpness.critical can")
        self.objective, self.update, self.names = function, update, tuple(function.origin)
        self.words = "the gradient by differences" if update is None else "the given gradient"
        self.cost = 2 * sum(tensor.numel() for tensor in function.origin.values()) if update is None else 0
        self._at = function.origin

    def move(self, params: Mapping[str, Tensor]) -> None:
        """Go to another point; names left out are at the origin."""
        self._at = {**self.objective.origin, **params}

    def gradient(self) -> dict[str, Tensor]:
        """The update at the point, by name."""
        return update_at(self.objective, self._at, self.update)[0]

    def joined(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Tensors by name as a vector, float64 [n]; names left out are zero."""
        like = self.objective.origin
        return torch.cat([tensors.get(name, like[name] * 0).reshape(-1).double() for name in self.names])

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """A vector as tensors by name."""
        like = [self.objective.origin[name] for name in self.names]
        parts = torch.split(vector, [tensor.numel() for tensor in like])
        return {name: part.reshape(own.shape).to(own) for name, part, own in zip(self.names, parts, like, strict=True)}


def check_few(at: Mapping[str, Tensor]) -> None:
    """Check that differences by all numbers of a point can be taken.

    Args:
        at: the point, all tensors by name.

    Raises:
        SpecError: there are more than :data:`MOST`, or complex ones.
    """
    total = sum(tensor.numel() for tensor in at.values())
    if total > MOST or any(tensor.is_complex() for tensor in at.values()):
        what = "complex numbers" if total <= MOST else f"{total:,} numbers, at most {MOST:,} by differences"
        raise SpecError(f"the function has {what}; give update=, such as its gradient by jax.grad")


def gradient_by_differences(function: Function, at: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    r"""The gradient by central differences, with steps of :math:`ε^{1/3} \max(1, |w|)`, ε that of the array's format.

    Args:
        function: whose value.
        at: the point, all tensors by name.

    Returns:
        The gradient by name, and how many values it took.

    Raises:
        SpecError: more than :data:`MOST` numbers, or complex ones.
    """
    check_few(at)
    found = {}
    for name, tensor in at.items():
        slopes = torch.zeros(tensor.numel(), dtype=torch.float64)
        flat = tensor.reshape(-1)
        for place, value in enumerate(flat.tolist()):
            ends, heights = [], []
            for sign in (-1.0, 1.0):
                moved = flat.clone()
                moved[place] = value + sign * torch.finfo(flat.dtype).eps ** (1 / 3) * max(1.0, abs(value))
                ends.append(float(moved[place]))
                heights.append(function({**at, name: moved.reshape(tensor.shape)})["loss"])
            slopes[place] = (heights[1] - heights[0]) / (ends[1] - ends[0])
        found[name] = slopes.reshape(tensor.shape)
    return found, 2 * sum(tensor.numel() for tensor in at.values())
