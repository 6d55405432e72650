"""Study: does full-batch training drive the largest eigenvalue to the edge of stability?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import zoo
from lossatlas.curvature.spectrum import eigenvalues
from lossatlas.figure.plot import Mark, Panel, Plot, Series
from lossatlas_studies.comparisons import paired
from lossatlas_studies.networks import DATA, Data, load
from lossatlas_studies.settings import about, work
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Figure, Findings, Numbers, Study
from lossatlas_studies.verdicts import Verdict, within

RANGE = (0.85, 1.2)
"""λmax in units of 2/η that counts as at the edge."""

LATE = 1 / 3
"""Share of training, from its end, over which λmax is averaged."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set."""

    data: str = about("digits", DATA)
    train_samples: int = work(300, least=50, about="training samples, from the first on; all of them in every step")
    width: int = about(32, "units in each of two hidden layers")
    rates: tuple[float, ...] = about((0.09, 0.12, 0.15), "learning rates η, such that 2/η lies above λmax at the start")
    seeds: int = work(3, least=1, about="initial weights for each learning rate")
    steps: int = work(3000, least=20, about="steps of gradient descent, without momentum")
    every: int = about(60, "steps between two eigenvalues")
    products: int = work(200, least=4, about="matrix-vector products at most for each eigenvalue")


@dataclass(frozen=True, kw_only=True)
class Descent:
    """One training by gradient descent, beside the bound 2/η.

    Attributes:
        rate: learning rate η.
        seed: of the initial weights.
        step: [n] at which it was measured.
        loss: [n] training loss.
    """

    rate: float
    seed: int
    step: np.ndarray
    loss: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """A measure of curvature in units of 2/η; [n]."""
        raise NotImplementedError

    @property
    def late(self) -> float:
        """Its mean over the last third of training."""
        return float(self.ratio[-max(1, int(len(self.ratio) * LATE)) :].mean())


@dataclass(frozen=True, kw_only=True)
class Run(Descent):
    """A training whose largest eigenvalue was measured.

    Attributes:
        sharpness: [n] largest eigenvalue of the Hessian.
    """

    sharpness: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """λmax in units of 2/η."""
        return self.sharpness * self.rate / 2


def square(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared distance to the class as a unit vector, for each sample."""
    return ((outputs - F.one_hot(targets, outputs.shape[1]).to(outputs.dtype)) ** 2).sum(dim=1) / 2


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, measure, judge."""
    data = load(settings.data, samples=settings.train_samples, device=bench.device)
    runs = [descend(bench, data, settings, rate, seed) for rate in settings.rates for seed in range(settings.seeds)]
    return Findings(verdicts=judge(runs), figures=_figures(runs), tables=[_table(runs)], caveats=CAVEATS)


def descend(bench: Bench, data: Data, settings: Settings, rate: float, seed: int) -> Run:
    """Gradient descent on all samples, with the largest eigenvalue at regular intervals."""

    def stage(folder: Path) -> Mapping[str, Any]:
        inputs = data.train[0][0].numel()
        model = zoo.model("mlp", seed=seed, widths=(inputs, settings.width, settings.width, 10), activation="tanh")
        found = list(_descent(model.to(bench.device), data, settings, rate))
        return dict(zip(("step", "sharpness", "loss"), map(list, zip(*found, strict=True)), strict=True))

    key = {
        "data": data.key, "width": settings.width, "rate": rate, "seed": seed,
        "steps": settings.steps, "every": settings.every, "products": settings.products,
    }  # fmt: skip
    found = bench.stage(f"descend with rate {rate:g} seed {seed}", key, stage).result
    return Run(rate=rate, seed=seed, **{name: np.array(values) for name, values in found.items()})


def _descent(model: nn.Module, data: Data, settings: Settings, rate: float) -> Iterator[tuple[int, float, float]]:
    x, y = data.train
    parameters = list(model.parameters())
    for step in range(settings.steps + 1):
        if step % settings.every == 0:
            here = la.Objective(model, data.train, loss=square, batch_size=len(y))
            found = eigenvalues(here, tolerance=1e-3, most=settings.products)
            yield step, float(found.values[-1]), here()["loss"]
        gradients = torch.autograd.grad(square(model(x), y).mean(), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(rate * gradient)


def judge(runs: Sequence[Run]) -> list[Verdict]:
    """Whether λmax rises, and whether it settles at 2/η."""
    caveat = "Each training is one unit; different learning rates start from the same initial weights."
    return [
        within(
            "Late in training the largest eigenvalue hovers at 2/η",
            [one.late for one in runs],
            *RANGE,
            quantity=f"λmax η / 2 over the last third of training, claimed to lie between {RANGE[0]} and {RANGE[1]}",
            unit="trainings",
            caveat=caveat,
        ),
        paired(
            "It rises from its initial value",
            [one.late - float(one.ratio[0]) for one in runs],
            quantity="rise of λmax η / 2 from the start to the last third",
            unit="trainings",
            caveat=caveat,
        ),
    ]


CAVEATS = (
    "Full-batch gradient descent without momentum on a network with tanh, with the squared loss, as in the source; "
    "with cross entropy λmax falls again once all samples are fitted, and with small batches it stays below 2/η.",
    "λmax is that of the Hessian, by Lanczos' method to 0.1 %, taken at intervals of several steps; in between it "
    "oscillates.",
)


def _figures(runs: Sequence[Run]) -> list[Figure]:
    rates = sorted({one.rate for one in runs})
    ratio, loss = [], []
    for one in runs:
        label = f"η = {one.rate:g}" if one.seed == 0 else ""
        color = rates.index(one.rate)
        ratio.append(Series(x=one.step, y=one.ratio, label=label, color=color))
        loss.append(Series(x=one.step, y=one.loss, label=label, color=color))
    panels = [
        Panel(series=ratio, x_label="step", y_label="λmax in units of 2/η", marks=[Mark(y=1.0, label="2/η")]),
        Panel(series=loss, x_label="step", y_label="training loss", y_scale="log"),
    ]
    plot = Plot(panels=panels, caption=["Each line is one training."])
    words = "The largest eigenvalue along training, and the loss, which falls although the steps are at the edge."
    return [Figure(name="edge", shown=plot, words=words)]


def _table(runs: Sequence[Run]) -> Numbers:
    rows = [
        {
            "training": f"η = {one.rate:g}, seed {one.seed}",
            "2/η": f"{2 / one.rate:.3g}",
            "λmax at the start": f"{one.sharpness[0]:.3g}",
            "λmax, last third": f"{2 * one.late / one.rate:.3g}",
            "in units of 2/η": f"{one.late:.3f}",
            "loss at the end": f"{one.loss[-1]:.3g}",
        }
        for one in runs
    ]
    return Numbers(name="trainings", rows=rows, note="Means over the last third of the steps.")


STUDY = Study(
    name="edge-of-stability",
    title="The edge of stability",
    question="Does the largest eigenvalue of the Hessian rise along full-batch training until it reaches 2/η, and "
    "stay there?",
    claim="Along gradient descent on all samples, the largest eigenvalue rises to 2 over the learning rate and then "
    "hovers there, while the loss goes on to fall.",
    source="Cohen, Kaur, Li, Kolter, Talwalkar, Gradient Descent on Neural Networks Typically Occurs at the Edge of "
    "Stability, ICLR 2021",
    small=Settings(),
    paper=Settings(
        data="cifar10:data/cifar10",
        train_samples=5_000,
        width=200,
        rates=(0.01, 0.02, 0.05),
        steps=10_000,
        every=100,
    ),
    run=run,
)
