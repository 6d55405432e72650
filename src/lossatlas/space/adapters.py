"""In which direction did an adapter go: from the base to where the adapter's own library merges it?"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.expected import described_type
from lossatlas.extras import MissingExtraError, importing, require
from lossatlas.objective import Objective
from lossatlas.oneline import first_line
from lossatlas.space.directions import tensors_of
from lossatlas.space.normalize import described
from lossatlas.space.parameters import Parameters, norm, precise

__all__ = ["lora"]


def lora(
    origin: Objective | nn.Module | Parameters, adapted: nn.Module, *, adapter: str | Sequence[str] | None = None
) -> dict[str, Tensor]:
    """The direction from a base model to the same model with a peft adapter merged into it.

    Coordinate 0 is the base and coordinate 1 what peft itself makes of base and adapter: peft merges a copy and the
    difference is taken, so this works for every kind of adapter that peft can merge. For plain LoRA (Hu et al. 2021,
    arXiv 2106.09685) the difference is (α/r)·BA; PiSSA, OLoRA and the like change the base as well, DoRA also has a
    magnitude, and OFT and IA3 multiply. Biases and modules that were trained alongside move too. Nothing is normalised.

    Args:
        origin: the base model as it was before peft wrapped it, an Objective of it, or its tensors by name.
        adapted: the model that peft wrapped, or into which it put adapters. It is left as it is; a copy is made.
        adapter: its name there, or several names; by default the ones that are active, which are what peft merges.

    Returns:
        Tensors under the base's names, without those that the adapter does not touch.

    Raises:
        SpecError: there is no such adapter, peft cannot merge it into weights, it changes nothing, or the origin is not
            the base.
        MissingExtraError: peft is not installed.
    """
    point, _ = described(origin)
    if any(".base_layer." in name for name in point):
        raise SpecError(
            "origin is the adapted model itself; give the base as it was before peft wrapped it, since coordinate 0 is "
            "the network without the adapter"
        )
    chosen = _chosen(adapted, adapter)
    touched, whole = _touched(adapted, chosen), _merged(adapted, chosen, active=adapter is None)
    alike = _names_by_tensor(whole)
    found: dict[str, Tensor] = {}
    for name, end in tensors_of(whole).items():
        if name not in point:
            if name.rpartition(".")[2] in ("running_mean", "running_var"):
                continue
            raise SpecError(f"origin has no {name!r}, which the merged model has{_why_missing(name, point)}")
        step = _step(end, point[name], name)
        if any(map(touched.holds, alike.get(name, [name]))):
            if bool((step != 0).any()):
                found[name] = step
        elif not _same(end, point[name], step):
            raise SpecError(
                f"origin is not the base of this adapter: {name!r}, which the adapter leaves alone, differs. Give the "
                "base model it was trained on; for the direction to any other model use directions.towards(origin, "
                "merged)"
            )
    if not found:
        raise SpecError(f"{_said(chosen)} changes nothing yet: merged, it is the base; train it first")
    if not norm(found) < float("inf"):
        raise SpecError(f"{_said(chosen)}: merged, it has weights that are not finite; its training diverged")
    return found


class _Touched:
    """Which tensors of the base an adapter may change.

    Args:
        layers: paths of modules that it changes or replaces.
        tensors: names of tensors that were trained alongside it.
        biases: whether all biases may have been.
    """

    def __init__(self, layers: set[str], tensors: set[str], *, biases: bool) -> None:
        self._layers = layers
        self._tensors = tensors
        self._biases = biases

    def holds(self, name: str) -> bool:
        """Whether it may change a tensor."""
        steps = name.split(".")
        inside = any(".".join(steps[:i]) in self._layers for i in range(len(steps)))
        return inside or name in self._tensors or (self._biases and steps[-1] == "bias")


def _said(chosen: Sequence[str]) -> str:
    return f"adapter={chosen[0]!r}" if len(chosen) == 1 else f"adapter={list(chosen)}"


def _chosen(adapted: nn.Module, asked: str | Sequence[str] | None) -> tuple[str, ...]:
    """The names of the adapters that are merged.

    Returns:
        Those asked for, or those that are active.

    Raises:
        SpecError: the model has no such adapter.
    """
    if not isinstance(adapted, nn.Module):
        raise SpecError(f"adapted is {described_type(adapted)}; expected the model that peft wrapped")
    wrapped = _wrapped(adapted)
    configs = getattr(adapted, "peft_config", None)
    known = set(configs) if isinstance(configs, Mapping) else _names(wrapped)
    if asked is None:
        active = getattr(adapted, "active_adapters", None)
        if not isinstance(configs, Mapping) or not isinstance(active, (list, tuple)):
            active = [name for part in wrapped.values() for name in getattr(part, "active_adapters", ())]
        chosen = tuple(name for name in dict.fromkeys(active) if name in known)
        if not chosen:
            raise SpecError(f"adapted has no active adapter of peft; it has {sorted(known) or 'none'}")
        return chosen
    chosen = (asked,) if isinstance(asked, str) else tuple(asked)
    if missing := [name for name in chosen if name not in known]:
        raise SpecError(
            f"adapter={missing[0]!r}: no layer has it; the model has {sorted(known) or 'no adapter of peft'}"
        )
    return chosen


def _wrapped(adapted: nn.Module) -> dict[str, Any]:
    """What stands in for a layer, by path."""
    layers, aside = _kinds()
    return {path: part for path, part in _inner(adapted).named_modules() if isinstance(part, (*layers, *aside))}


def _touched(adapted: nn.Module, chosen: Sequence[str]) -> _Touched:
    """What adapters may change: layers, tensors and biases."""
    configs = getattr(adapted, "peft_config", None)
    known = [configs[name] for name in chosen] if isinstance(configs, Mapping) else []
    trained = {name for name, tensor in _inner(adapted).named_parameters() if tensor.requires_grad}
    biases = any(isinstance(bias := getattr(config, "bias", "none"), str) and bias != "none" for config in known)
    return _Touched(set(_wrapped(adapted)), trained, biases=biases)


def _names_by_tensor(model: nn.Module) -> dict[str, list[str]]:
    """All names of each parameter, by each: tied weights have several, and an adapter is at one of them."""
    named = list(model.named_parameters(remove_duplicate=False))
    names: dict[int, list[str]] = {}
    for name, tensor in named:
        names.setdefault(id(tensor), []).append(name)
    return {name: names[id(tensor)] for name, tensor in named}


def _kinds() -> tuple[Any, Any]:
    """The classes of peft that stand in for a layer: adapters, and what is trained whole alongside them."""
    tuners = require("peft.tuners.tuners_utils", extra="hf", purpose="merge an adapter")
    other = require("peft.utils.other", extra="hf", purpose="merge an adapter")
    aside = getattr(other, "AuxiliaryTrainingWrapper", other.ModulesToSaveWrapper)
    return (tuners.BaseTunerLayer,), (aside,)


def _names(wrapped: Mapping[str, Any]) -> set[str]:
    """The names of the adapters in some layers."""
    found: set[str] = set()
    for part in wrapped.values():
        for attribute in getattr(part, "adapter_layer_names", ()):
            held: Any = getattr(part, attribute, None)
            found |= set(held.keys()) if hasattr(held, "keys") else set()
    return found


def _inner(model: nn.Module) -> nn.Module:
    """The model inside the wrappers of peft, adapters and all."""
    base = getattr(model, "get_base_model", None)
    if callable(base):
        found = base()
    else:
        tuner = require("peft.tuners.tuners_utils", extra="hf", purpose="merge an adapter").BaseTuner
        within = getattr(model, "base_model", None)  # of a model with adapters of several kinds
        model = within if isinstance(within, tuner) else model
        found = model.model if isinstance(model, tuner) else model
    return found if isinstance(found, nn.Module) else model


def _merged(adapted: nn.Module, chosen: Sequence[str], *, active: bool) -> nn.Module:
    """A copy of the base with adapters merged into it, by peft.

    Args:
        adapted: the model that peft wrapped.
        chosen: the names of the adapters.
        active: whether these are the ones that are active, so that nothing has to be changed first.

    Returns:
        The merged model.

    Raises:
        SpecError: peft cannot merge it.
        MissingExtraError: what peft needs for it cannot be imported.
    """
    configs = getattr(adapted, "peft_config", None)
    kinds = [str(getattr(getattr(configs[name], "peft_type", None), "value", "adapter")) for name in chosen if configs]
    kind = " and ".join(dict.fromkeys(kinds)) or "adapter"
    if set(kinds) & set(_BY_INPUT):
        raise SpecError(f"{_said(chosen)}: {kind} mixes adapters afresh for every input, so no weights stand for it")
    try:
        with importing("peft", "merge an adapter"), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            twin: Any = copy.deepcopy(adapted)
            if not callable(getattr(twin, "merge_and_unload", None)):
                merged: nn.Module = _merged_in_place(twin, chosen)
            elif active:
                merged = twin.merge_and_unload()
            else:
                _activated(twin, chosen)
                merged = twin.merge_and_unload(adapter_names=list(chosen))
    except MissingExtraError:
        raise
    except Exception as fault:
        raise SpecError(
            f"{_said(chosen)}: peft cannot merge this {kind} into weights ({first_line(fault)}); a direction needs an "
            "adapter that becomes a change of the weights"
        ) from fault
    layers, aside = _kinds()
    if left := [path for path, part in merged.named_modules() if isinstance(part, (*layers, *aside))]:
        raise SpecError(
            f"{_said(chosen)}: peft cannot merge this {kind} into weights ({left[0]!r} stays as it is); a "
            "direction needs an adapter that becomes a change of the weights"
        )
    return merged


_BY_INPUT = ("XLORA", "POLY")
"""Kinds that are a different network for every input: what peft merges is not what they compute."""


def _activated(model: Any, chosen: Sequence[str]) -> None:
    """Make some adapters the only ones in use; what others have merged is undone."""
    layers, _ = _kinds()
    merged = {name for part in model.modules() if isinstance(part, layers) for name in part.merged_adapters}
    if merged - set(chosen):
        model.unmerge_adapter()
    if list(getattr(model, "active_adapters", chosen)) != list(chosen):
        (model if len(chosen) == 1 else model.base_model).set_adapter(chosen[0] if len(chosen) == 1 else list(chosen))


def _merged_in_place(model: nn.Module, chosen: Sequence[str]) -> nn.Module:
    """Merge the adapters of a model that has them in its layers and no wrapper of peft's around it."""
    layers, aside = _kinds()
    wrapped = [path for path, part in model.named_modules() if isinstance(part, (*layers, *aside))]
    outer = [path for path in wrapped if not any(path.startswith(f"{other}.") for other in wrapped)]
    if not outer:
        raise ValueError("its layers have no adapter: prompts and prefixes are inputs, not weights")
    for path in outer:
        layer: Any = model.get_submodule(path)
        for part in layer.modules():
            if isinstance(part, (*layers, *aside)):
                part.set_adapter(chosen[0] if len(chosen) == 1 else list(chosen))  # type: ignore[attr-defined]
        if hasattr(layer, "unload_and_optionally_merge_module"):
            bare = layer.unload_and_optionally_merge_module(merge=True, safe_merge=False, adapter_names=list(chosen))
        else:
            layer.merge(adapter_names=list(chosen))
            bare = layer.get_base_layer()
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, bare)
    return model


