"""Which tensors of a checkpoint belong to which of a model? Found by comparing names, whatever precedes them.

A tensor's full name in a file is its keys and its own name, joined by dots. Whatever can be removed in front of the
model's names, for all of them alike, is the prefix: ``state_dict.``, ``model.``, ``ema.module.`` and so on. Nothing is
guessed: if two prefixes fit with different values, both are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.objective.contents import TRAINING, Contents, Entry
from lossatlas.objective.wrappers import SEGMENTS, plain_name, plain_names, unwrapped
from lossatlas.oneline import one_line

__all__ = ["Match", "lacking", "match", "places", "some"]

_MEASURES = re.compile(r"^(.*_)?(loss|losses|criterion|criteria|metrics?)(_fn|_fct|_func|_function)?\d*$")
"""Submodules that measure, which no forward pass to the outputs reads."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """The part of a checkpoint that belongs to a model.

    Attributes:
        found: tensors by the model's names.
        key: the keys that were removed.
        prefix: what was then removed from the names.
        extra: entries among the found ones for which the model has no place.
        beside: entries of the same dictionary with another prefix.
        measures: those that belong to a loss or a metric, or count the steps of the training.
    """

    found: Mapping[str, Tensor]
    key: str = ""
    prefix: str = ""
    extra: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()

    __repr__ = one_line


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """The entries after one prefix, by the model's names."""

    key: str
    prefix: str
    entries: dict[str, Entry]

    @property
    def found(self) -> dict[str, Tensor]:
        return {name: entry.tensor for name, entry in self.entries.items()}


def places(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a model that a checkpoint fills.

    Args:
        model: any module; of a wrapper, the network inside.

    Returns:
        The tensors of its state dict themselves, not copies, by plain name.
    """
    model = unwrapped(model)
    state = {name: t for name, t in model.state_dict().items() if isinstance(t, Tensor)}
    called = plain_names(model, state)
    return {plain_name(called[name]): tensor for name, tensor in state.items()}


def lacking(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """The tensors of a model that a file ought to have and lacks, by name or by shape.

    It need not have the counters of BatchNorm, which old files lack, nor each name of a tied tensor.

    Args:
        found: tensors by the model's names.
        wanted: the model's own.

    Returns:
        Names.
    """
    there = {_memory(wanted[n]) for n, t in found.items() if t.shape == wanted[n].shape}
    return [
        name
        for name, tensor in wanted.items()
        if (name in found and found[name].shape != tensor.shape)
        or (name not in found and not name.endswith("num_batches_tracked") and _memory(tensor) not in there)
    ]


def _memory(tensor: Tensor) -> object:
    """What tied tensors share."""
    own = tensor.numel() and tensor.layout == torch.strided and not tensor.is_meta
    return (tensor.data_ptr(), tuple(tensor.shape), tensor.stride()) if own else id(tensor)


def match(contents: Contents, wanted: Mapping[str, Tensor], *, key: str = "", prefix: str = "") -> Match:
    """Find a model's tensors in a checkpoint.

    Args:
        contents: what the checkpoint holds.
        wanted: the model's tensors by name.
        key: only what is under these keys; by default everything.
        prefix: what precedes the names; by default it is found.

    Returns:
        The best match, complete or not.

    Raises:
        SpecError: a key or prefix does not exist, or there are several complete matches with different values.
    """
    entries = _under(contents, key)
    best: _Candidate | None = None
    for names in _namings(wanted):
        candidates = [c for c in _candidates(entries, names) if not prefix or c.prefix == prefix.rstrip(".") + "."]
        complete = [c for c in candidates if not lacking(c.found, wanted) and (prefix or _whole(c, entries))]
        if complete:
            return _match(_only(contents, complete), entries, whole=True)
        best = max([best, *candidates] if best else candidates, key=lambda c: _fitting(c, wanted), default=best)
    if best is None and prefix:
        raise SpecError(
            f"prefix={prefix!r}: it precedes no name of the model in {contents.source}, whose names begin with "
            f"{some([entry.name for entry in entries])}"
        )
    if best is None:
        return Match(found={}, extra=tuple(entry.full for entry in entries))
    return _match(best, entries, whole=bool(prefix) or _whole(best, entries))


def _under(contents: Contents, key: str) -> list[Entry]:
    entries = [e for e in contents.entries if not key or e.full.startswith(f"{key}.")]
    if not entries:
        raise SpecError(
            f"key={key!r}: nothing is under it in {contents.source}, which has the keys "
            f"{some(sorted({e.key for e in contents.entries} | set(contents.keys)) or ['none'])}"
        )
    return entries


def _namings(wanted: Mapping[str, Tensor]) -> Iterator[dict[str, str]]:
    """The model's names as a file may have them: as they are, and without what all of them begin with."""
    names = {name: name for name in wanted}
    yield names
    while names and len(first := {short.partition(".")[0] for short in names}) == 1 and all("." in n for n in names):
        begin = f"{first.pop()}."
        names = {short.removeprefix(begin): name for short, name in names.items()}
        yield names


def _candidates(entries: Iterable[Entry], names: Mapping[str, str]) -> list[_Candidate]:
    """Everything that can be removed so that names of the model remain."""
    module = not any("module" in name.split(".") for name in names)
    found: dict[str, _Candidate] = {}
    for entry in entries:
        parts = entry.full.split(".")
        begin = len(entry.key.split(".")) if entry.key else 0
        # A network within DataParallel has "module" in the middle of its names; in front, it is an ordinary prefix.
        kept = [
            number
            for number, part in enumerate(parts)
            if part not in SEGMENTS and not (module and part == "module" and begin < number < len(parts) - 1)
        ]
        for start in range(len(kept)):
            name = names.get(".".join(parts[number] for number in kept[start:]))
            if name is None:
                continue
            before = ".".join(parts[number] for number in kept[:start])
            if before not in found:
                found[before] = _Candidate(**_taken_off(entry, parts[: kept[start]]), entries={})
            found[before].entries.setdefault(name, entry)
    return list(found.values())


def _taken_off(entry: Entry, before: list[str]) -> dict[str, str]:
    """What precedes a name, as keys and as prefix."""
    keys = entry.key.split(".") if entry.key else []
    rest = before[len(keys) :]
    return {"key": ".".join(before[: len(keys)]), "prefix": "".join(f"{part}." for part in rest)}


def _whole(candidate: _Candidate, entries: Iterable[Entry]) -> bool:
    """Whether a prefix is a network's: a number is the place of a layer in a sequence, unless it is the only layer."""
    last = candidate.prefix.rstrip(".").rpartition(".")[2]
    if not last.isdigit():
        return True
    return all(e.name.startswith(candidate.prefix) for e in entries if e.key == candidate.key)


def _fitting(candidate: _Candidate, wanted: Mapping[str, Tensor]) -> tuple[int, int, int]:
    shapes = sum(entry.tensor.shape == wanted[name].shape for name, entry in candidate.entries.items())
    return len(candidate.entries), shapes, -len(candidate.key) - len(candidate.prefix)


def _only(contents: Contents, complete: list[_Candidate]) -> _Candidate:
    """The one match there is; several with the same values are one."""
    weights = [c for c in complete if not TRAINING.search(c.key)] or complete
    first = weights[0]
    for other in weights[1:]:
        if not all(
            _equal(other.entries[name].tensor, e.tensor) for name, e in first.entries.items() if name in other.entries
        ):
            ways = [f"key={c.key!r}" + (f" prefix={c.prefix!r}" if c.prefix else "") for c in weights]
            raise SpecError(
                f"checkpoint {contents.source} holds the model {len(weights)} times, with different values: "
                f"{'; '.join(ways[:4])}. Say which: key=… (--key) or prefix=… (--prefix)"
            )
    return first


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)


