"""How is the path of a training run kept? As a checkpoint every now and then, with a small index beside them.

A folder holds one safetensors file for each checkpoint, ``path.json`` (which tensors there are) and ``index.jsonl``,
one line for each checkpoint: step, epoch, loss, learning rate, notes. A file is written whole or not at all and before
its line, so an interruption of any kind can leave a folder that is shorter, but never one that is wrong.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from lossatlas import checksum
from lossatlas.atomic import append, replacing, write_text
from lossatlas.errors import RunMismatchError, SpecError
from lossatlas.expected import described_type, path_of
from lossatlas.objective import sealing
from lossatlas.oneline import number_of, verb_of
from lossatlas.paths import going_on
from lossatlas.paths.index import FORMAT, INDEX, LAYOUT, WEIGHTS, file_of, line_of, read_index
from lossatlas.results.opening import name_kind
from lossatlas.warned import warn

__all__ = ["Recorder", "Schedule", "growing", "learning_rate", "unwrapped"]

Schedule = Callable[[int], bool]
"""Whether a step is kept."""


def growing(ratio: float = 1.2) -> Schedule:
    """A schedule that keeps many steps early in a run, when most happens, and few late.

    Keeps step 0, and then every step that is at least ``ratio`` times the last one kept.

    Args:
        ratio: above 1.

    Returns:
        The schedule.

    Raises:
        SpecError: a ratio that is not above 1.

    Example:
        >>> [step for step in range(40) if growing(2.0)(step)]
        [0, 1, 2, 4, 8, 16, 32]
    """
    if not ratio > 1:
        raise SpecError(f"ratio={ratio}; expected a number above 1")

    def keeps(step: int) -> bool:
        last = 0
        while last < step:
            last = max(last + 1, int(last * ratio))
        return last == step

    return keeps


class Recorder:
    """Keeps checkpoints of a training run in a folder.

    Call :meth:`step` once before training, so that the path begins at the initial weights, and then after every step.
    The model is only read: its weights, mode, gradients and the global random state stay as they are. Under
    ``torch.distributed`` only the first process writes.

    If the folder already holds a path, a training that continues from about where the path ended extends it. If it went
    back to an earlier step, as after a crash, the checkpoints from there on are replaced, with a warning. Any other
    training is refused at its first step, so that two never become one path.

    Args:
        folder: created if missing.
        every: which steps are kept: every n-th, or a :data:`Schedule` such as :func:`growing`.
        bf16: keep the weights in bfloat16: half the disk space, with a relative error of at most 2^-8 in every weight.
            Smaller steps vanish, so do not use it for the end of a run with a small learning rate.
        tensors: ``"all"``, or ``"trainable"``, for instance for adapters on a frozen model.
        overwrite: replace the path in the folder, at the first checkpoint, with a warning.
        resume: continue the path in the folder, wherever the weights are.

    Attributes:
        count: the next step, if none is given.

    Raises:
        SpecError: an option is not valid, or the folder holds something else.

    Example:
        >>> import tempfile
        >>> model = nn.Linear(2, 1)
        >>> recorder = Recorder(tempfile.mkdtemp() + "/path", every=2)
        >>> [recorder.step(model, loss=1.0 / (1 + i)) for i in range(4)]
        [True, False, True, False]
        >>> [entry["step"] for entry in recorder.entries]
        [0, 2]
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every: int | Schedule = 1,
        bf16: bool = False,
        tensors: str = "all",
        overwrite: bool = False,
        resume: bool = False,
    ) -> None:
        if not callable(every) and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise SpecError(f"every={every!r}; expected a whole number of at least 1, or a function of the step")
        if tensors not in ("all", "trainable"):
            raise SpecError(f"tensors={tensors!r} is unknown; choose one of: all, trainable")
        if overwrite and resume:
            raise SpecError("overwrite=True and resume=True: a path is either replaced or continued; choose one")
        self.folder = path_of("folder", folder)
        self._keeps: Schedule = every if callable(every) else lambda step: step % every == 0
        self._bf16 = bf16
        self._tensors = tensors
        self._layout: dict[str, Any] | None = None
        self.entries = self._begin()
        self._replaced: list[dict[str, Any]] = []
        if overwrite:
            self._layout, self._replaced, self.entries = None, self.entries, []
        self._undecided = bool(self.entries) and not resume
        self._refused = False
        self._begins = math.inf
        self.count = self.entries[-1]["step"] + 1 if self.entries else 0

    def __repr__(self) -> str:
        """Where it keeps them, and how many there are."""
        return f"Recorder({str(self.folder)!r}: {number_of(len(self.entries), 'checkpoint')})"

    def step(
        self,
        model: nn.Module,
        *,
        step: int | None = None,
        epoch: float | None = None,
        loss: float | Tensor | None = None,
        lr: Any = None,
        **notes: Any,
    ) -> bool:
        """Keep the model if this step is due.

        The first call in a folder that holds a path decides whether this training continues it.

        Args:
            model: as it is now.
            step: number of the step; by default one more than the last.
            epoch: of the training, may be fractional.
            loss: of the training, a number or a scalar tensor.
            lr: learning rate: a number, an optimizer, or a scheduler.
            **notes: anything else that JSON can hold.

        Returns:
            Whether it was kept.

        Raises:
            RunMismatchError: the folder holds the path of another training, or of another architecture.
        """
        number = self.count if step is None else int(step)
        self._decide(model, number, epoch)
        self.count = number + 1
        if not self._keeps(number):
            return False
        return self.save(model, step=number, epoch=epoch, loss=loss, lr=lr, **notes)

    def save(
        self,
        model: nn.Module,
        *,
        step: int | None = None,
        epoch: float | None = None,
        loss: float | Tensor | None = None,
        lr: Any = None,
        **notes: Any,
    ) -> bool:
        """Keep the model now, due or not; the arguments are those of :meth:`step`.

        Returns:
            Whether it was kept; not if another process of ``torch.distributed`` keeps it, nor on a disk that is full or
            failing. There is one warning about that; what was kept before is safe, the training goes on, and later
            steps are tried again.

        Raises:
            RunMismatchError: the folder holds the path of another training, or of another architecture.
            SpecError: a note that JSON cannot hold.
        """
        number = self.count if step is None else int(step)
        self._decide(model, number, epoch)
        self.count = max(self.count, number + 1)
        if _other_process():
            return False
        content, parameters = _content(unwrapped(model), trainable=self._tensors == "trainable")
        entry = {
            "step": number,
            "epoch": epoch,
            "loss": None if loss is None else float(loss.detach() if isinstance(loss, Tensor) else loss),
            "lr": learning_rate(lr),
            "notes": notes,
            "file": file_of(number),
        }
        line_of(entry)  # refuses a note that cannot be kept before anything is written
        try:
            self._keep(entry, content, parameters)
        except OSError as fault:
            if not self._refused:
                warn(
                    f"{self.folder}: step {number} was not recorded ({fault.strerror or fault}); the training goes on, "
                    "what was recorded before is safe, and later steps are tried again"
                )
            self._refused = True
            return False
        return True

    def _keep(self, entry: dict[str, Any], content: Mapping[str, Tensor], parameters: list[str]) -> None:
        """Write the weights of an entry, and then its line.

        Raises:
            OSError: the disk is full or failing.
        """
        self._replace()
        self._agree(content, parameters)
        self._cut(int(min(entry["step"], self._begins)))
        self._begins = math.inf
        kept = {name: t.to(torch.bfloat16) if self._bf16 and name in parameters else t for name, t in content.items()}
        tensors = _apart(kept)
        metadata = sealing.sealed(tensors, {})
        entry[WEIGHTS] = sealing.content_sum(metadata)
        path = self.folder / entry["file"]
        with replacing(path, durably=True) as scratch:
            save_file(tensors, scratch, metadata=metadata)
        try:
            append(self.folder / INDEX, line_of(entry))
        except OSError:
            path.unlink(missing_ok=True)
            raise
        self.entries.append(entry)

    def _begin(self) -> list[dict[str, Any]]:
        if not self.folder.exists() or all(entry.name.startswith(".") for entry in self.folder.iterdir()):
            self.folder.mkdir(parents=True, exist_ok=True)
            return []
        self._layout, entries = read_index(self.folder)
        text = (self.folder / INDEX).read_text(encoding="utf-8") if (self.folder / INDEX).exists() else ""
        if "".join(map(line_of, entries)) != text:  # the last line was cut off
            self._rewrite(entries)
        return entries

    def _decide(self, model: nn.Module, step: int, epoch: float | None) -> None:
        """At the first call, tell a continued training from another one; its earlier record beyond this step goes.

        Raises:
            RunMismatchError: it is another one.
        """
        if not self._undecided or _other_process():
            return
        content, parameters = _content(unwrapped(model), trainable=self._tensors == "trainable")
        self._agree(content, parameters)
        if stays := [entry for entry in self.entries if entry["step"] < step]:
            going_on.check(self.folder, stays, {name: content[name] for name in parameters}, epoch=epoch)
        self._undecided, self._begins = False, step

    def _replace(self) -> None:
        """Remove the path of an earlier training, as asked for."""
        if not self._replaced:
            return
        first, last = self._replaced[0]["step"], self._replaced[-1]["step"]
        warn(
            f"{self.folder}: overwrite=True: {number_of(len(self._replaced), 'checkpoint')} of an earlier training, "
            f"{going_on.steps_in_words(first, last)}, {verb_of(len(self._replaced), 'is')} replaced",
        )
        self._rewrite([])
        for entry in self._replaced:
            (self.folder / entry["file"]).unlink(missing_ok=True)
        self._replaced = []

    def _agree(self, content: Mapping[str, Tensor], parameters: list[str]) -> None:
        """Write the layout of a new path, or check it against the one that is there."""
        shapes = {name: list(tensor.shape) for name, tensor in content.items()}
        layout = {"format": FORMAT, "parameters": parameters, "shapes": shapes}
        if self._layout is None:
            write_text(self.folder / LAYOUT, checksum.sealed(layout, indent=None))
            name_kind(self.folder, "path")
            self._layout = layout
        elif self._layout["shapes"] != shapes:
            there, here = self._layout["shapes"], shapes
            differing = next(name for name in (*there, *here) if there.get(name) != here.get(name))
            raise RunMismatchError(
                f"{self.folder} holds the path of another architecture: {differing!r} has shape "
                f"{there.get(differing)} there and {here.get(differing)} here. Choose another folder, or "
                "delete this one"
            )

    def _cut(self, step: int) -> None:
        """Drop the checkpoints from a step on: the training went back."""
        kept = [entry for entry in self.entries if entry["step"] < step]
        dropped = self.entries[len(kept) :]
        if not dropped:
            return
        warn(
            f"{self.folder}: the training went back to step {step}; {number_of(len(dropped), 'checkpoint')} from "
            f"there on, recorded before, {verb_of(len(dropped), 'is')} replaced",
        )
        self._rewrite(kept)
        for entry in dropped:
            (self.folder / entry["file"]).unlink(missing_ok=True)
        self.entries = kept

    def _rewrite(self, entries: list[dict[str, Any]]) -> None:
        text = "".join(map(line_of, entries))
        write_text(self.folder / INDEX, text)


