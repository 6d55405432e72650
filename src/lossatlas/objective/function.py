"""What is measured at a point if there is no torch module? Any function of named arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_kind, described_type
from lossatlas.objective.hashing import fingerprint, is_array
from lossatlas.objective.objective import Objective
from lossatlas.objective.reduction import name_of
from lossatlas.objective.trees import Tree, jax
from lossatlas.oneline import number_of
from lossatlas.results.landscape import Count

__all__ = ["CALLS", "LAYOUTS", "Calls", "Function", "Measurable"]

Calls = Literal["one", "many", "vmap"]
CALLS: tuple[str, ...] = get_args(Calls)

LAYOUTS = ("auto", "first", "last")
"""What ``layout=`` takes, besides a rule."""

_DEVICES = {"gpu": "cuda", "cuda": "cuda", "rocm": "cuda", "tpu": "xla"}


class Function:
    r"""A function :math:`L(θ)` of named arrays, to be sampled like an :class:`~lossatlas.Objective`.

    The parameters may come from JAX (Flax, Haiku, Equinox), from NumPy, or from any library that takes arrays; the
    function decides what is done with them. It gets them as they were given, in the same containers and as the same
    kind of array but with other numbers, and may do whatever it likes with them: they are copies.

    Args:
        loss: ``parameters -> number``, or ``-> {"loss": number, "error": number, …}`` for more than one value. It must
            be a function: the same parameters give the same value. With ``calls="many"`` it takes a list of parameters
            and returns a value for each, like an engine that serves many at once.
        parameters: the origin: arrays by name, or any nesting of dicts, lists and tuples of arrays, or a pytree of JAX.
            Arrays of real or complex numbers can move; whole numbers, texts and the like stay as they are.
        calls: how ``loss`` is called. ``"one"``: with one point. ``"many"``: with a list of up to ``at_once`` points.
            ``"vmap"``: with one point, through ``jax.jit(jax.vmap(…))`` over ``at_once`` points; they are made on the
            device from the directions.
        at_once: how many points a call may have; memory limits how many fit.
        layout: which axis of an array numbers the filters, for ``by="filter"``: ``"last"`` (inputs times kernel, as in
            Flax, Haiku and Keras), ``"first"`` (weight times inputs, as in PyTorch and Equinox), ``"auto"`` (by the
            names that these libraries give), or a rule ``(name, tensor) -> la.filters.Layout``; see
            :mod:`lossatlas.space.filters.named`.
        samples: how many samples the loss is a mean over, for captions.
        name: what to call the function in pictures.
        data_name: what to call its data in pictures.

    Attributes:
        origin: what can move, as tensors by name; a name is the path through the nesting, joined by dots.
        names: of the values at a point, the loss first.

    Raises:
        SpecError: an argument makes no sense; the message names it.

    Example:
        >>> bowl = Function(lambda p: (p["w"] ** 2).sum(), {"w": np.array([3.0, 4.0])})
        >>> bowl(), bowl({"w": np.zeros(2)})
        ({'loss': 25.0}, {'loss': 0.0})
    """

    in_place = False
    derived: tuple[str, ...] = ()
    training = False
    batchnorm_words = ""

    def __init__(
        self,
        loss: Callable[[Any], Any],
        parameters: Any,
        *,
        calls: Calls = "one",
        at_once: int = 16,
        layout: str | Callable[[str, Tensor], Any] = "auto",
        samples: int = 0,
        name: str | None = None,
        data_name: str = "",
    ) -> None:
        if not callable(loss):
            raise SpecError(
                f"loss is {described_type(loss)}; expected a function of the parameters that gives a number"
            )
        if calls not in CALLS:
            raise SpecError(unknown("calls", calls, CALLS))
        if not callable(layout) and layout not in LAYOUTS:
            raise SpecError(unknown("layout", layout, LAYOUTS) + ", or give a rule (name, tensor) -> la.filters.Layout")
        for argument, number, least in (("at_once", at_once, 1), ("samples", samples, 0)):
            if not isinstance(number, int) or isinstance(number, bool) or number < least:
                raise SpecError(f"{argument}={number!r}; expected a whole number of at least {least}")
        for argument, words in (("name", name), ("data_name", data_name)):
            check_kind(argument, words, (str, type(None)), "a text")
        self.loss, self.calls, self.layout, self.samples = loss, calls, layout, samples
        self.at_once = 1 if calls == "one" else at_once
        self.tree = Tree(parameters)
        if not self.tree.tensors:
            raise SpecError("parameters has no array of real or complex numbers, so there is nothing to move")
        self.origin: Mapping[str, Tensor] = self.tree.tensors
        self.name = name or name_of(inspect.unwrap(loss))
        self.data_name = data_name
        self.device = torch.device(_device(parameters) if self.tree.of_jax else "cpu")
        self.counts: dict[str, Count] = {}
        held = {
            at: repr(leaf) if not is_array(leaf) else leaf for at, leaf in self.tree.still.items() if not callable(leaf)
        }
        self.fingerprint = fingerprint(
            [sorted(self.origin), *(self.origin[at] for at in sorted(self.origin)), held]
        ).hex()
        self._names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """What the function depends on."""
        return f"Function({self.name}: {self.kind})"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all values at a point, the loss first; the first call of the function tells them."""
        if not self._names:
            self()
        return self._names

    @property
    def kind(self) -> str:
        """What the function depends on, in words."""
        count = sum(tensor.numel() for tensor in self.origin.values())
        arrays = number_of(len(self.origin), "array")
        return f"function of {arrays}{' of JAX' if self.tree.of_jax else ''}, {count:,} numbers"

    def __call__(self, params: Any = None) -> dict[str, float]:
        """The values at a point.

        Args:
            params: arrays or tensors by name, or nested like the parameters; anything left out stays at the origin.

        Returns:
            Values by name, the loss first.

        Raises:
            SpecError: the parameters lack a name or shape, or a value is not a number.
        """
        row = self.values([self.origin if params is None else self.named(params)])[0]
        return dict(zip(self._names, row.tolist(), strict=True))

    def values(self, points: Sequence[Mapping[str, Tensor]]) -> np.ndarray:
        """The values at some points, at most :attr:`at_once`, without ``vmap``.

        Args:
            points: tensors by name; what is left out stays at the origin.

        Returns:
            float64 [n, number of values].

        Raises:
            SpecError: the function gives something other than a value for each point.
        """
        arrays = [self.arrays(point) for point in points]
        if self.calls == "many":
            return self.table(self.loss(arrays), len(arrays))
        return np.concatenate([self.table(_alone(self.loss(one)), 1) for one in arrays])

    def table(self, found: Any, count: int) -> np.ndarray:
        """What the function gave for some points, as float64 [n, number of values].

        Args:
            found: a sequence of numbers or of numbers by name, an array, or arrays by name.
            count: how many points there were.

        Returns:
            A row for each point.

        Raises:
            SpecError: it is something else.
        """
        if isinstance(found, (list, tuple)) and found and all(isinstance(one, Mapping) for one in found):
            if any(one.keys() != found[0].keys() for one in found):
                raise SpecError("loss: the points have values of different names; expected the same at each")
            found = {name: [one[name] for one in found] for name in found[0]}
        columns = dict(found) if isinstance(found, Mapping) else {"loss": found}
        if "loss" not in columns:
            raise SpecError(f"loss returned numbers by name, {list(columns)}; expected one called 'loss' among them")
        names = ("loss", *(str(name) for name in columns if name != "loss"))
        self._names = self._names or names
        if names != self._names:
            raise SpecError(f"loss returned {list(names)}; at the first point it was {list(self._names)}")
        return np.stack([_numbers(name, columns[name], count) for name in names], axis=1)

    def arrays(self, params: Mapping[str, Tensor]) -> Any:
        """A point as the function gets it.

        Args:
            params: tensors by name, such as ``plane.at({"x": 0.5})``; what is left out stays at the origin.

        Returns:
            The parameters, nested as they were given, with these numbers.

        Raises:
            SpecError: a name or a shape that the parameters do not have.
        """
        for name, tensor in params.items():
            if name not in self.origin or self.origin[name].shape != tensor.shape:
                has = (
                    f"shape {tuple(self.origin[name].shape)}"
                    if name in self.origin
                    else f"one of {list(self.origin)[:5]} …"
                )
                raise SpecError(f"params[{name!r}] has shape {tuple(tensor.shape)}; expected {has}")
        return self.tree.joined({**self.origin, **params})

    def named(self, given: Any) -> Mapping[str, Tensor]:
        """A point or a direction as tensors by name, which is how planes and trajectories take it.

        Args:
            given: nested like the parameters, or a part of them; or arrays or tensors by name.

        Returns:
            Tensors by name.

        Raises:
            SpecError: something else, or a name that the parameters lack.
        """
        if isinstance(given, Mapping) and given and all(name in self.origin for name in given):
            if all(isinstance(given[name], Tensor) for name in (given if isinstance(given, dict) else list(given)[:1])):
                return given  # a direction may make its tensors on demand
            given = dict(given)
        found = Tree(given, "params").tensors
        for name in found:
            if name not in self.origin:
                raise SpecError(f"params has {name!r}, which the parameters lack; they have {list(self.origin)[:5]} …")
        return found


