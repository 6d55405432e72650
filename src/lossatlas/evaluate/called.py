"""How is a point of a function of arrays evaluated? By calling it for one point, for several, or through JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from lossatlas.errors import SpecError
from lossatlas.evaluate.agreement import TOLERANCE, check_points
from lossatlas.evaluate.evaluator import FAULTS
from lossatlas.evaluate.plain import SHORT
from lossatlas.evaluate.plans import Plan
from lossatlas.objective.function import Function
from lossatlas.objective.trees import jax
from lossatlas.oneline import first_line
from lossatlas.space.charts import Chart, Plane
from lossatlas.space.recipes import Seeded

__all__ = ["Called", "check", "check_together", "plan_of"]


_ADVICE = (
    "JAX follows only what jax.numpy does, without float() and without branches on values: leave calls out to call the "
    "function point by point. If it does not fit into memory, use a smaller at_once"
)


def plan_of(function: Function) -> Plan:
    """How the points of a function are evaluated, for the record."""
    return Plan(name="plain", points=function.at_once)


def check(plan: str | Plan, precision: str, *, standard_error: bool, samples: object) -> None:
    """Check the options of a run whose objective is a function of arrays.

    Raises:
        SpecError: an option needs the model, which a function does not reveal.
    """
    told = {"plan": plan, "precision": precision, "standard_error": standard_error, "samples": samples}
    known: dict[str, tuple[Any, ...]] = {
        "plan": ("auto", "plain"),
        "precision": ("exact",),
        "standard_error": (False,),
        "samples": (None,),
    }
    for argument, got in told.items():
        if got not in known[argument] and not (isinstance(got, Plan) and got.name == "plain"):
            raise SpecError(
                f"{argument}={got!r} needs a torch module and its data, but a lossatlas.Function shows neither; leave "
                f"{argument} out. The number of points in a call is set with la.Function(…, calls=…, at_once=…)"
            )


def check_together(way: Called, axes: Mapping[str, np.ndarray]) -> None:
    """Check that a point has the same value among others as alone, if a call has several.

    Args:
        way: how points are evaluated.
        axes: coordinates of every axis that will be visited, in the order of the chart.

    Raises:
        SpecError: it differs: values are in another order than the points, or depend on each other.
    """
    if way.function.at_once == 1:
        return
    points = check_points(axes)
    try:
        way.values(np.zeros((1, len(axes))))
    except FAULTS as fault:  # while the function itself, called for one point, has a value
        said = f"{type(fault).__name__}: {first_line(fault)}" if str(fault) else type(fault).__name__
        raise SpecError(
            f"calls={way.function.calls!r}: the centre has a value on its own, but none among other points ({said}). "
            f"{_ADVICE}"
        ) from fault
    try:
        together = way.values(points)
        alone = {row: way.values(points[row : row + 1])[0] for row in (1, 3)}
    except SpecError:
        raise
    except FAULTS:  # points that fail are found one by one, and kept as failed
        return
    for row, values in alone.items():
        if not np.allclose(values, together[row], rtol=TOLERANCE, atol=0, equal_nan=True):
            where = ", ".join(f"{axis} = {number:g}" for axis, number in zip(axes, points[row], strict=True))
            raise SpecError(
                f"calls={way.function.calls!r}: at {where} the loss is {together[row][0]:.9g} among other points and "
                f"{values[0]:.9g} on its own. Values must come in the order of the points, and none may depend on the "
                "points beside it"
            )


class Called:
    """Evaluates points of a chart by calling a function of arrays.

    Through ``vmap`` the points of a plane are made where JAX computes, from the origin and the directions, which are
    sent there once; the last block is filled up with its own last point, so that one compiled program serves all.

    Args:
        function: what is measured.
        chart: where.
        at_once: points of a call; by default as the function says.

    Raises:
        SpecError: the chart moves arrays that the function lacks.
    """

    def __init__(self, function: Function, chart: Chart, at_once: int | None = None) -> None:
        self.function = function
        self.chart = chart
        self._at_once = at_once or function.at_once
        self._block: Callable[[np.ndarray], np.ndarray] = self._listed
        if isinstance(chart, Plane):
            strangers = [name for name in chart.origin if name not in function.origin]
            if strangers:
                raise SpecError(f"plane: its tensor {strangers[0]!r} is not among the parameters of the function")
        if function.calls == "vmap":
            self._block = self._mapped
            self._traced = _traced(function, chart)

    def close(self) -> None:
        """Nothing is held."""

    def values(self, coordinates: np.ndarray) -> np.ndarray:
        """The values at some points.

        Args:
            coordinates: float64 [n, k], in the order of the chart's axes.

        Returns:
            float64 [n, number of values].
        """
        starts = range(0, len(coordinates), self._at_once)
        return np.concatenate([self._block(coordinates[start : start + self._at_once]) for start in starts])

    def _listed(self, coordinates: np.ndarray) -> np.ndarray:
        points = [self.chart.at(dict(zip(self.chart.axes, row.tolist(), strict=True))) for row in coordinates]
        return self.function.values(points)

    def _mapped(self, coordinates: np.ndarray) -> np.ndarray:
        missing = self._at_once - len(coordinates)
        filled = np.concatenate([coordinates, np.repeat(coordinates[-1:], missing, axis=0)])
        found = self._traced(filled)
        return self.function.table(found, self._at_once)[: len(coordinates)]


def _traced(function: Function, chart: Chart) -> Callable[[np.ndarray], Any]:
    """The function over several points at once, compiled: coordinates [n, k] -> n numbers, or n numbers by name."""
    library = jax("evaluate several points at once (calls='vmap')")
    double = [name for name, tensor in function.origin.items() if tensor.dtype in (torch.float64, torch.complex128)]
    if double and not library.config.jax_enable_x64:
        raise SpecError(
            f"calls='vmap': {double[0]!r} is in double precision, which JAX would cut to single; allow it with "
            "jax.config.update('jax_enable_x64', True) at the beginning of the program, or give float32 arrays"
        )
    if isinstance(chart, Plane) and not any(isinstance(one, Seeded) for one in chart.directions.values()):
        return _on_plane(library, function, chart)
    over_trees = library.jit(library.vmap(lambda arrays: function.loss(function.tree.joined(arrays, convert=False))))

    def anywhere(coordinates: np.ndarray) -> Any:
        points = [chart.at(dict(zip(chart.axes, row.tolist(), strict=True))) for row in coordinates]
        filled = [{**function.origin, **point} for point in points]
        stacked = {
            name: library.numpy.stack([function.tree.array(name, point[name]) for point in filled])
            for name in function.origin
        }
        return over_trees(stacked)

    return anywhere


def _on_plane(library: Any, function: Function, plane: Plane) -> Callable[[np.ndarray], Any]:
    """The same on a plane: only coordinates travel."""
    array = function.tree.array
    base = {name: array(name, plane.origin.get(name, tensor)) for name, tensor in function.origin.items()}
    steps = [
        {name: library.numpy.asarray(tensor.cpu().numpy()) for name, tensor in direction.items()}
        for direction in plane.directions.values()
    ]
    short = {name for name, tensor in function.origin.items() if tensor.dtype in SHORT}

    def at(base: Any, steps: Any, coordinates: Any) -> Any:
        point = dict(base)
        for number, direction in enumerate(steps):
            for name, step in direction.items():
                wide = point[name].astype("float32") if name in short else point[name]
                point[name] = wide + coordinates[number].astype(_real_of(wide.dtype)) * step.astype(wide.dtype)
        for name in short & point.keys():  # a compiler may drop a rounding that the next line would undo
            format_ = library.numpy.finfo(base[name].dtype)
            wide = library.lax.reduce_precision(point[name].astype("float32"), format_.nexp, format_.nmant)
            point[name] = wide.astype(base[name].dtype)
        return function.loss(function.tree.joined(point, convert=False))

    over_points = library.jit(library.vmap(at, in_axes=(None, None, 0)))
    return lambda coordinates: over_points(base, steps, coordinates)


def _real_of(dtype: Any) -> str:
    """The format of the real numbers that go with an array's."""
    return {"complex64": "float32", "complex128": "float64"}.get(str(dtype), str(dtype))
