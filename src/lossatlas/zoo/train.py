"""How are the networks of the paper trained? By SGD with momentum and a step schedule, resumable after any epoch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from lossatlas.atomic import replacing
from lossatlas.errors import RunMismatchError, SpecError, unknown
from lossatlas.objective.batches import fingerprint
from lossatlas.objective.private import weights_fingerprint
from lossatlas.objective.randomness import seeded
from lossatlas.oneline import one_line

__all__ = [
    "FORMAT",
    "PADDING",
    "STATE",
    "Augment",
    "Optimizer",
    "Scores",
    "TrainRecipe",
    "Trained",
    "augmented",
    "score",
    "train",
]

FORMAT = 2
STATE = "training.pt"

Optimizer = Literal["sgd", "adam"]
Augment = Literal["none", "crop", "crop-flip"]
PADDING = 4
"""Pixels that a crop may be off the centre."""


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """How to train. The defaults are those of the paper (Li et al. 2018, section 5 and its code).

    Attributes:
        epochs: passes over the training data; in a round, if there are several.
        lr: first learning rate.
        momentum: Nesterov momentum.
        weight_decay: L2 penalty, on all parameters as in the paper.
        batch_size: samples in a batch; a short last batch is trained on too.
        drops: when the learning rate falls to a tenth, as shares of all epochs.
        until: stop after the first epoch whose training loss, in evaluation mode, is below this; 0 never stops.
        seed: seed of the order of the samples (and of dropout, if there is any).
        optimizer: "sgd", or "adam" with its usual moments, which ignores ``momentum``.
        augment: "none"; "crop", a random crop of the image padded by 4 black pixels; "crop-flip", which also mirrors
            half of them, as the paper does on CIFAR-10.
        rounds: how many rounds of as many epochs there may be, each starting from the first learning rate, until the
            loss is as low as asked for; without ``until`` there is one round.

    Raises:
        SpecError: an unknown optimizer or augmentation.
    """

    epochs: int = 300
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 128
    drops: tuple[float, ...] = (150 / 300, 225 / 300, 275 / 300)
    until: float = 0.0
    seed: int = 0
    optimizer: Optimizer = "sgd"
    augment: Augment = "none"
    rounds: int = 1

    __repr__ = one_line

    def __post_init__(self) -> None:
        for option, choices in (("optimizer", get_args(Optimizer)), ("augment", get_args(Augment))):
            if getattr(self, option) not in choices:
                raise SpecError(unknown(option, getattr(self, option), choices))

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for two trainings to be the same."""
        return {name: value for name, value in asdict(self).items() if name != "rounds" or value != 1}

    @property
    def most(self) -> int:
        """The largest number of epochs."""
        return self.epochs * (self.rounds if self.until > 0 else 1)

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0.

        Returns:
            The rate.

        Example:
            >>> [TrainRecipe().lr_at(epoch) for epoch in (0, 149, 150)]
            [0.1, 0.1, 0.01]
        """
        passed = sum(epoch % self.epochs >= round(drop * self.epochs) for drop in self.drops)
        return float(f"{self.lr * 0.1**passed:.10g}")


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Loss and classification error, in evaluation mode."""

    loss: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The outcome of training.

    Attributes:
        epochs: how many were run.
        losses: mean training loss of each epoch, in training mode.
        train: scores on the training data, at the end.
        test: scores on the test data, if there are any.
        reached: whether the training loss fell below what was asked for; true if nothing was.
    """

    epochs: int
    losses: tuple[float, ...]
    train: Scores
    test: Scores | None = None
    reached: bool = True

    __repr__ = one_line


def train(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    recipe: TrainRecipe,
    *,
    test: tuple[Tensor, Tensor] | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: bool = True,
    name: str = "training",
    watch: Callable[[int, nn.Module], None] | None = None,
) -> Trained:
    """Train a classifier in place.

    Every epoch draws its random numbers from a seed of its own, so a training that was stopped and resumed ends with
    the same weights, bit for bit, as an uninterrupted one; the global random state is left alone.

    Args:
        model: the network, changed in place; left in evaluation mode.
        data: inputs [N, ...] and classes [N].
        recipe: how.
        test: further data to score at the end.
        folder: where to keep the state after each epoch; the same call resumes from there.
        progress: show a progress bar on stderr.
        name: what to call it there.
        watch: called with the number of epochs so far and the model, before the first epoch and after every one. It
            must not change the model; an epoch that was kept is not watched again when training resumes.

    Returns:
        Losses and final scores.

    Raises:
        RunMismatchError: the folder holds another training; the message names what differs.
        SpecError: the state in the folder is damaged.
    """
    optimizer = _optimizer(model, recipe)
    identity = _identity(model, data, recipe)
    losses = _resume(Path(folder) / STATE, identity, model, optimizer) if folder is not None else []
    if watch is not None and not losses:
        watch(0, model)
    with tqdm(total=recipe.most, initial=len(losses), desc=name, unit="epoch", disable=not progress) as bar:
        while len(losses) < recipe.most and not (losses and _done(model, data, recipe)):
            losses.append(_epoch(model, data, recipe, optimizer, len(losses)))
            if watch is not None:
                watch(len(losses), model)
            if folder is not None:
                _save(Path(folder) / STATE, identity, model, optimizer, losses)
            bar.set_postfix(loss=f"{losses[-1]:.3g}")
            bar.update()
    scores = score(model, data)
    return Trained(
        epochs=len(losses),
        losses=tuple(losses),
        train=scores,
        test=score(model, test) if test is not None else None,
        reached=recipe.until <= 0 or scores.loss < recipe.until,
    )


def _optimizer(model: nn.Module, recipe: TrainRecipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        model.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
    )


def augmented(x: Tensor, how: Augment) -> Tensor:
    """Images [N, C, H, W], each cropped at random after padding, and mirrored at random if asked for.

    The padding is each channel's smallest value in the batch: black, where any image has a black pixel.

    Returns:
        New images of the same shape.
    """
    if how == "none":
        return x
    count, _, height, width = x.shape
    black = x.amin(dim=(0, 2, 3), keepdim=True)
    padded = F.pad(x - black, (PADDING,) * 4) + black
    # Drawn on the processor, so that the same seed means the same crops on every device.
    down, right = (torch.randint(2 * PADDING + 1, (count,)).to(x.device) for _ in range(2))
    rows = down[:, None] + torch.arange(height, device=x.device)
    columns = right[:, None] + torch.arange(width, device=x.device)
    if how == "crop-flip":
        mirrored = (torch.rand(count) < 0.5).to(x.device)[:, None]
        columns = torch.where(mirrored, columns.flip(1), columns)
    each = torch.arange(count, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def score(model: nn.Module, data: tuple[Tensor, Tensor], *, batch_size: int = 500) -> Scores:
    """Loss and error on some data, in evaluation mode, in which the model is left."""
    model.eval()
    loss = wrong = 0.0
    with torch.no_grad():
        for x, y in zip(*(part.split(batch_size) for part in data), strict=True):  # type: ignore[no-untyped-call]
            outputs = model(x)
            loss += float(F.cross_entropy(outputs, y, reduction="sum"))
            wrong += float((outputs.argmax(1) != y).sum())
    return Scores(loss=loss / len(data[1]), error=wrong / len(data[1]))


def _done(model: nn.Module, data: tuple[Tensor, Tensor], recipe: TrainRecipe) -> bool:
    return recipe.until > 0 and score(model, data).loss < recipe.until


def _epoch(
    model: nn.Module, data: tuple[Tensor, Tensor], recipe: TrainRecipe, optimizer: torch.optim.Optimizer, epoch: int
) -> float:
    """One pass over the data in a fresh order; the mean loss over its samples."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = recipe.lr_at(epoch)
    x, y = data
    total = torch.zeros((), dtype=torch.float64, device=y.device)
    with seeded(recipe.seed * 1_000_003 + epoch):
        for chosen in torch.randperm(len(y)).split(recipe.batch_size):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            chosen = chosen.to(y.device)
            loss = F.cross_entropy(model(augmented(x[chosen], recipe.augment)), y[chosen])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach() * len(chosen)
    return float(total) / len(y)


def _identity(model: nn.Module, data: tuple[Tensor, Tensor], recipe: TrainRecipe) -> dict[str, Any]:
    return {
        "model": weights_fingerprint(model),
        "data": fingerprint(list(data)).hex(),
        **{key: list(value) if isinstance(value, tuple) else value for key, value in recipe.identity.items()},
    }


def _save(
    path: Path, identity: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, losses: list[float]
) -> None:
    """Write the state, whole or not at all; an existing file is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "format": FORMAT,
        "identity": dict(identity),
        "losses": list(losses),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with replacing(path) as scratch:
        torch.save(state, scratch)


def _resume(path: Path, identity: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
    """Load the state, if there is one; the losses so far."""
    if not path.exists():
        return []
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        there, losses = state["identity"], [float(loss) for loss in state["losses"]]
    except Exception as fault:  # a damaged file can fail in any way
        raise SpecError(f"{path} is not the state of a training run ({fault}); choose another folder") from fault
    differing = [key for key in identity if there.get(key) != identity[key]]
    if differing:
        parts = "; ".join(f"{key} is {there.get(key)} there and {identity[key]} here" for key in differing)
        raise RunMismatchError(
            f"{path} belongs to another training: {parts}. Choose another folder, or delete this one"
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return losses
