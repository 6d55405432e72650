"""What a name on the command line stands for: a model, data, a loss, a metric or a forward pass.

==============================  =====================================================
``file.py:callable``            a function or object in a file
``package.module:callable``     a function or object that can be imported
``zoo:NAME``                    a network or data set that comes with lossatlas
``torchvision:NAME``            a classification model of torchvision
``timm:NAME``                   a model of timm
``hf:folder``                   a model of Hugging Face transformers; on the hub ``hf:OWNER/NAME``
``images.npz``                  (data) arrays x uint8 [N, H, W, 3] and y [N]
``text.txt``                    (data) a text in blocks of 128 bytes, or of a model's own tokens (``hf:``)
``sentences.tsv``               (data) columns ``sentence`` and ``label``
==============================  =====================================================

Arguments go in brackets and must be literals: ``zoo:resnet20(width=8, channels=1)``.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn
from torch.nn import functional as F

from lossatlas import zoo
from lossatlas.cli.library_names import LIBRARIES
from lossatlas.cli.parsed_names import DATA, FORMS, OWN, SEED, Name, parse
from lossatlas.cli.userfiles import at_home, imported
from lossatlas.errors import SpecError, unknown
from lossatlas.expected import described_type
from lossatlas.objective import calling, language
from lossatlas.objective import metrics as known_metrics
from lossatlas.objective.contents import read_contents
from lossatlas.objective.randomness import seeded

__all__ = [
    "DATA",
    "FORMS",
    "LOSSES",
    "METRICS",
    "SEED",
    "Name",
    "data",
    "folder",
    "forward",
    "loss",
    "made",
    "metric",
    "model",
    "parse",
]

LOSSES: dict[str, Callable[..., Any] | None] = {
    "cross_entropy": F.cross_entropy,
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "nll": F.nll_loss,
    "bce_with_logits": F.binary_cross_entropy_with_logits,
    "tokens": language.cross_entropy,
    "own": None,
}
"""Losses by name; ``tokens`` is cross-entropy weighted by token, ``own`` the loss that the model itself returns."""

METRICS: dict[str, Callable[..., Any]] = {
    name: getattr(known_metrics, name) for name in ("error", "accuracy", "token_error", "token_accuracy", "perplexity")
}


def model(text: str, *, checkpoint: str = "", trust_pickle: bool = False) -> nn.Module:
    """The model that a name stands for.

    Args:
        text: the name.
        checkpoint: a file whose ``hyper_parameters``, as Lightning writes them, are passed to a user's class or
            function as far as it takes them; arguments in the name take precedence.
        trust_pickle: run the code in that file, if there is any.

    Returns:
        The model, as its maker left it. Weights that are drawn at random are drawn with seed 0, so that the same name
        is the same network each time.

    Raises:
        SpecError: nothing has that name, or it makes no model.
    """
    name = parse(text)
    with seeded(SEED):
        return _model(name, checkpoint, trust_pickle)


def _model(name: Name, checkpoint: str, trust_pickle: bool) -> nn.Module:
    if name.source in LIBRARIES:
        return LIBRARIES[name.source](name)
    found = _found(name)
    if checkpoint and not isinstance(found, nn.Module) and callable(found):
        name = replace(name, arguments={**_stored(found, checkpoint, trust_pickle), **name.arguments})
    made = _called(name, found, (nn.Module,))
    if not isinstance(made, nn.Module):
        raise SpecError(
            f"{name.text!r} gave {described_type(made)}; expected a torch.nn.Module or a function returning one"
        )
    return made


class _Settings(dict[str, Any]):
    """Hyper-parameters that were given as one argument, by key and by attribute."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def _stored(found: Callable[..., Any], checkpoint: str, trust_pickle: bool) -> dict[str, Any]:
    """The arguments in a checkpoint that a class or function takes."""
    try:
        takes = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return {}
    if not takes or not Path(checkpoint).is_file() or Path(checkpoint).suffix == ".safetensors":
        return {}
    contents = read_contents(checkpoint, trust_pickle=trust_pickle)
    known = {name: value for name, value in contents.arguments.items() if not name.startswith("_")}
    named = {p.name for p in takes if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if known and contents.argument in named:
        return {contents.argument: _Settings(known)}
    everything = any(p.kind is p.VAR_KEYWORD for p in takes)
    return {name: value for name, value in known.items() if everything or name in named}


def folder(text: str) -> str:
    """The folder, or name on the hub, in ``hf:NAME-or-folder(…)``."""
    return parse(text).target if ":" in text else text


def data(text: str) -> Any:
    """The data that a name stands for, as an Objective takes it.

    Returns:
        Batches, or a tuple of tensors. Whatever a user's function draws at random is drawn with seed 0, as for
        :func:`model`.

    Raises:
        SpecError: nothing has that name.
    """
    if text.endswith(".npz"):
        return zoo.data("npz", path=text)
    if Path(text).suffix in (".txt", ".tsv"):
        return zoo.data({".txt": "text", ".tsv": "tsv"}[Path(text).suffix], path=text)
    name = parse(text, DATA)
    if name.source == "zoo":
        return zoo.data(name.target, **name.arguments)
    if name.source in LIBRARIES:
        raise SpecError(f"data {text!r} names a model; expected {DATA}")
    with seeded(SEED):
        return _called(name, _found(name, DATA), ())


def made(name: Name, ready: tuple[type, ...]) -> Any:
    """What a user's name stands for, called if need be.

    Returns:
        The object; one of a type in ``ready`` stays as it is.
    """
    with seeded(SEED):
        return _called(name, _found(name, OWN), ready)


def loss(text: str) -> Callable[..., Any] | None:
    """The loss that a name stands for: one of the known ones, or a callable of the user's.

    Returns:
        The loss, or ``None`` where the model has its own.

    Raises:
        SpecError: nothing has that name.
    """
    return LOSSES[text] if text in LOSSES else _function("loss", text, LOSSES)


def forward(loss_name: str, text: str = "") -> calling.Forward | None:
    """How a batch goes through the model: as a user's function says, or as the loss needs it.

    Args:
        loss_name: the name of the loss: one by token needs logits beside their tokens.
        text: the name of a function of the model and a batch; empty for none.

    Returns:
        The function, or ``None`` for the usual way.

    Raises:
        SpecError: nothing has that name.
    """
    if text:
        return _function("forward", text, {}, "the model and a batch, which returns outputs and targets")
    return language.Forward() if loss_name == "tokens" else None


def metric(text: str) -> tuple[str, Callable[..., Any]]:
    """The metric that a name stands for, and what to call it.

    Returns:
        The name and the metric.

    Raises:
        SpecError: nothing has that name.
    """
    if text in METRICS:
        return text, METRICS[text]
    return parse(text).target if ":" in text else text, _function("metric", text, METRICS)


def _function(
    argument: str, text: str, known: Mapping[str, Any], of: str = "outputs and targets"
) -> Callable[..., Any]:
    if ":" not in text:
        raise SpecError(unknown(argument, text, [*known, "file.py:callable", "package.module:callable"]))
    name = parse(text, OWN)
    found = _found(name, OWN)
    if isinstance(found, type) or name.arguments:
        found = _called(name, found, ())
    if not callable(found):
        raise SpecError(f"{text!r} is {described_type(found)}; expected a function of {of}")
    function: Callable[..., Any] = found
    return function


def _found(name: Name, forms: str = FORMS) -> Any:
    """The object in the user's file or module."""
    module = _file(Path(name.source)) if name.source.endswith(".py") else _module(name, forms)
    if not hasattr(module, name.target):
        public = [entry for entry in vars(module) if not entry.startswith("_")]
        near = difflib.get_close_matches(name.target, public, n=3) or public[:5]
        raise SpecError(f"{name.source} has no {name.target!r}; it has {', '.join(near) or 'nothing public'}")
    return getattr(module, name.target)


def _called(name: Name, found: Any, ready: tuple[type, ...]) -> Any:
    """Call a function of the user's; an object that is ready for use stays as it is."""
    is_loader = hasattr(found, "__iter__") and not isinstance(found, type)
    if isinstance(found, ready) or is_loader or not callable(found):
        return found
    try:
        with at_home(Path(name.source).parent) if name.source.endswith(".py") else nullcontext():
            return found(**name.arguments)
    except SpecError:
        raise
    except Exception as fault:  # whatever the user's code raises, the user should see
        raise SpecError(f"{name.text!r} raised {_place(fault)}") from fault


def _file(path: Path) -> ModuleType:
    try:
        return imported(path)
    except SpecError:
        raise
    except Exception as fault:  # whatever the user's code raises, the user should see
        raise SpecError(f"{path} raised {_place(fault)}") from fault


def _module(name: Name, forms: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name.source)
    except ModuleNotFoundError as fault:
        raise SpecError(f"{name.text!r}: no module {fault.name!r}; expected {forms}") from fault
    except Exception as fault:  # whatever the user's code raises, the user should see
        raise SpecError(f"{name.source} raised {_place(fault)}") from fault


def _place(fault: BaseException) -> str:
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{type(fault).__name__}: {fault} ({frame.filename}, line {frame.lineno})"
