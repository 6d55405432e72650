"""How does a checkpoint get into a model? Safely, whole or not at all, whatever its wrapping."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.expected import check_kind, path_of
from lossatlas.objective import hooks, hub
from lossatlas.objective.contents import Contents, contents_of, part_of, read_checkpoint, read_contents
from lossatlas.objective.forms import other_form
from lossatlas.objective.matching import Match, lacking, match, places, some
from lossatlas.objective.wrappers import check_ready, unwrapped
from lossatlas.oneline import number_of, one_line, verb_of
from lossatlas.warned import warn

__all__ = ["Loaded", "load_checkpoint", "load_state", "read_checkpoint"]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What was loaded.

    Attributes:
        tensors: number of tensors copied.
        prefix: what was taken off the names in the file.
        absent: tensors of the model that were not in the file: by right (``num_batches_tracked`` in old files, further
            names of tied tensors), and with ``partial=True`` all others, which keep their values.
        ignored: entries beside the model's own that were left out: of losses and metrics, under other prefixes, and
            with ``strict=False`` any others.
        key: the dictionary within the file.
        by: the library that translated the file's names, if one did.
        packed: weights that were packed in the file (int8 or four bits of bitsandbytes), and are dequantised.
    """

    tensors: int
    prefix: str
    absent: tuple[str, ...]
    ignored: tuple[str, ...]
    key: str = ""
    by: str = ""
    packed: tuple[str, ...] = ()

    __repr__ = one_line

    def words(self) -> str:
        """One line for a reader.

        Returns:
            How many tensors came from where, and what was left out.
        """
        parts = [number_of(self.tensors, "tensor")]
        parts += [f"under key {self.key!r}"] if self.key else []
        parts += [f"with names after {self.prefix!r}"] if self.prefix else []
        parts += [f"by {self.by}"] if self.by else []
        parts += [f"{len(self.packed)} packed weights dequantised ({some(self.packed)})"] if self.packed else []
        parts += [f"{len(self.absent)} of the model's not in the file ({some(self.absent)})"] if self.absent else []
        parts += [f"{len(self.ignored)} of the file left out ({some(self.ignored)})"] if self.ignored else []
        return "; ".join(parts)


def load_checkpoint(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    trust_pickle: bool = False,
    strict: bool = True,
    key: str = "",
    prefix: str = "",
    partial: bool = False,
) -> Loaded:
    """Load a checkpoint into a model. Everything is checked first, so the model is never left half-loaded.

    The weights are found by comparing names with the model's: under any keys, after any prefix. Tied tensors need to be
    present only once. Weights that bitsandbytes has packed are dequantised. A file of transformers or peft whose names
    differ from the model's is translated by that library; the folder of an adapter is merged into a base model by peft.

    Args:
        model: changed in place; for a wrapper such as DataParallel, the network inside.
        path: a file of ``torch.save`` (``.pt``, ``.pth``, ``.bin``, ``.ckpt``), a ``.safetensors`` file, or a folder as
            Hugging Face lays it out, in one file, in several, or of an adapter.
        trust_pickle: run the code in the file, if there is any. Only for files you made yourself.
        strict: refuse entries among the model's own that the model does not have.
        key: the dictionary within the file, such as ``"state_dict_ema"``; needed if several fit.
        prefix: what precedes the model's names, such as ``"encoder."``; needed if several fit.
        partial: load what fits by name and shape, and leave the rest of the model as it is.

    Returns:
        What was loaded.

    Raises:
        SpecError: the file is missing or damaged, holds code or several versions of the model, belongs to another
            architecture, or holds integers where the model has floating-point numbers.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "linear.pt"
        >>> torch.save({"state_dict": {"module.weight": torch.ones(1, 2), "module.bias": torch.zeros(1)}}, path)
        >>> model = nn.Linear(2, 1)
        >>> load_checkpoint(model, path).prefix
        'module.'
        >>> model.weight.tolist()
        [[1.0, 1.0]]
    """
    check_kind("model", model, nn.Module, "a torch.nn.Module")
    source = path_of("path", path)
    network = unwrapped(model)
    if hub.is_adapter_folder(source) and not hub.is_adapted(network):
        merged = contents_of(hub.merged(network, source), source)
        return _load(network, merged, strict=True, key="", prefix="", partial=False, by="peft (adapter merged)")
    contents = read_contents(source, trust_pickle=trust_pickle)
    return _load(network, contents, strict=strict, key=key, prefix=prefix, partial=partial)


def load_state(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    source: Path,
    strict: bool = True,
    key: str = "",
    prefix: str = "",
    partial: bool = False,
) -> Loaded:
    """Copy a state dict into a model, after checking all of it.

    Args:
        model: changed in place.
        state: tensors by name, with or without a prefix.
        source: what to call it in messages.
        strict: refuse entries that the model does not have.
        key: the dictionary within the state that counts.
        prefix: what stands before the model's names.
        partial: load what fits, and leave the rest of the model as it is.

    Returns:
        What was loaded.

    Raises:
        SpecError: another architecture; the message counts and shows what differs.
    """
    contents = contents_of(dict(state), source)
    return _load(unwrapped(model), contents, strict=strict, key=key, prefix=prefix, partial=partial)


