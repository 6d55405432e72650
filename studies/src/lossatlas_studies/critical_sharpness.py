"""Study: does critical sharpness, which needs no second derivative, settle at 2/η as the largest eigenvalue does?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import lossatlas as la
from lossatlas import zoo
from lossatlas.figure.plot import Mark, Panel, Plot, Series
from lossatlas_studies.comparisons import paired
from lossatlas_studies.edge_of_stability import RANGE, Descent, square
from lossatlas_studies.networks import DATA, Data, load
from lossatlas_studies.settings import about, work
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Figure, Findings, Numbers, Study
from lossatlas_studies.verdicts import Verdict, within


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set."""

    data: str = about("digits", DATA)
    train_samples: int = work(300, least=50, about="training samples, from the first on; all of them in every step")
    width: int = about(32, "units in each of two hidden layers")
    rates: tuple[float, ...] = about((0.09, 0.12, 0.15), "learning rates η, such that 2/η lies above λmax at the start")
    seeds: int = work(3, least=1, about="initial weights for each learning rate")
    steps: int = work(3000, least=20, about="steps of gradient descent, without momentum")
    every: int = about(7, "steps between two measurements; odd, since at the edge every other step overshoots")


@dataclass(frozen=True, kw_only=True)
class Run(Descent):
    """A training whose critical sharpness was measured.

    Attributes:
        critical: [n] critical sharpness along the gradient.
    """

    critical: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """Critical sharpness in units of 2/η: the learning rate over the critical step."""
        return self.critical * self.rate / 2


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, measure, judge."""
    data = load(settings.data, samples=settings.train_samples, device=bench.device)
    runs = [descend(bench, data, settings, rate, seed) for rate in settings.rates for seed in range(settings.seeds)]
    return Findings(verdicts=judge(runs), figures=_figures(runs), tables=[_table(runs)], caveats=CAVEATS)


def descend(bench: Bench, data: Data, settings: Settings, rate: float, seed: int) -> Run:
    """Gradient descent on all samples, with critical sharpness at regular intervals."""

    def stage(folder: Path) -> Mapping[str, Any]:
        inputs = data.train[0][0].numel()
        model = zoo.model("mlp", seed=seed, widths=(inputs, settings.width, settings.width, 10), activation="tanh")
        found = list(_descent(model.to(bench.device), data, settings, rate))
        return dict(zip(("step", "critical", "loss"), map(list, zip(*found, strict=True)), strict=True))

    key = {
        "data": data.key, "width": settings.width, "rate": rate, "seed": seed,
        "steps": settings.steps, "every": settings.every,
    }  # fmt: skip
    found = bench.stage(f"critical descend with rate {rate:g} seed {seed}", key, stage).result
    return Run(rate=rate, seed=seed, **{name: np.array(values) for name, values in found.items()})


def _descent(model: nn.Module, data: Data, settings: Settings, rate: float) -> Iterator[tuple[int, float, float]]:
    x, y = data.train
    parameters = list(model.parameters())
    for step in range(settings.steps + 1):
        loss = square(model(x), y).mean()
        if step % settings.every == 0:
            here = la.Objective(model, data.train, loss=square, batch_size=len(y))
            yield step, la.sharpness.critical(here, start=rate).value, float(loss.detach())
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(rate * gradient)


def judge(runs: Sequence[Run]) -> list[Verdict]:
    """Whether critical sharpness settles at 2/η, and whether it rose to get there."""
    caveat = "Each training is one unit; different learning rates start from the same initial weights."
    return [
        within(
            "Late in full-batch training critical sharpness hovers at 2/η",
            [one.late for one in runs],
            *RANGE,
            quantity="η over the critical step, mean over the last third of training, claimed to lie between "
            f"{RANGE[0]} and {RANGE[1]}",
            unit="trainings",
            caveat=caveat,
        ),
        paired(
            "It rises from its initial value",
            [one.late - float(one.ratio[0]) for one in runs],
            quantity="rise of η over the critical step, from the start to the last third",
            unit="trainings",
            caveat=caveat,
        ),
    ]


CAVEATS = (
    "Full-batch gradient descent without momentum on a network with tanh, with the squared loss. With momentum the "
    "edge is elsewhere, and small batches stay below it.",
    "At the edge the critical step lies alternately above and below η: single measurements scatter, and their mean "
    "is judged.",
    "Critical sharpness is the curvature along the gradient alone: far from the edge it says little about λmax.",
)


def _figures(runs: Sequence[Run]) -> list[Figure]:
    rates = sorted({one.rate for one in runs})
    ratio, loss = [], []
    for one in runs:
        label = f"η = {one.rate:g}" if one.seed == 0 else ""
        color = rates.index(one.rate)
        ratio.append(Series(x=one.step, y=_smooth(one.ratio), label=label, color=color))
        loss.append(Series(x=one.step, y=one.loss, label=label, color=color))
    panels = [
        Panel(series=ratio, x_label="step", y_label="η over the critical step", marks=[Mark(y=1.0, label="2/η")]),
        Panel(series=loss, x_label="step", y_label="training loss", y_scale="log"),
    ]
    plot = Plot(panels=panels, caption=["Each line is one training; left, running means over 15 measurements."])
    words = "Critical sharpness along training, and the loss."
    return [Figure(name="critical", shown=plot, words=words)]


def _smooth(values: np.ndarray, over: int = 15) -> np.ndarray:
    """Running means; at the ends, over what there is."""
    window = np.ones(min(over, len(values)))
    return np.convolve(values, window, mode="same") / np.convolve(np.ones(len(values)), window, mode="same")


def _table(runs: Sequence[Run]) -> Numbers:
    rows = [
        {
            "training": f"η = {one.rate:g}, seed {one.seed}",
            "2/η": f"{2 / one.rate:.3g}",
            "at the start": f"{one.critical[0]:.3g}",
            "last third": f"{2 * one.late / one.rate:.3g}",
            "in units of 2/η": f"{one.late:.3f}",
            "loss at the end": f"{one.loss[-1]:.3g}",
        }
        for one in runs
    ]
    return Numbers(
        name="trainings", rows=rows, note="Critical sharpness; means over the last third of the measurements."
    )


STUDY = Study(
    name="critical-sharpness",
    title="Critical sharpness at the edge",
    question="Does critical sharpness, from a gradient and a few evaluations, settle at 2/η along full-batch training?",
    claim="Critical sharpness, 2 over the step along the update at which the loss first rises, shows progressive "
    "sharpening and the edge of stability at a fraction of the cost of the largest eigenvalue.",
    source="arXiv 2601.16979, and Cohen et al., ICLR 2021, for the edge itself",
    small=Settings(),
    paper=Settings(
        data="cifar10:data/cifar10",
        train_samples=5_000,
        width=200,
        rates=(0.01, 0.02, 0.05),
        steps=10_000,
        every=11,
    ),
    run=run,
)
