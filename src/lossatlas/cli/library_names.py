"""Which model does a library's name stand for: of the zoo, torchvision, timm or Hugging Face?"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from lossatlas import zoo
from lossatlas.cli.parsed_names import SEED, Name, parse
from lossatlas.errors import SpecError
from lossatlas.extras import MissingExtraError, importing, require
from lossatlas.objective import hub
from lossatlas.objective.randomness import seeded
from lossatlas.objective.reach import patient
from lossatlas.oneline import first_line, number_of, verb_of
from lossatlas.untrusted import json_object

__all__ = ["LIBRARIES", "random_weights"]


def _from_zoo(name: Name) -> nn.Module:
    return zoo.model(name.target, **name.arguments)


def _from_torchvision(name: Name) -> nn.Module:
    library = require("torchvision.models", extra="torchvision", purpose=f"make {name.text}")
    try:
        return _made(name, library.get_model, {"weights": None}, library.list_models)
    except OSError as fault:
        raise SpecError(f"{name.text!r}: its weights cannot be loaded: {first_line(fault)}") from fault


def _from_timm(name: Name) -> nn.Module:
    library = require("timm", extra="timm", purpose=f"make {name.text}")
    if not name.arguments.get("pretrained"):
        return _made(name, library.create_model, {"pretrained": False}, library.list_models)
    with hub.cached_if_unreached(f"timm/{name.target}") as why:
        try:
            return _made(name, library.create_model, {}, library.list_models)
        except OSError as fault:
            raise SpecError(f"{name.text!r}: its weights cannot be loaded: {why or first_line(fault)}") from fault


def _made(name: Name, make: Callable[..., Any], options: dict[str, Any], known: Callable[[], list[str]]) -> nn.Module:
    if name.target not in known():
        near = difflib.get_close_matches(name.target, known(), n=4)
        raise SpecError(f"{name.text!r}: no such model; similar names: {', '.join(near) or 'none'}")
    with patient():
        made: nn.Module = make(name.target, **{**options, **name.arguments})
    return made


def _from_hub(name: Name) -> nn.Module:
    """A Hugging Face model of the first class that its configuration names, with random weights if it has none."""
    if hub.is_adapter_folder(Path(name.target)):
        return _adapted(name)
    library = require("transformers", extra="hf", purpose=f"make {name.text}")
    hub.check_place(name.target, repr(name.text))
    with hub.cached_if_unreached(name.target) as why:
        made, report = _loaded(name, library, why)
    if missing := sorted(map(str, report.get("missing_keys") or ())):
        raise SpecError(
            f"{name.text!r}: {number_of(len(missing), 'weight')} of {type(made).__name__} "
            f"{verb_of(len(missing), 'is')} "
            f"not in it ({', '.join(missing[:3])}), and would be random; the folder's config.json names a class other "
            "than the one that wrote the weights"
        )
    network: nn.Module = made
    return network.eval()


def _loaded(name: Name, library: Any, why: str) -> tuple[Any, dict[str, Any]]:
    """A model of the hub or a folder, and which weights it lacks; from the cache where the hub cannot be reached."""
    try:
        with importing("transformers", f"make {name.text}"):
            config = library.AutoConfig.from_pretrained(name.target)
            kind = getattr(library, (config.architectures or ["AutoModel"])[0])
            if hub.has_weights(name.target):
                made, report = kind.from_pretrained(name.target, output_loading_info=True, **name.arguments)
            else:
                with seeded(SEED):
                    made, report = (kind.from_config if kind is library.AutoModel else kind)(config), {}
    except MissingExtraError:
        raise
    except Exception as fault:  # a damaged folder can make the library fail in any way
        if why:
            raise SpecError(
                f"{name.text!r}: {why}, and the cache does not hold all of it; where there is a network, "
                f"hf download {name.target} puts it there"
            ) from fault
        raise SpecError(f"{name.text!r} cannot be loaded: {first_line(fault)}") from fault
    return made, dict(report)


def _adapted(name: Name) -> nn.Module:
    """The adapted model of a folder of peft, on the base that its configuration names."""
    library = require("peft", extra="hf", purpose=f"make {name.text}")
    folder = Path(name.target)
    base = json_object(folder / hub.ADAPTER, "the configuration of an adapter").get("base_model_name_or_path") or ""
    if not base or not isinstance(base, str):
        raise SpecError(
            f"{name.text!r} is an adapter that does not name its base; give --model BASE --checkpoint {folder}"
        )
    try:
        network = _from_hub(replace(name, text=f"hf:{base}", target=base))
        with importing("peft", f"make {name.text}"):
            made: nn.Module = library.PeftModel.from_pretrained(network, str(folder), is_trainable=True)
    except (SpecError, OSError, ValueError, RuntimeError) as fault:
        raise SpecError(
            f"{name.text!r} is an adapter, and its base {base} cannot be loaded or does not fit "
            f"({first_line(fault)}); give the base with --model, and --checkpoint {folder}"
        ) from fault
    return made.eval()


LIBRARIES: dict[str, Callable[[Name], nn.Module]] = {
    "zoo": _from_zoo,
    "torchvision": _from_torchvision,
    "timm": _from_timm,
    "hf": _from_hub,
}


def random_weights(text: str) -> bool:
    """Whether the weights that a name stands for are random, as far as the name tells; user code is not inspected.

    Args:
        text: the name of a model, as ``--model`` takes it.

    Returns:
        Whether they are; a network on a pretrained backbone has others too, and does not count.

    Example:
        >>> random_weights("zoo:mlp"), random_weights("timm:resnet18(pretrained=True)"), random_weights("train.py:make")
        (True, False, False)
    """
    name = parse(text)
    told = name.arguments
    if name.source == "hf":
        return not hub.has_weights(name.target)
    if name.source == "torchvision":
        return not (told.get("weights") or told.get("pretrained") or _backbone(name))
    if name.source == "timm":
        return not (told.get("pretrained") or told.get("checkpoint_path"))
    return name.source == "zoo"


def _backbone(name: Name) -> bool:
    """Whether a network of torchvision has a pretrained backbone, as those for detection have unless told otherwise."""
    library = require("torchvision.models", extra="torchvision", purpose=f"make {name.text}")
    takes = inspect.signature(library.get_model_builder(name.target)).parameters
    default = takes["weights_backbone"].default if "weights_backbone" in takes else None
    return bool(name.arguments.get("weights_backbone", default))
