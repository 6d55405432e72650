"""How is each network of a search trained, and what would a search have known about it after every epoch?"""

from __future__ import annotations

import dataclasses
import functools
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lossatlas.atomic import replacing
from lossatlas.errors import SpecError
from lossatlas.objective.batches import fingerprint
from lossatlas.zoo.train import TrainRecipe, score, train
from lossatlas_studies.networks import Pair, load
from lossatlas_studies.search_space import Design
from lossatlas_studies.stages import Bench

EARLY = "early.pt"
CURVE = "curve.json"

Clock = Callable[[], float]


def clock(device: str) -> Clock:
    """A clock for the cost of work: processor seconds, which other programs do not lengthen, or seconds of a GPU."""
    if not device.startswith("cuda"):
        return time.process_time

    def now() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return now


@dataclass(frozen=True, kw_only=True)
class Split:
    """Data in three parts: a search sees the first two, and is judged by the third.

    Attributes:
        name: for pages.
        train: inputs [N, ...] and classes [N].
        validation: the same.
        test: the same.
    """

    name: str
    train: Pair
    validation: Pair
    test: Pair

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return int(self.train[0].shape[1])

    @functools.cached_property
    def key(self) -> str:
        """What distinguishes it from other data."""
        return "-".join(fingerprint(list(part)).hex() for part in (self.train, self.validation, self.test))


def split(words: str, *, train: int, validation: int, test: int, device: str) -> Split:
    """Data by words, in three parts.

    The first images of the training part are trained on and the next ones are for validation; the test part is tested
    on, and on what is left of the training part if that holds too few.

    Raises:
        SpecError: fewer images than asked for.

    Example:
        >>> found = split("digits", train=300, validation=300, test=1197, device="cpu")
        >>> [len(part[1]) for part in (found.train, found.validation, found.test)]
        [300, 300, 1197]
    """
    data = load(words, samples=train + validation + test, device=device)
    (x, y), seen = data.train, train + validation
    rest = tuple(torch.cat([held, part[seen:]])[:test] for held, part in zip(data.test, (x, y), strict=True))
    if len(y) < seen or len(rest[1]) < test:
        raise SpecError(
            f"data={words!r} has {len(y)} training and {len(data.test[1])} test images; train_samples={train}, "
            f"validation={validation} and test_samples={test} need more"
        )
    return Split(
        name=data.name,
        train=(x[:train], y[:train]),
        validation=(x[train:seen], y[train:seen]),
        test=(rest[0], rest[1]),
    )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A design that was trained.

    Attributes:
        design: which.
        scores: ``train_loss``, ``test_error``, ``halves`` (of the test part, the error on each), ``parameters`` and
            ``build_seconds``; by epoch from 0 ``val_losses`` and ``val_errors``; ``epoch_seconds``, the median;
            after the early epochs ``early_train_loss``, ``early_seconds`` (all of them), ``train_look_seconds`` and
            ``val_look_seconds``, the cost of taking the loss on either part.
        key: what distinguishes it from others.
        folder: holds its weights after the early epochs.
    """

    design: Design
    scores: Mapping[str, Any]
    key: Mapping[str, Any]
    folder: Path

    def early(self, channels: int, device: str) -> nn.Module:
        """The network after the early epochs, in evaluation mode."""
        model = self.design.fresh(channels).to(device)
        model.load_state_dict(torch.load(self.folder / EARLY, weights_only=True, map_location=device))
        return model.eval()


def tried(bench: Bench, design: Design, data: Split, recipe: TrainRecipe, early: int) -> Trial:
    """Train a design, or find it; an interrupted training goes on after its last whole epoch."""
    recipe = dataclasses.replace(recipe, seed=design.number)
    key = {"design": dataclasses.asdict(design), "data": data.key, "recipe": recipe.identity, "early": early}

    def work(folder: Path) -> Mapping[str, Any]:
        now = clock(bench.device)
        begun = now()
        model = design.fresh(data.channels).to(bench.device)
        built = now() - begun
        watch = _Watch(folder=folder, data=data, early=early, now=now)
        found = train(model, data.train, recipe, folder=folder, progress=False, watch=watch)
        halves = [score(model, (data.test[0][part::2], data.test[1][part::2])).error for part in (0, 1)]
        return {
            "train_loss": found.train.loss, "test_error": score(model, data.test).error, "halves": halves,
            "parameters": sum(p.numel() for p in model.parameters()), "build_seconds": built, **watch.told(),
        }  # fmt: skip

    done = bench.stage(f"train no. {design.number}, {design.label}", key, work)
    return Trial(design=design, scores=done.result, key=key, folder=done.folder)


@dataclass(kw_only=True)
class _Watch:
    """What is noted after every epoch, kept on the disk so that a resumed training has all of it."""

    folder: Path
    data: Split
    early: int
    now: Clock
    seen: dict[str, dict[str, float]] = field(default_factory=dict)
    since: float = 0.0

    def __post_init__(self) -> None:
        kept = self.folder / CURVE
        if kept.is_file():
            self.seen = json.loads(kept.read_text(encoding="utf-8"))
        self.since = self.now()

    def __call__(self, epoch: int, model: nn.Module) -> None:
        looked = self.now()
        entry = {"seconds": looked - self.since}
        found = score(model, self.data.validation)
        entry |= {"val_loss": found.loss, "val_error": found.error, "val_look": self.now() - looked}
        if epoch == self.early:
            looked = self.now()
            entry |= {"train_loss": score(model, self.data.train).loss, "train_look": self.now() - looked}
            with replacing(self.folder / EARLY) as scratch:
                torch.save(model.state_dict(), scratch)
        self.seen[str(epoch)] = entry
        with replacing(self.folder / CURVE) as scratch:
            scratch.write_text(json.dumps(self.seen), encoding="utf-8")
        self.since = self.now()

    def told(self) -> dict[str, Any]:
        """What was noted."""
        entries = [self.seen[str(epoch)] for epoch in range(len(self.seen))]
        seconds = [entry["seconds"] for entry in entries[1:]]
        early = entries[self.early]
        return {
            "val_losses": [entry["val_loss"] for entry in entries],
            "val_errors": [entry["val_error"] for entry in entries],
            "epoch_seconds": statistics.median(seconds),
            "early_seconds": sum(seconds[: self.early]),
            "early_train_loss": early["train_loss"],
            "train_look_seconds": early["train_look"],
            "val_look_seconds": early["val_look"],
        }
