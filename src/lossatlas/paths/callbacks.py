"""How do Lightning and the Hugging Face Trainer record a path, and log a quick line? Through thin adapters.

Neither library is imported before it is needed. A training run is worth more than its picture: whatever fails here
draws a warning, once for each reason, and training goes on.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import xarray as xr
from torch import nn

from lossatlas.draw import draw
from lossatlas.errors import SpecError, unknown
from lossatlas.extras import require, require_from
from lossatlas.objective import Objective
from lossatlas.oneline import one_line
from lossatlas.paths.dashboard import log_to_wandb
from lossatlas.paths.edge import Edge
from lossatlas.paths.record import Recorder, unwrapped
from lossatlas.sampling.run import sample
from lossatlas.sampling.samplers import Grid
from lossatlas.space.charts import Plane
from lossatlas.warned import each_once, warn

__all__ = ["WHEN", "QuickLine", "When", "lightning", "trainer"]

When = Literal["step", "epoch"]
WHEN = ("step", "epoch")

_LIGHTNING = ("lightning.pytorch", "pytorch_lightning")
_RECORDING = "record a path with its Trainer"


@dataclass(frozen=True, kw_only=True)
class QuickLine:
    """A line or plane through the model as it is, along random filter-normalised directions: the same seed every time.

    The model being trained is only read. With its running statistics frozen, a line of 11 points costs 11 evaluations
    of the data and a plane 121, so give it a few hundred samples.

    Attributes:
        data: as for :class:`~lossatlas.Objective`.
        loss: as for :class:`~lossatlas.Objective`.
        every: epochs from one line to the next.
        points: along each axis.
        reach: each axis runs from minus to plus this, in multiples of its direction.
        seed: of the directions.
        axes: 1 for a line, 2 for a plane.
        options: further arguments of the Objective.

    Raises:
        SpecError: a number that makes no sense.

    Example:
        >>> import torch
        >>> data = torch.ones(4, 2), torch.zeros(4, 1)
        >>> line = QuickLine(data=data, loss=torch.nn.functional.mse_loss, points=5)
        >>> line.sample(nn.Linear(2, 1))["loss"].shape
        (5,)
    """

    data: Any
    loss: Callable[..., Any] | None = None
    every: int = 1
    points: int = 11
    reach: float = 1.0
    seed: int = 0
    axes: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    __repr__ = one_line

    def __post_init__(self) -> None:
        """Check the options."""
        if self.every < 1 or self.points < 2:
            raise SpecError(f"every={self.every}, points={self.points}; expected at least 1 epoch and 2 points")
        if self.axes not in (1, 2):
            raise SpecError(f"axes={self.axes!r}; expected 1 for a line or 2 for a plane")

    def sample(self, model: nn.Module) -> xr.Dataset:
        """The line or plane through a model as it is now; warnings about data and loss come only the first time."""
        axes = ("x", "y")[: self.axes]
        with each_once(self._said):
            objective = Objective(unwrapped(model), self.data, self.loss, **self.options)
            plane = Plane.random(objective, seed=self.seed, axes=axes)
            grid = Grid(**dict.fromkeys(axes, (-self.reach, self.reach, self.points)))
            return sample(objective, plane, grid, progress=False, plan="plain")

    def show(self, model: nn.Module, to: Any, step: int) -> None:
        """Log the line through a model as it is now, if there is something to log it to."""
        if to is not None:
            self.log(self.sample(model), to, step)

    def log(self, landscape: xr.Dataset, to: Any, step: int, name: str = "") -> bool:
        """Log the picture of a line or a plane.

        Args:
            landscape: from :meth:`sample`, or any other Landscape, such as the principal plane of the path so far.
            to: a ``SummaryWriter`` of TensorBoard, a run of Weights & Biases, or a Lightning logger of either.
            step: at which it is shown.
            name: the name under which it is shown; by default lossatlas/line or lossatlas/plane.

        Returns:
            Whether it was logged: a logger that takes no pictures, such as one for CSV files, is skipped.
        """
        writer = getattr(to, "experiment", to)
        name = name or f"lossatlas/{'line' if landscape['status'].ndim == 1 else 'plane'}"
        with tempfile.TemporaryDirectory() as folder:
            if callable(getattr(writer, "add_image", None)):
                image = require("matplotlib.image", extra="draw", purpose="log a picture")
                pixels = image.imread(draw(landscape, Path(folder) / "line.png"))
                writer.add_image(name, pixels[..., :3], step, dataformats="HWC")
                return True
            wandb = sys.modules.get("wandb")
            if wandb is not None and callable(getattr(writer, "log", None)):
                picture = wandb.Image(str(draw(landscape, Path(folder) / "line.png")))
                if writer is not to and callable(getattr(to, "log_image", None)):  # Lightning has an axis of its own
                    to.log_image(name, [picture], step)
                else:
                    log_to_wandb(writer, {name: picture}, step)
                return True
        return False


def lightning(
    recorder: Recorder | None = None,
    *,
    when: When = "step",
    line: QuickLine | None = None,
    edge: Edge | None = None,
) -> Any:
    """A callback for Lightning that records the path, and logs a quick line and the edge to the trainer's loggers.

    Args:
        recorder: by default no path is recorded. Its ``every`` counts optimizer steps or epochs, as ``when`` says.
        when: ``"step"`` or ``"epoch"``.
        line: by default none is sampled.
        edge: critical sharpness beside 2/η, measured every few optimizer steps, as its ``every`` says.

    Returns:
        A ``Callback`` of the package in use, ``lightning`` or ``pytorch_lightning``.

    Raises:
        SpecError: an unknown ``when``.
        ImportError: neither package is installed.
    """
    _check(when)
    base: type[Any] = _lightning().Callback

    class Path(_ForLightning, base):  # type: ignore[misc]  # the base is known only now
        """Records the path of a training."""

    return Path(recorder, when, line, edge)


def trainer(
    recorder: Recorder | None = None,
    *,
    when: When = "step",
    line: QuickLine | None = None,
    edge: Edge | None = None,
    to: Any = None,
) -> Any:
    """A callback for the Hugging Face Trainer that records the path, and logs a quick line and the edge.

    Args:
        recorder: by default no path is recorded. Its ``every`` counts optimizer steps or epochs, as ``when`` says.
        when: ``"step"`` or ``"epoch"``.
        line: by default none is sampled.
        edge: critical sharpness beside 2/η, measured every few steps, as its ``every`` says.
        to: where line and edge are logged, a ``SummaryWriter`` or a run of Weights & Biases; by default the run of
            Weights & Biases that is active, if there is one.

    Returns:
        A ``TrainerCallback``.

    Raises:
        SpecError: an unknown ``when``.
        ImportError: transformers is not installed.
    """
    _check(when)
    base: type[Any] = require_from("transformers", "TrainerCallback", extra="hf", purpose=_RECORDING)

    class Path(_ForTrainer, base):  # type: ignore[misc]  # the base is known only now
        """Records the path of a training."""

    return Path(recorder, when, line, edge, to)


def _harmless(hook: Callable[..., None]) -> Callable[..., None]:
    """A part of a callback whose failure causes one warning for each reason, and stops nothing."""
    said: set[str] = set()
    doing = {
        "record": "the path was not recorded",
        "show": "no line was logged",
        "look": "the edge was not measured",
    }[hook.__name__]

    @functools.wraps(hook)
    def safe(*arguments: Any) -> None:
        try:
            hook(*arguments)
        except Exception as fault:
            words = f"{type(fault).__name__}: {str(fault) or 'without a message'}"
            if words not in said:
                said.add(words)
                warn(f"lossatlas: {doing} here; training goes on ({words})")

    return safe


class _ForLightning:
    """The hooks of Lightning."""

    def __init__(self, recorder: Recorder | None, when: When, line: QuickLine | None, edge: Edge | None) -> None:
        self.recorder, self.when, self.line, self.edge = recorder, when, line, edge
        self.seen = -1
        self.looked = -1
        self.loss: float | None = None

    @_harmless
    def record(self, trainer: Any, module: Any, finished: int) -> None:
        """Keep the weights; ``finished`` is the number of whole epochs completed, which a trainer counts late."""
        number = trainer.global_step if self.when == "step" else finished
        if self.recorder is None or not trainer.is_global_zero or number == self.seen:
            return
        self.seen = number
        lr = trainer.optimizers[0] if trainer.optimizers else None
        self.recorder.step(module, step=number, epoch=finished, loss=self.loss, lr=lr)

    @_harmless
    def look(self, trainer: Any, module: Any) -> None:
        if self.edge is None or not trainer.is_global_zero or trainer.global_step == self.looked:
            return
        self.looked = trainer.global_step
        found = self.edge.step(module, trainer.optimizers[0], step=self.looked)
        for logger in trainer.loggers:
            if found is not None:
                self.edge.log(found, logger)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.record(trainer, module, trainer.current_epoch)
        self.look(trainer, module)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.loss = _number(outputs.get("loss") if isinstance(outputs, Mapping) else outputs)
        if self.when == "step":
            self.record(trainer, module, trainer.current_epoch)
        self.look(trainer, module)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        if self.when == "epoch":
            self.record(trainer, module, trainer.current_epoch + 1)
        self.show(trainer, module)

    @_harmless
    def show(self, trainer: Any, module: Any) -> None:
        if self.line is not None and trainer.is_global_zero and (trainer.current_epoch + 1) % self.line.every == 0:
            landscape = self.line.sample(module)
            for logger in trainer.loggers:
                self.line.log(landscape, logger, trainer.global_step)


class _ForTrainer:
    """The hooks of the Trainer of Hugging Face."""

    def __init__(
        self, recorder: Recorder | None, when: When, line: QuickLine | None, edge: Edge | None, to: Any
    ) -> None:
        self.recorder, self.when, self.line, self.edge, self.to = recorder, when, line, edge, to
        self.loss: float | None = None

    @_harmless
    def record(self, state: Any, model: Any, lr: Any) -> None:
        if self.recorder is None or not state.is_world_process_zero:
            return
        steps, epoch = self.when == "step", state.epoch or 0.0
        number = state.global_step if steps else round(epoch)
        self.recorder.step(model, step=number, epoch=epoch if steps else float(number), loss=self.loss, lr=lr)

    @_harmless
    def look(self, state: Any, model: Any, optimizer: Any) -> None:
        if self.edge is not None and state.is_world_process_zero:
            self.edge.step(model, getattr(optimizer, "optimizer", optimizer), step=state.global_step, to=self.board)

    @property
    def board(self) -> Any:
        return self.to or getattr(sys.modules.get("wandb"), "run", None)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
        self.record(state, kw["model"], kw.get("optimizer"))
        self.look(state, kw["model"], kw.get("optimizer"))

    def on_log(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
        self.loss = _number((kw.get("logs") or {}).get("loss", self.loss))

    def on_step_end(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
        if self.when == "step":
            self.record(state, kw["model"], kw.get("optimizer"))
        self.look(state, kw["model"], kw.get("optimizer"))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
        if self.when == "epoch":
            self.record(state, kw["model"], kw.get("optimizer"))
        self.show(state, kw["model"])

    @_harmless
    def show(self, state: Any, model: Any) -> None:
        if self.line is not None and state.is_world_process_zero and round(state.epoch) % self.line.every == 0:
            self.line.show(model, self.board, state.global_step)


def _number(loss: Any) -> float | None:
    """A loss as a number; None if it is not one."""
    try:
        return None if loss is None else float(loss)
    except (TypeError, ValueError, RuntimeError):
        return None


def _check(when: str) -> None:
    if when not in WHEN:
        raise SpecError(unknown("when", when, WHEN))


def _lightning() -> Any:
    """The Lightning in use: it has two names, and a callback for one does not work with the other."""
    for name in _LIGHTNING:
        if name in sys.modules:
            return sys.modules[name]
    there = (name for name in _LIGHTNING if importlib.util.find_spec(name.partition(".")[0]) is not None)
    return require(next(there, _LIGHTNING[0]), extra="", purpose=_RECORDING)
