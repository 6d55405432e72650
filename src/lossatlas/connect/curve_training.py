"""How are the bends of a curve trained, and how does an interrupted training continue?"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from lossatlas.atomic import replacing
from lossatlas.errors import RunMismatchError, SpecError
from lossatlas.objective import Objective, batchnorm, means, sealing
from lossatlas.objective.batches import fingerprint
from lossatlas.objective.reentrant import differentiated
from lossatlas.objective.refusal import asked
from lossatlas.results.asked import command_of
from lossatlas.results.landscape import About
from lossatlas.results.spec import RunSpec
from lossatlas.sampling.provenance import subject_identity
from lossatlas.space.curves import Curve
from lossatlas.untrusted import reading, safetensors_header

__all__ = ["PATIENCE_SECONDS", "SECONDS", "TRAINING", "Training", "check_kept", "train"]

TRAINING = "training.safetensors"

SECONDS = 5.0
"""How much of the training an interruption may cost, besides the epoch in which it comes."""

_AGAIN = "delete it to start training the curve again"

PATIENCE_SECONDS = 2.0
"""How long a training may take before it shows a progress bar unprompted."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the bends of a curve are trained: SGD with momentum, at the full rate for the first half, then falling.

    Attributes:
        epochs: passes over the objective's batches.
        lr: learning rate.
        momentum: of SGD.
        seed: of t and of the order of the batches.
    """

    epochs: int = 60
    lr: float = 0.05
    momentum: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.epochs < 0 or not self.lr > 0:
            raise SpecError(f"epochs={self.epochs}, lr={self.lr}; expected at least 0 epochs and a rate above 0")

    def lr_at(self, progress: float) -> float:
        """The rate at a share of the training: full up to a half, then falling to a hundredth at nine tenths.

        Returns:
            The learning rate.

        Example:
            >>> [round(Training(lr=1.0).lr_at(share), 3) for share in (0.2, 0.7, 0.95)]
            [1.0, 0.505, 0.01]
        """
        return self.lr * float(np.interp(progress, (0.5, 0.9), (1.0, 0.01)))


def train(
    objective: Objective, curve: Curve, recipe: Training, *, progress: bool | None = None, kept: Path | None = None
) -> np.ndarray:
    """Move the inner points of a curve, in place.

    Args:
        objective: what is minimised.
        curve: what is moved.
        recipe: how.
        progress: show a progress bar; by default where it takes more than two seconds.
        kept: a file from which an interrupted training goes on, with the same numbers bit for bit.

    Returns:
        float64 [epochs], the mean loss of each epoch.

    Raises:
        SpecError: the training diverged, or the loss is not finite at an end.
        RunMismatchError: the file belongs to another training.
        SpecError: it is damaged.
    """
    state = _State(objective, curve, recipe)
    shelf = _Shelf(kept, _identity(objective, curve, recipe))
    with objective.batches.seeded(recipe.seed):
        shelf.load(state)
        epochs = range(len(state.losses), recipe.epochs)
        hidden, delay = progress is False, 0.0 if progress else PATIENCE_SECONDS
        for epoch in tqdm(epochs, unit="epoch", initial=epochs.start, total=recipe.epochs, disable=hidden, delay=delay):
            state.losses.append(state.epoch(epoch))
            if not math.isfinite(state.losses[-1]):
                raise SpecError(_why(objective, curve, recipe, epoch))
            shelf.keep(state, last=epoch == recipe.epochs - 1)
    return np.array(state.losses)


def _why(objective: Objective, curve: Curve, recipe: Training, epoch: int) -> str:
    """Why the loss of a training is not finite: it is not at an end that never moved, or the steps are too large."""
    for end, which in ((0, "first"), (-1, "second")):
        if not math.isfinite(value := objective(curve.points[end])["loss"]):
            return f"the loss of the {which} network is {value} already; check its weights and the data"
    return f"the training of the curve diverged in epoch {epoch}; lower lr={recipe.lr}"


def check_kept(folder: Path, kind: str, bends: int, recipe: Training) -> None:
    """Check, before anything is computed, that a training that is to be resumed is the one that is asked for.

    Args:
        folder: that of the connection; one without a training takes any.
        kind: of the curve.
        bends: how many points are trained.
        recipe: how.

    Raises:
        RunMismatchError: it is another one; the message names the parts that differ.
        SpecError: it is damaged.
    """
    if (file := folder / TRAINING).is_file():
        with reading(file, "a training of a curve", _AGAIN):
            there = RunSpec(identity=json.loads(_facts(file)["identity"]), axes={}, values=(), about=About())
            asked = {"kind": kind, "bends": bends, "training": asdict(recipe)}
            _check_same(file, there, replace(there, identity={**there.identity, **asked}))


def _check_same(file: Path, there: RunSpec, wanted: RunSpec) -> None:
    if differing := there.differences(wanted):
        raise RunMismatchError(
            f"{file} belongs to another training: {'; '.join(differing)}. Choose another folder, or delete this one",
            command_of(file.parent / "line"),
            differing,
        )


class _State:
    """A training between two epochs.

    Attributes:
        losses: the mean loss of each epoch so far.
        inner: the tensors that are trained, for each bend by name.
        rng: draws t and the order of the batches.
    """

    def __init__(self, objective: Objective, curve: Curve, recipe: Training) -> None:
        means.check(objective)
        self.objective, self.curve, self.recipe = objective, curve, recipe
        self.model = copy.deepcopy(objective.private)
        places = dict(self.model.named_parameters())
        for name, parameter in objective.model.named_parameters():
            places[name].requires_grad_(parameter.requires_grad)
        if objective.batchnorm == "recalibrated":
            for layer in batchnorm.layers(self.model).values():
                layer.train()
        moved = [name for name, place in places.items() if place.requires_grad]
        self.inner = [{name: point[name] for name in moved} for point in curve.points[1:-1]]
        every = [tensor for bend in self.inner for tensor in bend.values()]
        self.optimizer = torch.optim.SGD(every, lr=recipe.lr, momentum=recipe.momentum)
        self.rng = np.random.default_rng(recipe.seed)
        interpolated = objective.batchnorm == "interpolated"
        self._places = places | (batchnorm.statistics(self.model) if interpolated else {})
        self._held = list(objective.batches) if objective.batches.kept else None
        self.losses: list[float] = []

    def epoch(self, number: int) -> float:
        """One pass over the batches; the mean loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr_at(number / max(self.recipe.epochs, 1))
        total = 0.0
        for batch in self._batches():
            size, loss = self._step(float(self.rng.random()), batch)
            total += size * loss
            self.optimizer.step()
        return total / self.objective.samples

    def _batches(self) -> Iterator[Any]:
        if self._held is None:
            yield from self.objective.batches
        else:
            yield from (self._held[i] for i in self.rng.permutation(len(self._held)))

    def _step(self, t: float, batch: Any) -> tuple[int, float]:
        """The samples of a batch and its loss at t; each bend is left with its gradient."""
        weights = self.curve.weights(t).tolist()
        with torch.no_grad():
            for name, place in self._places.items():
                place.copy_(sum(w * point[name] for w, point in zip(weights, self.curve.points, strict=True)))
        names = list(self.inner[0])
        with asked(self.objective), differentiated():
            outputs, targets = self.objective.forward(self.model, batch)
            part = self.objective.loss_part(outputs, targets, batch, weighing=self.objective.weighing)
            parameters = dict(self.model.named_parameters())
            found = torch.autograd.grad(part.mean, [parameters[name] for name in names], allow_unused=True)
        for weight, bend in zip(weights[1:-1], self.inner, strict=True):
            for name, gradient in zip(names, found, strict=True):
                bend[name].grad = None if gradient is None else weight * gradient
        return part.samples, float(part.mean.detach())