Measurable = Objective | Function
"""What has a value at every point of parameter space."""


def _alone(value: Any) -> Any:
    """What a function gave for one point, as if it had been asked for a list of one."""
    if isinstance(value, Mapping):
        return {name: [one] for name, one in value.items()}
    return [value]


def _numbers(name: str, found: Any, count: int) -> np.ndarray:
    if isinstance(found, (str, bytes)) or found is None:
        raise SpecError(f"loss returned {described_type(found)} for {name!r}; expected a number for each point")
    parts = [found] if is_array(found) else list(found) if isinstance(found, Sequence) else [found]
    try:
        arrays = [np.asarray(part.detach().cpu() if isinstance(part, Tensor) else part) for part in parts]
        flat = np.concatenate([_real(array).reshape(-1) for array in arrays]) if arrays else np.empty(0)
    except (TypeError, ValueError) as fault:
        raise SpecError(
            f"loss returned {described_type(parts[0])} for {name!r}; expected a number ({fault})"
        ) from fault
    if len(flat) != count:
        shape = f"an array of shape {arrays[0].shape}" if len(arrays) == 1 else f"{len(flat)} values"
        advice = "a number: take the mean" if count == 1 else f"{count}, a value for each point"
        raise SpecError(f"loss returned {shape} for {name!r}; expected {advice}")
    return flat


def _real(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "c" or array.dtype.kind in "OSUMm":
        raise TypeError(f"it is of type {array.dtype}")
    return array.astype(np.float64)


def _device(parameters: Any) -> str:
    """The kind of device of the first array of JAX, as torch calls it."""
    found: list[str] = []

    def look(part: Any) -> None:
        devices = getattr(part, "devices", None)
        if callable(devices) and not found:
            found.extend(_DEVICES.get(one.platform, "cpu") for one in devices())

    jax("look at its arrays").tree_util.tree_map(look, parameters)
    return found[0] if found else "cpu"