def learning_rate(source: Any) -> float | None:
    """The learning rate that a number, an optimizer or a scheduler stands for; of the first group of parameters.

    Returns:
        The rate, or ``None`` where there is none to read.

    Raises:
        SpecError: something else.

    Example:
        >>> learning_rate(torch.optim.SGD([torch.zeros(1)], lr=0.5))
        0.5
    """
    if source is None or isinstance(source, (int, float)):
        return None if source is None else float(source)
    if isinstance(source, Tensor):
        return float(source)
    if hasattr(source, "get_last_lr"):
        return float(source.get_last_lr()[0])
    if hasattr(source, "param_groups"):
        return float(source.param_groups[0]["lr"])
    raise SpecError(f"lr is {described_type(source)}; expected a number, an optimizer or a scheduler")


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DataParallel, DistributedDataParallel and torch.compile, so that names stay its own.

    Returns:
        The model that the user wrote.

    Raises:
        SpecError: it is not a model.

    Example:
        >>> inner = nn.Linear(1, 1)
        >>> unwrapped(nn.DataParallel(inner)) is inner
        True
    """
    if not isinstance(model, nn.Module):
        raise SpecError(f"model is {described_type(model)}; expected a torch.nn.Module")
    while True:
        if isinstance(model, (DataParallel, DistributedDataParallel)):
            model = model.module
        elif isinstance(inner := model._modules.get("_orig_mod"), nn.Module):
            model = inner
        else:
            return model


def _content(model: nn.Module, *, trainable: bool) -> tuple[dict[str, Tensor], list[str]]:
    """What is kept: parameters, tied ones once, and buffers that belong to the state; and which are parameters."""
    parameters = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad or not trainable}
    if not parameters:
        raise SpecError("model has no parameter to record; unfreeze it, or use tensors='all'")
    state = model.state_dict()
    buffers = {name: b.detach() for name, b in model.named_buffers() if name in state}
    return parameters | buffers, list(parameters)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, each in memory of its own: safetensors refuses tensors that share memory."""
    found, seen = {}, set()
    for name, tensor in tensors.items():
        there = tensor.cpu().contiguous()
        where = there.untyped_storage().data_ptr()
        found[name] = there.clone() if where in seen else there
        seen.add(where)
    return found


def _other_process() -> bool:
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_rank() > 0
