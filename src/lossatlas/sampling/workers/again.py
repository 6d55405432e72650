"""Which parts of the work are recreated at a worker rather than sent? Random directions, and what was read from a file.

The parcel holds the seed and options of a direction, and the file and number of a tensor that came from one, each with
a hash of the bytes that must result. A worker that gets other bytes, or none, says so, and is then sent the content.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from lossatlas.objective import Objective
from lossatlas.objective.hashing import fingerprint
from lossatlas.objective.sources import Source, UnmadeError, content_of, read_again, source_of
from lossatlas.space.directions import Drawn, random

__all__ = ["Made", "pickler_of"]


class Made:
    """What a parcel says about the content that is made again.

    Args:
        subject: what is measured, from which directions are drawn at the worker too.

    Attributes:
        number: of tensors that do not travel.
    """

    def __init__(self, subject: Any) -> None:
        self._subject = subject
        self._model = subject.model if isinstance(subject, Objective) else subject
        self._kept: dict[tuple[str, int], tuple[Tensor, _Read | None]] = {}
        self.number = 0

    def instead(self, given: Any) -> Any:
        """How an object is made again, in the form of ``__reduce__``; NotImplemented if it travels itself."""
        if isinstance(given, Drawn) and self._draws_from(given):
            self.number += len(given)
            expected = {name: fingerprint(tensor) for name, tensor in given.items()}
            return _drawn_again, (self._subject, given.how, expected)
        if type(given) is not Tensor or given.layout != torch.strided or given.requires_grad:
            return NotImplemented
        if given.is_quantized or given.is_conj() or given.is_neg() or given.device.type not in ("cpu", "cuda"):
            return NotImplemented
        if (read := self._read(given)) is None:
            return NotImplemented
        self.number += 1
        place = given.storage_offset(), tuple(given.size()), given.stride()
        return _laid_out, (read, given.dtype, str(given.device), place)

    def _draws_from(self, given: Drawn) -> bool:
        """Whether a direction was drawn for the very network that travels, and holds plain tensors."""
        origin = given.origin.model if isinstance(given.origin, Objective) else given.origin
        return origin is not None and origin is self._model and all(type(t) is Tensor for t in given.values())

    def _read(self, given: Tensor) -> _Read | None:
        """The memory of a tensor as something readable, one object for all tensors that share it."""
        at = str(given.device), given.untyped_storage().data_ptr()
        if at not in self._kept:
            content = content_of(given)
            found = source_of(content)
            self._kept[at] = content, None if found is None else _Read(*found, fingerprint(content))
        return self._kept[at][1]


class _Read:
    """The bytes of a tensor of a source; unpickling reads them."""

    def __init__(self, source: Source, number: int, expected: bytes) -> None:
        self._what = source, number, expected

    def __reduce__(self) -> tuple[Any, ...]:
        return read_again, self._what


def _laid_out(content: Tensor, dtype: torch.dtype, device: str, place: tuple[int, Any, Any]) -> Tensor:
    """A tensor in memory that was read again; those that shared it do so again."""
    there = content.to(device).untyped_storage()
    return torch.empty(0, dtype=dtype, device=device).set_(there, *place)


def _drawn_again(subject: Any, how: Mapping[str, Any], expected: Mapping[str, bytes]) -> dict[str, Tensor]:
    try:
        found = random(subject, **how)
    except Exception as fault:  # whatever another version of a library raises
        raise UnmadeError(f"direction {how}: {type(fault).__name__}: {fault}") from fault
    if {name: fingerprint(tensor) for name, tensor in found.items()} != expected:
        raise UnmadeError(f"direction {how} comes out differently here")
    return found


def pickler_of(library: Any, made: Made) -> ModuleType:
    """A module like ``pickle`` whose pickler leaves out what is made again.

    Args:
        library: ``pickle`` or ``cloudpickle``.
        made: what may be left out.

    Returns:
        The module, for ``torch.save``.
    """

    class Pickler(library.Pickler):  # type: ignore[misc]
        def reducer_override(self, given: Any) -> Any:
            found = made.instead(given)
            above = getattr(super(), "reducer_override", None)
            return above(given) if found is NotImplemented and above is not None else found

    module = ModuleType("pickle_again")
    module.Pickler = Pickler  # type: ignore[attr-defined]
    return module
