"""How a study gets language models that were tuned on a small task: pretraining, tuning and scores as stages."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lossatlas import zoo
from lossatlas.atomic import replacing
from lossatlas.errors import SpecError
from lossatlas.objective import Objective
from lossatlas.objective.batches import fingerprint
from lossatlas.objective.generation import Continuation
from lossatlas.objective.language import cross_entropy, packed
from lossatlas.objective.metrics import IGNORED
from lossatlas.zoo.fit import FitRecipe, fit
from lossatlas_studies.begun_words import Problems, exact
from lossatlas_studies.stages import Bench

Pair = tuple[Tensor, Tensor]
TEXT = "reference or file:PATH"
WEIGHTS = "weights.pt"
RUNS = 2
"""Tunings of each start, so that there is a way between two of them."""

BATCH = 256
"""Rows evaluated at once."""

HELD_OUT_BATCHES = 4
"""At most this many batches of the held-out text are used for the loss of pretraining."""

KINDS = ("pretrained", "random")
CONTROL = "shuffled"
"""Starts that have read the bytes of the text in random order: trained as long, with nothing to learn but how common
each byte is."""

SEEDS = {"pretrained": 0, "random": 1000, CONTROL: 2000}
"""First seed of each kind, far from each other, so that no two starts have anything in common."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A text as blocks of bytes.

    Attributes:
        name: for pages.
        train: inputs and next tokens, int64 [N, T].
        test: the same, of the text that is held out.
    """

    name: str
    train: Pair
    test: Pair

    def shuffled(self) -> Corpus:
        """The same bytes in random order."""
        (x, _), (x_test, _) = self.train, self.test
        rng = np.random.default_rng(0)
        parts = []
        for part in (x, x_test):
            order = torch.from_numpy(rng.permutation(part.numel()))
            parts.append(packed(part.flatten()[order], part.shape[1]))
        return Corpus(name=f"{self.name}, shuffled", train=parts[0], test=parts[1])

    @functools.cached_property
    def key(self) -> str:
        """What distinguishes this text from others."""
        return fingerprint([*self.train, *self.test]).hex()

    @property
    def unread(self) -> bytes:
        """The text of the part that is held out."""
        return bytes(self.test[0].flatten().tolist())


def corpus(words: str, *, block: int) -> Corpus:
    """A text by words.

    Args:
        words: ``reference``, the language reference that comes with CPython, or ``file:PATH``.
        block: bytes in a block.

    Raises:
        SpecError: other words, or no such file.

    Example:
        >>> corpus("reference", block=64).train[0].shape[1]
        64
    """
    name, _, path = words.partition(":")
    if name == "file" and path and not Path(path).is_file():
        raise SpecError(f"text={words}: no such file; give a text in UTF-8 as {TEXT}")
    if words != "reference" and not (name == "file" and path):
        raise SpecError(f"text={words!r} is unknown; expected {TEXT}")
    options = {"path": path} if path else {}
    train, test = (
        zoo.data("text" if path else "reference", split=split, block=block, **options) for split in ("train", "test")
    )
    return Corpus(name=Path(path).name if path else "Python language reference", train=train, test=test)


@dataclass(frozen=True, kw_only=True)
class Start:
    """Weights before tuning.

    Attributes:
        kind: "pretrained", "random" or "shuffled".
        number: which of its kind.
        model: the network.
        key: all that its weights depend on.
        scores: of its pretraining.
    """

    kind: str
    number: int
    model: nn.Module = field(repr=False)
    key: Mapping[str, Any]
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name."""
        return f"{self.kind} {self.number}"


def random_start(bench: Bench, number: int, decoder: Mapping[str, Any]) -> Start:
    """A decoder with random weights."""
    seed = SEEDS["random"] + number
    model = zoo.model("decoder", seed=seed, **decoder).to(bench.device)
    return Start(kind="random", number=number, model=model, key={"decoder": dict(decoder), "seed": seed})


