"""Networks and data to start with, by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_kind
from lossatlas.objective.randomness import seeded
from lossatlas.objective.sources import Source, note
from lossatlas.zoo.data import DATASETS
from lossatlas.zoo.models import MODELS

__all__ = ["data", "datasets", "model", "models"]


def __dir__() -> list[str]:
    return list(__all__)


def models() -> tuple[str, ...]:
    """The names that :func:`model` knows."""
    return tuple(MODELS)


def datasets() -> tuple[str, ...]:
    """The names that :func:`data` knows."""
    return tuple(DATASETS)


def model(name: str, *, seed: int | None = None, **options: Any) -> nn.Module:
    """Make a network.

    Args:
        name: one of :func:`models`, for instance ``"resnet56_noshort"``.
        seed: seed of the initial weights; with it, the global random state is left alone.
        options: of the network: ``channels``, ``width`` and ``classes`` for a ResNet, ``widths`` for an MLP.

    Returns:
        The network, in training mode.

    Raises:
        SpecError: an unknown name or option.

    Example:
        >>> sum(p.numel() for p in model("resnet20").parameters())
        272474
    """
    check_kind("name", name, str, "a name of la.zoo.models()")
    if name not in MODELS:
        raise SpecError(unknown("model", name, MODELS))
    try:
        if seed is None:
            return MODELS[name](**options)
        with seeded(seed):
            return MODELS[name](**options)
    except TypeError as fault:
        raise SpecError(f"model {name!r}: {fault}") from fault


def data(name: str, *, split: str = "train", **options: Any) -> Any:
    """Load a preprocessed data set, as an Objective takes it: usually a pair of tensors.

    =================  ========================================================  ==================================
    name               what it is                                                options
    =================  ========================================================  ==================================
    ``digits``         8×8 digits that come with scikit-learn
    ``cifar10``        from a folder in its published layout; ``cifar100`` too   ``root``
    ``mnist``          from a folder with its idx files; ``fashion_mnist`` too   ``path``
    ``npz``            colour images x uint8 [N, H, W, 3] and classes y [N]      ``path``
    ``folder``         pictures in a folder for each class                       ``path``, ``size``, ``mean``, ``std``
    ``reference``      the language reference that comes with CPython, 0.5 MB    as ``text``, without ``path``
    ``text``           a text file in blocks of bytes or BPE tokens              ``path``, ``block``, ``tokenizer``,
                                                                                 ``vocabulary``
    ``tsv``            sentences with classes                                    ``path``, ``length``, ``tokenizer``,
                                                                                 ``sentence``, ``label``, ``batches``
    ``datasets``       a data set of Hugging Face on disk                        ``path``, ``columns``, ``batch``
    =================  ========================================================  ==================================

    Args:
        name: one of :func:`datasets`.
        split: ``"train"`` or ``"test"``.
        options: of the data set.

    Returns:
        Images, float32 [N, C, H, W], and classes, int64 [N]; of texts, tokens and next tokens, int64 [N, T].

    Raises:
        SpecError: an unknown name, split or option, or a file that is missing or damaged.

    Example:
        >>> x, y = data("digits")
        >>> tuple(x.shape), tuple(y.shape)
        ((1437, 1, 8, 8), (1437,))
    """
    check_kind("name", name, str, "a name of la.zoo.datasets()")
    if name not in DATASETS:
        raise SpecError(unknown("data", name, DATASETS))
    if split not in ("train", "test"):
        raise SpecError(unknown("split", split, ("train", "test")))
    try:
        found = DATASETS[name](split=split, **options)
    except TypeError as fault:
        raise SpecError(f"data {name!r}: {fault}") from fault
    if isinstance(found, tuple) and all(isinstance(part, Tensor) for part in found):
        there = {key: _absolute(option) for key, option in options.items()}
        if all(isinstance(option, (str, int, float, type(None))) for option in there.values()):
            note(Source(_tensors, (name, split, tuple(there.items()))), found)
    return found


def _absolute(option: Any) -> Any:
    """An option, made independent of the current folder."""
    text = os.fspath(option) if isinstance(option, os.PathLike) else option
    return str(Path(text).absolute()) if isinstance(text, str) and Path(text).exists() else text


def _tensors(name: str, split: str, options: tuple[tuple[str, Any], ...]) -> tuple[Tensor, ...]:
    """What a worker reads instead of being sent it."""
    found: tuple[Tensor, ...] = DATASETS[name](split=split, **dict(options))
    return found
