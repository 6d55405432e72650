r"""How do coordinates move the inputs while the weights stay? In the plane of the papers on adversarial robustness.

.. math:: L(α, β) = \frac{1}{N} \sum_i ℓ(f_θ(x_i + α d_i + β e_i), y_i)

Every example has directions of its own; the coordinates are shared. One example gives a picture of its own loss,
several the mean of theirs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_kind
from lossatlas.objective import Objective
from lossatlas.objective.given import check_objective
from lossatlas.objective.part import taken
from lossatlas.oneline import number_of
from lossatlas.space import input_ways as ways
from lossatlas.space.charts import Plane, Recipe
from lossatlas.space.examples import another, by_axis, by_batch, check_asked, checked_clamp, numbers
from lossatlas.space.input_ways import Norm
from lossatlas.space.shifting import NAME, Moved, Place, Shifted, Sized

__all__ = ["Examples", "InputPlane", "Norm", "within"]

Examples = int | Sequence[int] | None
"""Which examples: a number in the data, several of them, or all."""


class InputPlane:
    r"""A line, a plane or a volume of inputs: :math:`x_i + \sum_a c_a d_{a,i}`, the same c for every example i.

    It is a chart like any other: ``la.sample(objective, plane, la.Grid(...))``. What varies is the input, or the output
    of a layer such as a token embedding. The weights stay fixed, and BatchNorm uses its trained statistics. Source:
    Goodfellow et al. 2015 (arXiv 1412.6572, section 4) for the gradient sign, Liu et al. 2017 (arXiv 1611.02770) for
    planes with a second direction.

    Args:
        objective: the Objective whose data contain the examples; its targets stay.
        directions: by name of the axis, one to three, each a tensor [n, …] with a row for each example, or a list with
            a tensor for each batch, shaped like what is moved.
        examples: their numbers in the data, counted from 0; by default all of the data.
        layer: name of a module whose output is moved, such as a token embedding; by default the first input of floating
            point is moved.
        clamp: lowest and highest valid entry of an input, such as ``(0, 1)``: what lies outside is set to the nearest
            end. The plane is then bent, and the caption says so.
        recipe: how the directions were made, for the record.

    Attributes:
        examples: the numbers of the examples, or None for all.
        place: what is moved.
        clamp: as given.
        inputs: the plane in the space of the inputs of all examples, a tensor for each batch.
        rows: how many examples there are.

    Raises:
        SpecError: a direction does not fit, is zero, or is parallel to another; the data lack an example; or the
            objective cannot be used this way.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[2.0, -1.0]]))
        >>> data = torch.tensor([[1.0, 1.0]]), torch.zeros(1, 1)
        >>> objective = Objective(model, data, torch.nn.functional.l1_loss)
        >>> plane = InputPlane.adversarial(objective)
        >>> plane.moved({"x": 0.5})[0].tolist()
        [[1.5, 0.5]]
    """

    def __init__(
        self,
        objective: Objective,
        directions: Mapping[str, Tensor | Sequence[Tensor]],
        *,
        examples: Examples = None,
        layer: str = "",
        clamp: tuple[float, float] | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        check_objective(objective)
        check_kind("directions", directions, Mapping, 'tensors by axis, such as {"x": torch.randn_like(x)}')
        self.examples = numbers(examples)
        self.place = Place(layer=layer)
        self.clamp = checked_clamp(clamp, layer)
        part = self.chosen(objective)
        origin = {str(number): tensor for number, tensor in enumerate(ways.moved(part, self.place))}
        given = {axis: by_batch(axis, way, list(origin.values())) for axis, way in directions.items()}
        self.rows = sum(len(tensor) for tensor in origin.values())
        self.inputs = Plane(origin, given, recipe or Recipe(by="none"))

    def __repr__(self) -> str:
        """Its axes, what is moved, and how far a step goes."""
        place, size = self.place.layer or "the input", number_of(self.rows, "example")
        lengths = ", ".join(f"{axis}: length {length:.4g}" for axis, length in self.lengths.items())
        return f"InputPlane({', '.join(self.axes)}) of {place}, {size}; {lengths}"

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the axes, in order."""
        return self.inputs.axes

    @property
    def recipe(self) -> Recipe:
        """How the directions were made."""
        return self.inputs.recipe

    @functools.cached_property
    def lengths(self) -> dict[str, float]:
        """Euclidean norm of each direction: of one example, or the root mean square over several."""
        return {axis: length / math.sqrt(self.rows) for axis, length in self.inputs.lengths.items()}

    @property
    def cosines(self) -> dict[str, float]:
        """The cosine between each pair of directions, over all examples."""
        return self.inputs.cosines

    def at(self, coordinates: Mapping[str, float]) -> dict[str, Tensor]:
        """The coordinates as the one tensor that moves.

        Returns:
            By name, float64 [k].
        """
        return {NAME: torch.tensor([float(coordinates.get(a, 0.0)) for a in self.axes], dtype=torch.float64)}

    def moved(self, coordinates: Mapping[str, float]) -> list[Tensor]:
        """What the model is given at a point: the inputs of the examples, or the outputs of the layer.

        Returns:
            A tensor for each batch.
        """
        found = self.inputs.at(coordinates).values()
        return [tensor if self.clamp is None else tensor.clamp(*self.clamp) for tensor in found]

    def reach(self, coordinates: Mapping[str, float], norm: Norm = "inf") -> float:
        """How far the farthest example is moved at a point, in a norm.

        Returns:
            The distance, after clamping.
        """
        pairs = zip(self.moved(coordinates), self.inputs.origin.values(), strict=True)
        return max(float(ways.norms(new - old, norm).max()) for new, old in pairs)

    def chosen(self, objective: Objective) -> Objective:
        """The objective on the examples only.

        Returns:
            An objective that shares the model.

        Raises:
            SpecError: it lacks an example, or cannot be evaluated on moving inputs.
        """
        check_asked(objective)
        if self.examples is None:
            return objective
        worst = max(self.examples)
        if worst >= objective.samples:
            raise SpecError(f"examples: number {worst} of {objective.samples} samples; they are counted from 0")
        return taken(objective, np.array(self.examples))

    def subject(self, objective: Objective) -> Objective:
        """The same measurement as a function of the coordinates, for any model and metrics on the same data.

        Returns:
            An objective whose model holds the coordinates beside the network.

        Raises:
            SpecError: the examples of this objective have other shapes.
        """
        part = self.chosen(objective)
        shapes = [tensor.shape for tensor in ways.moved(part, self.place)]
        own = [tensor.shape for tensor in self.inputs.origin.values()]
        if shapes != own:
            raise SpecError(
                f"chart: its examples have the shapes {[tuple(s) for s in own]}, but those of the objective "
                f"{[tuple(s) for s in shapes]}; make the InputPlane from this objective's data"
            )
        steps = [[way[name] for way in self.inputs.directions.values()] for name in self.inputs.origin]
        size = Sized(objective.size) if callable(objective.size) else objective.size
        made = Objective(
            Moved(part.model, len(self.axes)),
            list(zip(part.batches, steps, strict=True)),
            part.loss,
            metrics=part.metrics,
            forward=Shifted(part.forward, self.place, self.clamp),
            device=part.device,
            autograd=part.autograd,
            size=size,
            name=part.name,
            data_name=part.data_name,
        )
        made.mean_checked = part.mean_checked
        return made

    @functools.cached_property
    def line(self) -> Plane:
        """The plane of the coordinates themselves: where the objective of :meth:`subject` is evaluated."""
        size = len(self.axes)
        double = any(tensor.dtype == torch.float64 for tensor in self.inputs.origin.values())
        unit = torch.eye(size, dtype=torch.float64 if double else torch.float32)
        return Plane({NAME: torch.zeros_like(unit[0])}, {a: {NAME: unit[i]} for i, a in enumerate(self.axes)})

    @classmethod
    def adversarial(
        cls,
        objective: Objective,
        *,
        examples: Examples = None,
        norm: Norm = "inf",
        seed: int = 0,
        axes: Sequence[str] = ("x", "y"),
        layer: str = "",
        clamp: tuple[float, float] | None = None,
    ) -> InputPlane:
        r"""The steepest ascent for each example, with random directions beside it.

        In the maximum norm the steepest ascent is the sign of the gradient, :math:`\operatorname{sign} ∇_x ℓ_i`, and
        the random ones have entries ±1 (Rademacher); in the Euclidean norm they are :math:`∇_x ℓ_i / ‖∇_x ℓ_i‖` and
        Gaussian directions of norm 1. A coordinate is then the distance in that norm, as ε in the papers.

        Args:
            objective: whose loss rises.
            examples: as for :class:`InputPlane`.
            norm: "inf" or "2".
            seed: of the random directions.
            axes: one to three names; the first is the steepest ascent.
            layer: as for :class:`InputPlane`.
            clamp: as for :class:`InputPlane`.

        Returns:
            The plane. Its label says for how many examples the gradient is zero; these do not move along it.

        Raises:
            SpecError: the gradient is zero for every example, or not finite, or the norm is unknown.
        """
        part, place = _begun(cls, objective, examples, layer, norm)
        found, zeros = ways.steepest(part, place, norm)
        words = "gradient sign" if norm == "inf" else "gradient"
        total = sum(len(tensor) for tensor in found)
        label = f"{words} (zero for {zeros} of {total} examples)" if zeros else words
        given = ways.beside({axes[0]: found}, part, place, axes[1:], seed, norm)
        labels = {axes[0]: label} | dict.fromkeys(axes[1:], ways.RANDOM[norm])
        recipe = Recipe(labels=labels, seed=seed if len(axes) > 1 else None, by=ways.BY[norm])
        return cls(objective, given, examples=examples, layer=layer, clamp=clamp, recipe=recipe)

    @classmethod
    def random(
        cls,
        objective: Objective,
        *,
        examples: Examples = None,
        norm: Norm = "inf",
        seed: int = 0,
        axes: Sequence[str] = ("x", "y"),
        layer: str = "",
        clamp: tuple[float, float] | None = None,
    ) -> InputPlane:
        """Random directions only: entries ±1 for the maximum norm, Gaussian of norm 1 for the Euclidean one.

        Args:
            objective: whose data the examples are.
            examples: as for :class:`InputPlane`.
            norm: "inf" or "2".
            seed: each axis draws from a stream of its own.
            axes: one to three names.
            layer: as for :class:`InputPlane`.
            clamp: as for :class:`InputPlane`.

        Returns:
            The plane.

        Raises:
            SpecError: an unknown norm.
        """
        part, place = _begun(cls, objective, examples, layer, norm)
        given = ways.beside({}, part, place, axes, seed, norm)
        recipe = Recipe(labels=dict.fromkeys(axes, ways.RANDOM[norm]), seed=seed, by=ways.BY[norm])
        return cls(objective, given, examples=examples, layer=layer, clamp=clamp, recipe=recipe)

    @classmethod
    def towards(
        cls,
        objective: Objective,
        *others: Tensor | int,
        examples: Examples = None,
        axes: Sequence[str] = ("x", "y", "z"),
        names: Sequence[str] = (),
        layer: str = "",
        clamp: tuple[float, float] | None = None,
    ) -> InputPlane:
        """The line, plane or volume through each example and one, two or three other inputs, which lie at 1.

        Args:
            objective: whose data the examples are.
            others: each is the number of an example in the data, towards which all move; or a tensor shaped like what
                is moved, with a row for each example, [n, …], or a single input.
            examples: as for :class:`InputPlane`.
            axes: names of the axes.
            names: what to call the others in pictures; by default an example by its number.
            layer: as for :class:`InputPlane`.
            clamp: as for :class:`InputPlane`.

        Returns:
            The plane; nothing is normalised. The targets are those of the moving examples, even at 1.

        Raises:
            SpecError: an input has another shape or is the same, or the data lack an example.

        Example:
            >>> data = torch.tensor([[1.0, 1.0], [3.0, 0.0]]), torch.zeros(2, 1)
            >>> objective = Objective(torch.nn.Linear(2, 1), data, torch.nn.functional.mse_loss)
            >>> plane = InputPlane.towards(objective, 1, examples=0)
            >>> plane.moved({"x": 0.5})[0].tolist(), plane.recipe.labels["x"]
            ([[2.0, 0.5]], 'towards example 1')
        """
        part, place = _begun(cls, objective, examples, layer, "inf")
        given = by_axis("others", others, axes)
        called = [*names, *[another(other) for other in others][len(names) :]]
        labels = {axis: f"towards {name}" for axis, name in zip(given, called, strict=False)}
        found = {}
        for axis, other in given.items():
            one = None if isinstance(other, Tensor) else _begun(cls, objective, other, layer, "inf")[0]
            found[axis] = ways.towards(part, place, other if one is None else ways.moved(one, place)[0][0])
        recipe = Recipe(labels=labels, by="none")
        return cls(objective, found, examples=examples, layer=layer, clamp=clamp, recipe=recipe)

    @classmethod
    def tokens(
        cls,
        objective: Objective,
        *tokens: int,
        layer: str,
        position: int,
        examples: Examples = None,
        axes: Sequence[str] = ("x", "y", "z"),
        names: Sequence[str] = (),
    ) -> InputPlane:
        """From the embedding of the token at a position to those of other tokens, which lie at 1.

        Args:
            objective: whose data the examples are.
            tokens: numbers of one to three tokens.
            layer: name of the embedding (a module with a ``weight`` [tokens, width], called on token numbers).
            position: of the token in the sequence; negative ones count from the end.
            examples: as for :class:`InputPlane`.
            axes: names of the axes.
            names: what to call the tokens in pictures; by default their numbers.

        Returns:
            The plane; nothing is normalised.

        Raises:
            SpecError: there is no such layer, token or position, or the token is already there.
        """
        part, place = _begun(cls, objective, examples, layer, "inf")
        given = by_axis("tokens", tokens, axes)
        called = [*names, *(f"token {token}" for token in tokens[len(names) :])]
        labels = {axis: f"towards {name} at position {position}" for axis, name in zip(given, called, strict=False)}
        found = {axis: ways.to_token(part, place, token, position) for axis, token in given.items()}
        return cls(objective, found, examples=examples, layer=layer, recipe=Recipe(labels=labels, by="none"))


def within(objective: Any, chart: Any) -> tuple[Any, Any]:
    """What is evaluated where: for an :class:`InputPlane` its own objective and coordinates; else both as they are.

    Returns:
        The objective and the chart.
    """
    if isinstance(chart, InputPlane):
        return chart.subject(objective), chart.line
    return objective, chart


def _begun(
    cls: type[InputPlane], objective: Objective, examples: Examples, layer: str, norm: str
) -> tuple[Objective, Place]:
    """The examples, and which part of them is moved, before there are directions."""
    check_objective(objective)
    if norm not in get_args(Norm):
        raise SpecError(unknown("norm", norm, get_args(Norm)))
    bare = cls.__new__(cls)
    bare.examples = numbers(examples)
    return bare.chosen(objective), Place(layer=layer)