def _load(
    model: nn.Module, contents: Contents, *, strict: bool, key: str, prefix: str, partial: bool, by: str = ""
) -> Loaded:
    check_ready(model)
    wanted = places(model)
    if sketched := [name for name, tensor in wanted.items() if tensor.is_meta]:
        raise SpecError(
            f"model {type(model).__name__} is only a sketch: {sketched[0]!r} is on the meta device and holds nothing; "
            "allocate it first with model.to_empty(device='cpu')"
        )
    matched = match(contents, wanted, key=key, prefix=prefix)
    if not partial and (reason := _misfit(contents.source, model, matched, wanted, strict)):
        translated = None if by else hub.translated(model, contents) or hooks.translated(model, contents, matched)
        if translated is None:
            raise SpecError(reason)
        return _load(model, translated.contents, strict=strict, key="", prefix="", partial=False, by=translated.by)
    fitting = {name: t for name, t in matched.found.items() if t.shape == wanted[name].shape}
    if not fitting:
        raise SpecError(_misfit(contents.source, model, matched, wanted, strict))
    _check_kinds(contents.source, model, fitting, wanted)
    _check_ties(contents.source, model, fitting, wanted)
    with torch.no_grad():
        for name, tensor in fitting.items():
            wanted[name].copy_(tensor)
    if matched.beside and not by:
        warn(
            f"checkpoint {contents.source}: {number_of(len(matched.beside), 'tensor')} beside the model's "
            f"{verb_of(len(matched.beside), 'was')} left out "
            f"({some(matched.beside)})",
        )
    return Loaded(
        tensors=len(fitting),
        key=matched.key,
        prefix=matched.prefix,
        absent=tuple(name for name in wanted if name not in fitting),
        ignored=matched.extra + matched.beside + matched.measures,
        by=by,
        packed=contents.packed,
    )


def _misfit(source: Path, model: nn.Module, matched: Match, wanted: Mapping[str, Tensor], strict: bool) -> str:
    """Why a match cannot be loaded as it is; empty if it can."""
    found, name = matched.found, type(model).__name__
    if not wanted:
        return f"model {name} has no tensors to load"
    if not found:
        if known := other_form(wanted, matched.extra, str(source), name):
            return known
        own = f"its own are {some(wanted)}; those of the file {some(matched.extra)}"
        return f"{source} has none of the names of {name}: {own}. The model was not changed"
    lost = lacking(found, wanted)
    missing = [n for n in lost if n not in found]
    reshaped = [f"{n} {tuple(found[n].shape)} instead of {tuple(wanted[n].shape)}" for n in lost if n in found]
    extra = matched.extra if strict else ()
    if extra and not lost:
        return (
            f"{source} has all tensors of {name}, plus {len(extra)} for which {name} has no place ({some(extra)}): "
            "these are the weights of another network, and leaving them out changes its function. If they do not "
            "matter, partial=True (--partial) leaves them out. The model was not changed"
        )
    parts = []
    if missing:
        parts.append(f"{len(missing)} of {len(wanted)} tensors {verb_of(len(missing), 'is')} missing ({some(missing)})")
    parts += [f"{len(extra)} {verb_of(len(extra), 'is')} unexpected ({some(extra)})"] if extra else []
    parts += [f"{len(reshaped)} {verb_of(len(reshaped), 'has')} another shape ({some(reshaped)})"] if reshaped else []
    if not missing and not reshaped:
        return ""
    if missing and not reshaped:
        if part := part_of(source):
            return (
                f"{source} is {part} of a checkpoint, and {len(missing)} of {len(wanted)} tensors are in the others "
                f"({some(missing)}): give the folder, {source.parent}. The model was not changed"
            )
        ours = [entry.removeprefix(matched.prefix) for entry in matched.extra]
        if known := other_form(missing, ours, str(source), name):
            return known
    where = f" under {matched.key!r}" if matched.key else ""
    where += f" after {matched.prefix!r}" if matched.prefix else ""
    return (
        f"{source} belongs to another architecture than {name}{',' + where if where else ''}: {'; '.join(parts)}. "
        "partial=True (--partial) loads what fits. The model was not changed"
    )


def _check_kinds(source: Path, model: nn.Module, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Integers are not weights, a complex number does not fit into a real one, and a fraction not into a counter."""
    name = type(model).__name__
    for entry, tensor in found.items():
        here, there = str(tensor.dtype).removeprefix("torch."), str(wanted[entry].dtype).removeprefix("torch.")
        place = wanted[entry]
        if tensor.is_quantized or (_real(place) and not _real(tensor)):
            raise SpecError(
                f"{source}: {entry!r} is {here}, and {name} has it as {there}: integers in place of weights are codes "
                "of a quantised model, whose scales are elsewhere; save the model in floating point. The model was "
                "not changed"
            )
        if tensor.is_complex() and not place.is_complex():
            raise SpecError(f"{source}: {entry!r} is {here}, and {name} has it as {there}, without imaginary part")
        if _real(tensor) and not _real(place) and not bool((tensor == tensor.round()).all()):
            raise SpecError(f"{source}: {entry!r} is {here} with fractions, and {name} has it as {there}")


def _real(tensor: Tensor) -> bool:
    """Whether it can hold a weight: floating-point or complex numbers."""
    return tensor.is_floating_point() or tensor.is_complex()


def _check_ties(source: Path, model: nn.Module, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """What the model ties must be equal in the file, or the last of the values would win."""
    first: dict[tuple[int, object], str] = {}
    for entry, tensor in found.items():
        place = wanted[entry]
        if not place.numel() or place.layout != torch.strided or place.is_meta:
            continue
        other = first.setdefault((place.data_ptr(), (tuple(place.shape), place.stride())), entry)
        if other != entry and not torch.equal(found[other].to(place), tensor.to(place)):
            raise SpecError(
                f"{source}: {type(model).__name__} ties {entry!r} to {other!r}, but the file has different values for "
                "them, so there they are not tied. Make the model without tying its weights. The model was not changed"
            )
