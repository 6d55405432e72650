"""How do nested arrays become tensors by name, and back? The parameters of JAX, NumPy, or anything else.

A tree is what JAX calls a pytree: dicts, lists and tuples of arrays, nested at will, and where JAX is loaded also its
own containers (a FrozenDict, a state of ``flax.nnx``, a module of Equinox). The name of an array is its path from the
top, joined by dots. Arrays of real or complex numbers can be moved; everything else stays as it is.
"""

from __future__ import annotations

import collections
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lossatlas import extras
from lossatlas.errors import SpecError
from lossatlas.expected import described_type
from lossatlas.objective.hashing import is_array

__all__ = ["ALONE", "Tree", "jax"]

ALONE = "parameters"
"""What an array is called that is not part of anything."""

_EXPECTED = 'arrays by name, such as {"w": w, "b": b}, or any nesting of dicts, lists and tuples of arrays'
_FLOATING = {"float16", "float32", "float64", "complex64", "complex128", "bfloat16"}


def jax(purpose: str) -> Any:
    """JAX, or what to install."""
    return extras.require("jax", extra="jax", purpose=purpose)


class Tree:
    """Nested arrays, taken apart and copied, to be put together again with other numbers.

    Args:
        given: the arrays, nested.
        argument: what to call them in messages.

    Attributes:
        tensors: what can be moved, by name; copies.
        still: all else, by name.

    Raises:
        SpecError: something other than arrays, or two arrays of the same name.

    Example:
        >>> tree = Tree({"layer": {"w": np.ones((2, 3)), "steps": 7}, "b": np.zeros(3)})
        >>> {name: tuple(tensor.shape) for name, tensor in tree.tensors.items()}, tree.still
        ({'layer.w': (2, 3), 'b': (3,)}, {'layer.steps': 7})
        >>> tree.joined({"layer.w": torch.zeros(2, 3), "b": torch.ones(3)})["b"]
        array([1., 1., 1.], dtype=float32)
    """

    def __init__(self, given: Any, argument: str = "parameters") -> None:
        self._by_jax = _known_to_jax_alone(given)
        leaves = _by_jax(given) if self._by_jax else _by_hand(given, ())
        self._skeleton = self._mapped(given, iter(range(len(leaves))))
        self._names = [name or ALONE for name, _ in leaves]
        self._backs: dict[str, Callable[[Tensor], Any]] = {}
        self.tensors: dict[str, Tensor] = {}
        self.still: dict[str, Any] = {}
        for name, leaf in zip(self._names, (leaf for _, leaf in leaves), strict=True):
            if name in self.tensors or name in self.still:
                raise SpecError(
                    f"{argument}: two arrays are called {name!r}; rename one of them (names are joined by dots)"
                )
            tensor = _tensor(leaf)
            if tensor is not None:
                self.tensors[name], self._backs[name] = tensor, _back(leaf)
            else:
                self.still[name] = _checked(f"{argument}[{name!r}]" if name != ALONE else argument, leaf)

    @property
    def of_jax(self) -> bool:
        """Whether an array of it is one of JAX."""
        return any(back is _to_jax for back in self._backs.values())

    def joined(self, tensors: Mapping[str, Any], *, convert: bool = True) -> Any:
        """The nested arrays with other numbers in them.

        Args:
            tensors: what replaces :attr:`tensors`, all of them.
            convert: make each the kind of array that was there; otherwise they are put in as they are.

        Returns:
            A new copy of what was given; its arrays share no memory with the tensors.
        """
        found = [
            self.still[name] if name in self.still else self.array(name, tensors[name]) if convert else tensors[name]
            for name in self._names
        ]
        return self._mapped(self._skeleton, iter(found))

    def array(self, name: str, tensor: Tensor) -> Any:
        """One tensor as the kind of array that belongs to its name."""
        return self._backs[name](tensor)

    def _mapped(self, part: Any, leaves: Iterator[Any]) -> Any:
        """The same nesting with other leaves."""
        if self._by_jax:
            return jax("put its containers together").tree_util.tree_map(lambda _: next(leaves), part)
        return _with_leaves(part, leaves)