def _match(candidate: _Candidate, entries: Iterable[Entry], *, whole: bool) -> Match:
    used = {id(entry) for entry in candidate.entries.values()}
    homes = {entry.key for entry in candidate.entries.values()}
    rest = [entry for entry in entries if id(entry) not in used and entry.key in homes]
    own = "".join(f"{part}." for part in candidate.key.split(".") if part) + (candidate.prefix if whole else "")
    measures = [e.full for e in rest if _measures(e.full.removeprefix(own), e.tensor)]
    extra = [e.full for e in rest if e.full.startswith(own) and e.full not in measures]
    beside = [e.full for e in rest if not e.full.startswith(own) and e.full not in measures]
    return Match(
        found=candidate.found,
        key=candidate.key,
        prefix=candidate.prefix,
        extra=tuple(_without(candidate.key, extra)),
        beside=tuple(_without(candidate.key, beside)),
        measures=tuple(_without(candidate.key, measures)),
    )


def _without(key: str, names: Iterable[str]) -> list[str]:
    return [name.removeprefix(f"{key}.") if key else name for name in names]


def _measures(name: str, tensor: Tensor) -> bool:
    """Whether an entry belongs to a loss or a metric, or is a counter of the training."""
    parts = name.split(".")
    counts = len(parts) == 1 and tensor.dim() == 0 and not tensor.is_floating_point()
    return counts or any(_MEASURES.match(part) for part in parts[:-1])


def some(names: Iterable[str]) -> str:
    """The first names of many.

    Args:
        names: all of them.

    Returns:
        The first three, and an ellipsis for the rest.
    """
    listed = list(names)
    return ", ".join(listed[:3]) + (" …" if len(listed) > 3 else "")
