"""What do the name and the content of a checkpoint file say about when it was saved?"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["When", "is_marked", "plain", "told"]

_COPY = re.compile(r"([ _-]*\(\d+\)|[ _-]+copy([ _-]*\d+)?|^copy of |-v\d+)", re.IGNORECASE)
_MARKS = frozenset(
    ("best", "last", "final", "latest", "swa", "ema", "avg", "average", "averaged", "copy", "backup", "bak")
)
_STEP = re.compile(
    r"(?:(?<![a-z])(?:global[_-]?)?(?:steps?|iter(?:ation)?s?|it|updates?|s))[=_\- ]*(\d+)(k?)(?![a-z\d])"
)
_STEP_AFTER = re.compile(r"(?<![\d.a-z])(\d+)(k?)[_\- ]?(?:steps?|iter(?:ation)?s?|updates?)(?![a-z])")
_EPOCH = re.compile(r"(?<![a-z])(?:epochs?|ep|e)[=_\- ]*(\d+)(?![a-z\d])")
_STEP_KEYS = ("global_step", "step", "iteration", "iter", "num_updates", "iter_num")


@dataclass(frozen=True, kw_only=True)
class When:
    """When a checkpoint was kept, as far as is known.

    Attributes:
        epoch: of the training.
        step: of the training, or of its epoch.
        loss: of the training at that step.
        lr: learning rate at that step.
    """

    epoch: float | None = None
    step: int | None = None
    loss: float | None = None
    lr: float | None = None

    @property
    def known(self) -> bool:
        """Whether there is any number."""
        return self.epoch is not None or self.step is not None


def is_marked(path: Path) -> bool:
    """Whether a name says that it is a choice, a mean or a copy, and not a step of its own.

    Returns:
        Whether it does.

    Example:
        >>> [is_marked(Path(name)) for name in ("best.pt", "epoch_3 (1).pt", "lastingness_4.pt")]
        [True, True, False]
    """
    words = re.split(r"[^a-z]+", _stem(path).lower())
    return bool(_MARKS & set(words)) or bool(_COPY.search(_stem(path)))


def told(path: Path) -> When:
    """What a checkpoint says about when it was kept: what it recorded comes first, then its name.

    Args:
        path: a file, or a folder in the layout of Hugging Face.

    Returns:
        What is known; plain numbers in a name, without a word before them, are ignored.

    Example:
        >>> told(Path("epoch=3-step=1200.ckpt")).step, told(Path("resnet18_epoch_7_0.93.pt")).epoch
        (1200, 7.0)
    """
    name = _COPY.sub("", _stem(path)).lower()
    epoch, step = _EPOCH.search(name), _STEP.search(name) or _STEP_AFTER.search(name)
    if path.is_dir() and step is None and (number := re.fullmatch(r"checkpoint[-_](\d+)", name)):
        step = number
    found = {
        "epoch": float(epoch[1]) if epoch else None,
        "step": int(step[1]) * (1000 if step.lastindex == 2 and step[2] else 1) if step else None,
    }
    return When(**{**found, **{name: value for name, value in _recorded(path).items() if value is not None}})


def plain(paths: Sequence[Path]) -> list[tuple[int, ...]] | None:
    """The plain numbers in which names of one pattern differ, in the order in which they appear.

    Args:
        paths: the checkpoints.

    Returns:
        Numbers for each, the first one counting most; None if the names have no pattern in common, or differ in no
        whole number.

    Example:
        >>> plain([Path("net18_10_0.9.pt"), Path("net18_2_0.7.pt")])
        [(10,), (2,)]
    """
    split = [re.split(r"(\d+(?:\.\d+)*)", _COPY.sub("", _stem(path))) for path in paths]
    if len({tuple(parts[::2]) for parts in split}) != 1:
        return None
    columns = [column for column in zip(*(parts[1::2] for parts in split), strict=True) if len(set(column)) > 1]
    whole = [column for column in columns if all(entry.isdigit() for entry in column)]
    return list(zip(*([int(entry) for entry in column] for column in whole), strict=True)) if whole else None


def _stem(path: Path) -> str:
    return path.name if path.is_dir() or path.suffix[1:].isdigit() else path.stem


def _recorded(path: Path) -> dict[str, Any]:
    """What a checkpoint recorded about itself; nothing if unreadable, as reading its weights will report."""
    with contextlib.suppress(Exception):
        if path.is_dir():
            state = json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            step = _whole(state.get("global_step"))
            logged = [e for e in state.get("log_history", ()) if e.get("step") == step and "loss" in e]
            values = {"loss": logged[-1]["loss"], "lr": logged[-1].get("learning_rate")} if logged else {}
            return {"step": step, "epoch": _number(state.get("epoch")), **{n: _number(v) for n, v in values.items()}}
        if path.suffix != ".safetensors":
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            if isinstance(content, Mapping):
                steps = [_whole(content.get(key)) for key in _STEP_KEYS]
                step = next((one for one in steps if one is not None), None)
                return {"step": step, "epoch": _number(content.get("epoch"))}
    return {}


def _number(value: Any) -> float | None:
    if isinstance(value, Tensor) and value.dim() == 0:
        value = value.item()
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return float(value) if good else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None