def _identity(objective: Objective, curve: Curve, recipe: Training) -> RunSpec:
    """What must be the same for a training to go on; taken before it begins."""
    ends = {name: fingerprint(dict(curve.points[at])).hex() for name, at in (("first", 0), ("second", -1))}
    shape = {"kind": curve.kind, "bends": len(curve.points) - 2}
    about = {**subject_identity(objective), **ends, **shape, "training": asdict(recipe)}
    return RunSpec(identity=about, axes={}, values=(), about=About())


class _Shelf:
    """The state of a training between two epochs: bends, momenta, random states.

    Args:
        file: ``None`` for a training that is not kept.
        spec: what it is.
    """

    def __init__(self, file: Path | None, spec: RunSpec) -> None:
        self._file, self._spec = file, spec
        self._last = time.monotonic()

    def load(self, state: _State) -> None:
        """Go on from what is there."""
        if self._file is None or not self._file.is_file():
            return
        with reading(self._file, "a training of a curve", _AGAIN):
            facts, tensors = _read(self._file)
            there = RunSpec(identity=json.loads(facts["identity"]), axes={}, values=(), about=About())
            _check_same(self._file, there, self._spec)
            self._check(tensors, state)
            state.rng.bit_generator.state = json.loads(facts["order"])
            for name, generator in _generators(state).items():
                generator.set_state(tensors[name])
        state.losses[:] = tensors["losses"].tolist()
        with torch.no_grad():
            for key, place in _tensors(state):
                place.copy_(tensors[key])
                if (momentum := tensors.get(f"momentum/{key}")) is not None:
                    state.optimizer.state[place]["momentum_buffer"] = momentum.to(place)

    def _check(self, tensors: Mapping[str, Tensor], state: _State) -> None:
        """Check that all that a training needs is there, before any of it is taken over."""
        wanted = dict(_tensors(state))
        for key, place in {**wanted, **{f"momentum/{key}": place for key, place in wanted.items()}}.items():
            found = tensors.get(key)
            absent = found is None and key.startswith("momentum/")
            if not absent and (found is None or found.shape != place.shape or found.dtype != place.dtype):
                raise SpecError(f"{self._file} is damaged ({key!r} is missing, or has another shape); {_AGAIN}")
        losses = tensors["losses"]
        if losses.ndim != 1 or losses.dtype != torch.float64 or len(losses) > state.recipe.epochs:
            raise SpecError(f"{self._file} is damaged (its losses are not those of its epochs); {_AGAIN}")

    def keep(self, state: _State, *, last: bool) -> None:
        """Write it down, unless that was done a moment ago."""
        if self._file is None or not (last or time.monotonic() - self._last > SECONDS):
            return
        found: dict[str, Tensor] = {"losses": torch.tensor(state.losses, dtype=torch.float64)}
        for key, place in _tensors(state):
            found[key] = place.detach().cpu().contiguous()
            momentum = state.optimizer.state.get(place, {}).get("momentum_buffer")
            if momentum is not None:
                found[f"momentum/{key}"] = momentum.cpu().contiguous()
        found |= {name: generator.get_state() for name, generator in _generators(state).items()}
        order = json.dumps(state.rng.bit_generator.state)
        metadata = {"identity": json.dumps(dict(self._spec.identity)), "order": order}
        with replacing(self._file) as scratch:
            save_file(found, scratch, metadata=sealing.sealed(found, metadata))
        self._last = time.monotonic()


def _facts(path: Path) -> Mapping[str, str]:
    """What a file of a training says about itself; its tensors are checked when they are read."""
    safetensors_header(path)
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def _read(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    """The description in a file of a training, and its tensors, checked."""
    names = safetensors_header(path)
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
        tensors = {name: file.get_tensor(name) for name in names if name != "__metadata__"}
    sealing.check(path, tensors, facts, names=tensors)
    return facts, tensors


def _tensors(state: _State) -> Iterator[tuple[str, Tensor]]:
    for number, bend in enumerate(state.inner, 1):
        for name, tensor in bend.items():
            yield f"{number}/{name}", tensor


def _generators(state: _State) -> Mapping[str, torch.Generator]:
    """What draws random numbers inside the model and the data."""
    found = {"random": torch.default_generator}
    loader = getattr(state.objective.batches.source, "generator", None)
    if loader is not None:
        found["random of the data"] = loader
    device = state.objective.device
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        found["random of the device"] = torch.cuda.default_generators[index]
    return found