def _step(end: Tensor, start: Tensor, name: str) -> Tensor:
    """The difference from one tensor to another, not rounded to a short format.

    Returns:
        The difference.

    Raises:
        SpecError: they differ in shape, or hold no numbers that can be moved.
    """
    if end.shape != start.shape:
        raise SpecError(
            f"origin is not the base of this adapter: {name!r} has shape {tuple(start.shape)}, merged "
            f"{tuple(end.shape)}"
        )
    if not (end.is_floating_point() or end.is_complex()) or end.dtype.itemsize < 2:
        raise SpecError(f"{name!r} is held as {end.dtype} and cannot be moved; load the base in a floating format")
    if start.is_complex():
        return end.to(start) - start
    step = precise(end.to(start.device)) - precise(start)
    return step.to(start.device, torch.float64 if start.dtype == torch.float64 else torch.float32)


def _same(end: Tensor, start: Tensor, step: Tensor) -> bool:
    """Whether two tensors are equal up to the number format of the shorter one."""
    grain = max(torch.finfo(end.dtype).eps, torch.finfo(start.dtype).eps)
    return norm({"": step}) <= (grain if end.dtype != start.dtype else 0.0) * norm({"": start})


def _why_missing(name: str, point: Mapping[str, Any]) -> str:
    if name.endswith(("lm_head.weight", "decoder.weight", "embed_tokens.weight", "wte.weight")):
        return ": merging gives the tied weights values of their own; load the base with tie_word_embeddings=False"
    return f"; it has {sorted(point)[:4]} …"
