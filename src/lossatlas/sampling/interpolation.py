"""What lies between two models? Loss and metrics on the straight line from one to the other."""

from __future__ import annotations

import os
from typing import Any

import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind, check_number, texts
from lossatlas.objective.function import Function, Measurable
from lossatlas.objective.given import check_measurable
from lossatlas.sampling.run import sample
from lossatlas.sampling.samplers import Grid
from lossatlas.space.charts import Plane, Recipe
from lossatlas.space.directions import tensors_of
from lossatlas.space.parameters import difference, norm

__all__ = ["interpolate"]


def interpolate(
    objective: Measurable,
    a: Any,
    b: Any,
    *,
    steps: int = 51,
    x: tuple[float, float] = (0.0, 1.0),
    names: tuple[str, str] = ("the first model", "the second model"),
    run: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Loss and metrics on the straight line between two models: :math:`L((1 - x) θ_a + x θ_b)`.

    Nothing is normalised. BatchNorm statistics follow the objective's ``batchnorm``: with ``"interpolated"`` they move
    along the line, as in the paper.

    Args:
        objective: what is measured.
        a: model or state dict at x = 0; for a Function, parameters nested like its own.
        b: the same at x = 1.
        steps: number of points.
        x: range of the coordinate; beyond 0 and 1 the line goes on.
        names: what both are called in pictures: "SGD → Adam".
        run: run folder, as for :func:`sample`.
        progress: as for :func:`sample`.

    Returns:
        A Landscape with the one dim ``x``.

    Raises:
        SpecError: the models differ in architecture, or are identical.

    Example:
        >>> import torch, lossatlas as la
        >>> a, b = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
        >>> objective = la.Objective(a, (torch.ones(4, 2), torch.ones(4, 1)), loss=torch.nn.functional.mse_loss)
        >>> la.interpolate(objective, a, b, steps=5)["loss"].dims
        ('x',)
    """
    check_measurable(objective)
    check_kind("x", x, (tuple, list), "the ends of the line, such as (0, 1)")
    for end in x:
        check_number("x: an end", end)
    if len(texts("names", names, "what both models are called, such as ('SGD', 'Adam')")) != 2:
        raise SpecError(f"names={names!r}; expected a text for each of both models, such as ('SGD', 'Adam')")
    given = [objective.named(p) if isinstance(objective, Function) else tensors_of(p) for p in (a, b)]
    ends = [{name: tensors[name] for name in objective.origin if name in tensors} for tensors in given]
    direction = difference(ends[1], {**objective.origin, **ends[0]})
    if norm(direction) == 0:
        raise SpecError(
            "a and b have the same weights (their difference has norm zero), so there is no line between them, and no "
            "barrier; pass two different models"
        )
    recipe = Recipe(labels={"x": f"from {names[0]} (0) to {names[1]} (1)"}, by="none")
    plane = Plane({**objective.origin, **ends[0]}, {"x": direction}, recipe)
    return sample(objective, plane, Grid(x=(*x, steps)), run=run, progress=progress)
