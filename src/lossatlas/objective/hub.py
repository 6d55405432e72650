"""How do transformers and peft load their own files into a model when the names in the file are not the model's?"""

from __future__ import annotations

import copy
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from torch import Tensor, nn

from lossatlas.errors import SpecError
from lossatlas.extras import importing, require
from lossatlas.objective.contents import Contents, contents_of
from lossatlas.objective.randomness import seeded
from lossatlas.objective.reach import unreached
from lossatlas.oneline import first_line

__all__ = [
    "ADAPTER",
    "Translated",
    "cached_if_unreached",
    "check_place",
    "has_weights",
    "is_adapted",
    "is_adapter_folder",
    "merged",
    "translated",
]

ADAPTER = "adapter_config.json"
_PART = re.compile(r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?")
"""A part of a name on the hub: letters and numbers, and between them full stops, dashes and underscores."""


@dataclass(frozen=True, kw_only=True)
class Translated:
    """A checkpoint under the model's own names.

    Attributes:
        contents: its tensors.
        by: the library that translated it.
    """

    contents: Contents
    by: str


def is_adapted(model: nn.Module) -> bool:
    """Whether a model is one that peft wrapped."""
    return _is(model, "peft.peft_model.PeftModel")


def is_adapter_folder(path: Path) -> bool:
    """Whether a folder holds an adapter of peft."""
    return path.is_dir() and (path / ADAPTER).is_file()


def check_place(place: str, named: str) -> None:
    """Check that a name is an existing folder, or one that the hub may know, before a long query to the hub.

    Models on the hub are named ``OWNER/NAME``; the few that had only a name have an owner by now
    (``openai-community/gpt2``), and are accepted under the old name if they are in the hub's cache.

    Args:
        place: the folder, or name on the hub.
        named: what the message calls it.

    Raises:
        SpecError: there is no such folder, and it is not a name on the hub.
    """
    if Path(place).is_dir():
        return
    parts = place.split("/")
    if not all(map(_PART.fullmatch, parts)) or len(parts) > 2:
        why = "a model on the hub is named OWNER/NAME"
    elif (len(parts) == 2 and not Path(parts[0]).is_dir()) or isinstance(_cached(place, "config.json"), str):
        return
    elif len(parts) == 1:
        why = "a model on the hub is named OWNER/NAME, such as openai-community/gpt2"
    else:
        why = f"{parts[0]} is a folder here; if you mean the model on the hub: hf download {place}"
    raise SpecError(f"{named}: no such folder ({Path(place).absolute()}); {why}")


def _cached(place: str, file: str) -> Any:
    """Where a file of a model is in the hub's cache, if it is there."""
    return require("huggingface_hub", extra="hf", purpose="look into the cache").try_to_load_from_cache(place, file)


@contextmanager
def cached_if_unreached(place: str) -> Iterator[str]:
    """Ask the hub's cache alone if the hub cannot be reached; its library would try for a minute or more.

    Args:
        place: what is asked for: a name on the hub, or a folder, for which nothing is asked.

    Yields:
        Why it cannot be reached; empty if it can.
    """
    if Path(place).is_dir():
        yield ""
        return
    constants: Any = require("huggingface_hub.constants", extra="hf", purpose="ask the hub")
    before = constants.HF_HUB_OFFLINE
    why = "" if before else unreached(constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = before or bool(why)
    try:
        yield f"{urlsplit(constants.ENDPOINT).hostname} cannot be reached ({why})" if why else ""
    finally:
        constants.HF_HUB_OFFLINE = before


def has_weights(folder: str) -> bool:
    """Whether a model of Hugging Face comes with weights: a folder with files of them, or a name on the hub."""
    path = Path(folder)
    return not path.is_dir() or any(path.glob("*.safetensors")) or any(path.glob("*.bin"))


def _is(model: nn.Module, kind: str) -> bool:
    return any(f"{base.__module__}.{base.__qualname__}" == kind for base in type(model).__mro__)


def translated(model: nn.Module, contents: Contents) -> Translated | None:
    """A checkpoint as the library that wrote it would load it.

    Args:
        model: the model it is for; left as it is.
        contents: what the file holds.

    Returns:
        All tensors of the model by its own names; none if no library knows the file, or the file lacks some.
    """
    state = {entry.full: entry.tensor for entry in contents.entries}
    found = _adapter(model, state) if is_adapted(model) else None
    if found is None and _is(model, "transformers.modeling_utils.PreTrainedModel"):
        found = _converted(model, state)
    if found is None:
        return None
    return Translated(contents=contents_of(found[0], contents.source), by=found[1])


def _adapter(model: nn.Module, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], str] | None:
    """An adapter's own tensors put into a copy of the adapted model."""
    peft = require("peft", extra="hf", purpose="load an adapter")
    own = peft.get_peft_model_state_dict(model)
    if set(own) != set(state) or any(own[name].shape != tensor.shape for name, tensor in state.items()):
        return None
    twin = copy.deepcopy(model)
    peft.set_peft_model_state_dict(twin, {name: tensor.clone() for name, tensor in state.items()})
    return dict(twin.state_dict()), "peft"


def _converted(model: Any, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], str] | None:
    """A state dict of another version of transformers, under the names of this one."""
    with _quiet("transformers"), seeded(0):
        try:
            made, report = type(model).from_pretrained(
                None, config=copy.deepcopy(model.config), state_dict=dict(state), output_loading_info=True,
                torch_dtype=model.dtype,
            )  # fmt: skip
        except (RuntimeError, ValueError, KeyError, OSError, TypeError):
            return None
    if any(report.get(kind) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")):
        return None
    return dict(made.state_dict()), "transformers"


def merged(model: nn.Module, folder: Path) -> dict[str, Tensor]:
    """A base model's weights with the adapter in a folder merged into them, as peft merges it.

    Args:
        model: the base; left as it is.
        folder: of ``save_pretrained``.

    Returns:
        The state dict.

    Raises:
        SpecError: the adapter does not fit the model, or cannot be merged.
        MissingExtraError: peft is not installed.
    """
    purpose = f"load the adapter {folder}"
    peft = require("peft", extra="hf", purpose=purpose)
    _check_weights(folder)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            with importing("peft", purpose):
                adapted = peft.PeftModel.from_pretrained(copy.deepcopy(model), str(folder))
        except (RuntimeError, ValueError, KeyError, TypeError, OSError) as fault:
            raise SpecError(f"adapter {folder} does not fit {type(model).__name__}: {first_line(fault)}") from fault
    if lost := [str(w.message) for w in told if "missing adapter keys" in str(w.message)]:
        raise SpecError(f"adapter {folder} does not fit {type(model).__name__}: {first_line(lost[0])[:200]}")
    instead = "give the adapted model itself as model"
    if not callable(merge := getattr(adapted, "merge_and_unload", None)):
        raise SpecError(f"adapter {folder} cannot be merged into weights (its kind leaves them as they are); {instead}")
    try:
        return dict(merge().state_dict())
    except (NotImplementedError, ValueError) as fault:
        raise SpecError(f"adapter {folder} cannot be merged into weights ({first_line(fault)}); {instead}") from fault


def _check_weights(folder: Path) -> None:
    if not any((folder / f"adapter_model{suffix}").is_file() for suffix in (".safetensors", ".bin")):
        raise SpecError(f"adapter {folder} has no adapter_model.safetensors")


@contextmanager
def _quiet(library: str) -> Iterator[None]:
    """A library without its progress bars and hints."""
    tools = require(f"{library}.utils.logging", extra="hf", purpose="load a model")
    logger = logging.getLogger(library)
    level, bars = logger.level, tools.is_progress_bar_enabled()
    tools.disable_progress_bar()
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            tools.enable_progress_bar()