def _inner(part: Any) -> list[tuple[str, Any]] | None:
    """What a Python container holds, by name; nothing if it is not one."""
    if type(part) in (dict, collections.OrderedDict):
        return [(str(key), value) for key, value in part.items()]
    if isinstance(part, tuple) and hasattr(part, "_fields"):
        return list(zip(part._fields, part, strict=True))
    if type(part) in (list, tuple):
        return [(str(number), value) for number, value in enumerate(part)]
    return None


def _by_hand(part: Any, path: tuple[str, ...]) -> list[tuple[str, Any]]:
    inner = _inner(part)
    if inner is None:
        return [(".".join(path), part)]
    return [leaf for name, value in inner for leaf in _by_hand(value, (*path, name))]


def _with_leaves(part: Any, leaves: Iterator[Any]) -> Any:
    inner = _inner(part)
    if inner is None:
        return next(leaves)
    made = [_with_leaves(value, leaves) for _, value in inner]
    if isinstance(part, dict):
        return type(part)(zip(part, made, strict=True))
    return part._make(made) if hasattr(part, "_make") else type(part)(made)


def _known_to_jax_alone(part: Any) -> bool:
    """Whether something is a container of JAX's, or holds one."""
    inner = _inner(part)
    if inner is not None:
        return any(_known_to_jax_alone(value) for _, value in inner)
    if part is None or is_array(part) or isinstance(part, (bool, int, float, complex, str, bytes, nn.Module)):
        return False
    loaded = sys.modules.get("jax")
    return loaded is not None and not loaded.tree_util.all_leaves([part])


def _by_jax(tree: Any) -> list[tuple[str, Any]]:
    util = jax("take its containers apart").tree_util
    return [(".".join(_words(path)), leaf) for path, leaf in util.tree_flatten_with_path(tree)[0]]


def _words(path: Sequence[Any]) -> list[str]:
    """The path to an array in words; without the last word of ``flax.nnx``, which keeps each array as a ``.value``."""
    found = [str(next(getattr(key, kind) for kind in ("key", "idx", "name") if hasattr(key, kind))) for key in path]
    return found[:-1] if len(found) > 1 and found[-1] == "value" and hasattr(path[-1], "name") else found


def _tensor(leaf: Any) -> Tensor | None:
    """An array or a number as a tensor of its own; nothing if it cannot be moved."""
    if isinstance(leaf, Tensor):
        return leaf.detach().clone() if leaf.is_floating_point() or leaf.is_complex() else None
    if type(leaf) in (float, complex):
        return torch.tensor(leaf, dtype=torch.float64 if type(leaf) is float else torch.complex128)
    if not is_array(leaf) or leaf.dtype.name not in _FLOATING:
        return None
    array = np.array(leaf, order="C")
    if leaf.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(native)


def _back(leaf: Any) -> Callable[[Tensor], Any]:
    """What turns a tensor into the kind of array that was there."""
    if isinstance(leaf, Tensor):
        return torch.clone
    if isinstance(leaf, (float, complex, np.generic)):
        return _to_number
    return _to_numpy if isinstance(leaf, np.ndarray) else _to_jax


def _to_number(tensor: Tensor) -> Any:
    return tensor.cpu().numpy()[()]


def _to_numpy(tensor: Tensor) -> Any:
    if tensor.dtype is torch.bfloat16:  # an array whose numbers come from ml_dtypes
        return tensor.cpu().view(torch.int16).numpy().view("bfloat16").copy()
    return np.array(tensor.cpu().numpy())


def _to_jax(tensor: Tensor) -> Any:
    return jax("make its arrays").numpy.array(_to_numpy(tensor))


def _checked(where: str, leaf: Any) -> Any:
    """What is not moved, if it is something that parameters may hold."""
    if isinstance(leaf, nn.Module):
        raise SpecError(
            f"{where} is {described_type(leaf)}; a torch module is measured by la.Objective(model, data, loss)"
        )
    if getattr(getattr(leaf, "dtype", None), "kind", "") in ("f", "c"):
        raise SpecError(f"{where} is of type {leaf.dtype}; expected one of {', '.join(sorted(_FLOATING))}")
    known = leaf is None or isinstance(leaf, (bool, int, str, bytes, Tensor)) or callable(leaf)
    if not known and not (is_array(leaf) or hasattr(leaf, "dtype")):
        raise SpecError(f"{where} is {described_type(leaf)}; expected {_EXPECTED}")
    return leaf
