"""In which form does a checkpoint keep weights that a model keeps in another: pruned, normed, quantised, adapted?

The names of its tensors tell. A file of the same network in another form is not "another architecture".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lossatlas.objective.matching import some

__all__ = ["other_form"]

_FORMS = (
    (r"^(?P<at>.*)_(orig|u)$", "spectrally normed", "spectral_norm", r"_u$"),
    (r"^(?P<at>.*)_(orig|mask)$", "pruned", "torch.nn.utils.prune.remove", r"_mask$"),
    (r"^(?P<at>.*)_[gv]$", "normed", "torch.nn.utils.remove_weight_norm", r"_g$"),
    (
        r"^(?P<module>.*)parametrizations\.(?P<name>\w+)\.(\d+\.\w+|original\d*)$",
        "parametrised",
        "torch.nn.utils.parametrize.remove_parametrizations",
        r"\.original\d*$",
    ),
    (r"^(?P<module>.*?)(_packed_params\.[\w.]+|scale|zero_point)$", "quantised", "", r"_packed_params\."),
    (r"^(?P<module>.*)base_layer\.(?P<name>\w+)$", "adapted", "the adapter's merge_and_unload", r"base_layer\."),
)
"""Pattern of the names, what such weights are, what undoes it, and a name that only this form has."""


def other_form(missing: Iterable[str], extra: Iterable[str], source: str, model: str) -> str:
    """Say that a file has the weights that a model lacks in another form, or the other way round.

    Args:
        missing: names of the model's tensors that the file lacks.
        extra: names of the file's tensors for which the model has no place.
        source: what to call the file.
        model: what to call the model.

    Returns:
        A sentence; empty if the names tell nothing of the kind.

    Example:
        >>> other_form(["0.weight"], ["0.weight_orig", "0.weight_mask"], "net.pt", "Net").partition(":")[0]
        'net.pt has weights of Net pruned'
    """
    lacks, has = list(missing), list(extra)
    for pattern, what, undo, sign in _FORMS:
        form = re.compile(pattern)
        if _explained(lacks, has, form, sign):
            way = f", or undo it before saving ({undo})" if undo else ", or save it in floating point"
            return (
                f"{source} has weights of {model} {what}: {some(n for n in has if form.match(n))} instead of "
                f"{some(lacks)}. Prepare the model in the same way before loading{way}. The model was not changed"
            )
        if _explained(has, lacks, form, sign):
            return (
                f"{model} keeps its weights {what}, and {source} does not: {some(n for n in lacks if form.match(n))} "
                f"instead of {some(has)}. Load the weights first. The model was not changed"
            )
    return ""


def _explained(plain: list[str], formed: list[str], form: re.Pattern[str], sign: str) -> bool:
    """Whether all plain names are those of weights in this form."""
    if not plain or not any(re.search(sign, name) for name in formed):
        return False
    found = [match.groupdict() for name in formed if (match := form.match(name))]
    whole = {f"{one.get('module') or ''}{one['name']}" for one in found if one.get("name")}
    whole |= {one["at"] for one in found if one.get("at")}
    modules = {one["module"] for one in found if one.get("module") is not None and not one.get("name")}
    return all(name in whole or any(name.rpartition(".")[0] + "." == module for module in modules) for name in plain)