def pretrained_start(
    bench: Bench, number: int, decoder: Mapping[str, Any], text: Corpus, recipe: FitRecipe, *, kind: str = "pretrained"
) -> Start:
    """A decoder that has learned to continue a text."""
    seed = SEEDS[kind] + number
    recipe = dataclasses.replace(recipe, seed=seed)
    key = {"decoder": dict(decoder), "seed": seed, "text": text.key, "recipe": recipe.identity}

    def work(folder: Path) -> Mapping[str, Any]:
        model = zoo.model("decoder", seed=seed, **decoder).to(bench.device)
        losses = fit(model, _on(text.train, bench.device), mean_loss, recipe, progress=False)
        with replacing(folder / WEIGHTS) as scratch:
            torch.save(model.state_dict(), scratch)
        x, y = _on(text.test, bench.device)
        rows = slice(HELD_OUT_BATCHES * recipe.batch_size)
        held_out = Objective(model, (x[rows], y[rows]), loss=cross_entropy)()["loss"]
        return {"held_out_text_loss": held_out, "text_steps": len(losses)}

    done = bench.stage(f"pretrain {kind} {number}", key, work)
    model = zoo.model("decoder", seed=seed, **decoder)
    model.load_state_dict(torch.load(done.folder / WEIGHTS, weights_only=True, map_location="cpu"))
    return Start(kind=kind, number=number, model=model.to(bench.device), key=key, scores=done.result)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A network that was tuned.

    Attributes:
        start: what it was tuned from.
        run: which of the tunings of this start: the order of the problems.
        model: the network, in evaluation mode.
        key: all that its weights depend on.
        scores: ``train_loss`` with its ``train_error``, ``score``, ``generated``, ``held_out``, ``steps``,
            ``moved`` and ``length``.
    """

    start: Start
    run: int
    model: nn.Module = field(repr=False)
    key: Mapping[str, Any]
    scores: Mapping[str, float]

    @property
    def name(self) -> str:
        """The name."""
        return f"{self.start.name}, tuning {self.run}"


def tuned(bench: Bench, start: Start, run: int, task: Problems, held_out: Problems, recipe: FitRecipe) -> Tuned:
    """Tune a start on a task.

    Args:
        bench: where it is kept.
        start: weights to begin with.
        run: which of the tunings of this start.
        task: the problems that it learns.
        held_out: others of the kind.
        recipe: how; its seed is replaced by one of this network's own.
    """
    recipe = dataclasses.replace(recipe, seed=SEEDS[start.kind] + RUNS * start.number + run)
    tensors = [task.x, task.y, held_out.x, held_out.y]
    key = {"start": dict(start.key), "task": fingerprint(tensors).hex(), "recipe": recipe.identity}

    def fresh() -> nn.Module:
        model = zoo.model("decoder", seed=0, **start.key["decoder"])
        model.load_state_dict(start.model.state_dict())
        return model.to(bench.device)

    def work(folder: Path) -> Mapping[str, Any]:
        model = fresh()
        losses = fit(model, (task.x, task.y), mean_loss, recipe, progress=False)
        with replacing(folder / WEIGHTS) as scratch:
            torch.save(model.state_dict(), scratch)
        found = {"steps": len(losses), "moved": moved(start.model, model), "length": length(model)}
        return {**found, **scored(model, task, held_out)}

    done = bench.stage(f"tune {start.name} run {run}", key, work)
    model = fresh()
    model.load_state_dict(torch.load(done.folder / WEIGHTS, weights_only=True, map_location=bench.device))
    return Tuned(start=start, run=run, model=model.eval(), key=key, scores=done.result)


def scored(model: nn.Module, task: Problems, held_out: Problems) -> dict[str, float]:
    """Loss and score of a network from one pass, beside what it generates token by token."""
    here = objective(model, task)()
    return {
        "train_loss": here["loss"], "train_error": sampling_error(model, task), "score": here["solved"],
        "generated": generated(model, task), "held_out": generated(model, held_out),
    }  # fmt: skip


def objective(model: nn.Module, task: Problems, *, name: str = "decoder") -> Objective:
    """Loss of the answers' tokens and share of problems that are solved, from one pass over a task."""
    return Objective(
        model,
        (task.x, task.y),
        loss=cross_entropy,
        metrics={"solved": exact},
        batch_size=BATCH,
        name=name,
        data_name="the task's own problems",
    )


def generated(model: nn.Module, task: Problems) -> float:
    """Share of problems whose answer, its end included, comes out right token by token."""
    with torch.inference_mode():
        solved = Continuation(task.prompts, task.answers, batch=BATCH)(model)["exact"]
    return float(solved.double().mean())


def sampling_error(model: nn.Module, task: Problems) -> float:
    r"""Standard error of the mean loss over problems like these.

    The mean is a ratio of sums over problems, of losses :math:`s_i` to tokens :math:`n_i`, so with :math:`L` the mean
    it is :math:`\sqrt{\frac{N}{N-1} \sum_i (s_i - L n_i)^2} / \sum_i n_i` to first order.
    """
    sums, counts = [], []
    with torch.inference_mode():
        for begin in range(0, len(task.x), BATCH):
            rows = slice(begin, begin + BATCH)
            part = cross_entropy(model(task.x[rows]), task.y[rows])
            sums.append((part.values * part.weights).double().sum(dim=1))
            counts.append(part.weights.double().sum(dim=1))
    each, tokens = torch.cat(sums), torch.cat(counts)
    apart = each - each.sum() / tokens.sum() * tokens
    return float((len(each) / max(1, len(each) - 1) * (apart**2).sum()).sqrt() / tokens.sum())


def mean_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over tokens of a batch."""
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def moved(a: nn.Module, b: nn.Module) -> float:
    """Distance between two networks, as a share of the length of the first one's weights."""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    squares = [(float(((p - q).detach() ** 2).sum()), float((p.detach() ** 2).sum())) for p, q in pairs]
    return math.sqrt(sum(s for s, _ in squares) / sum(s for _, s in squares))


def length(model: nn.Module) -> float:
    """Length of all weights of a network, as one vector."""
    return math.sqrt(sum(float((p.detach() ** 2).sum()) for p in model.parameters()))


def _on(pair: Pair, device: str) -> Pair:
    return pair[0].to(device), pair[1].to(device)
