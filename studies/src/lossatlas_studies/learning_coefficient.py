"""Study: do larger learning rates end where the local learning coefficient is smaller, at the same training loss?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import lossatlas as la
from lossatlas.figure.plot import Plot, Scale
from lossatlas.zoo.train import TrainRecipe
from lossatlas_studies.charts import cloud
from lossatlas_studies.comparisons import agreement
from lossatlas_studies.images import Row
from lossatlas_studies.measures import percent
from lossatlas_studies.networks import DATA, Case, Data, Net, load, trained
from lossatlas_studies.settings import about, work
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Figure, Findings, Numbers, Study
from lossatlas_studies.verdicts import Verdict


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set."""

    data: str = about("digits", DATA)
    train_samples: int = work(1000, least=50, about="training samples, from the first on; λ̂ is of these")
    width: int = about(32, "units in the hidden layer")
    rates: tuple[float, ...] = about((0.02, 0.05, 0.1, 0.2), "learning rates of stochastic gradient descent")
    batches: tuple[int, ...] = about((16, 32, 64), "samples in a batch")
    seeds: int = work(3, least=1, about="networks of each setting: initial weights and order of samples")
    epochs: int = work(300, least=2, about="at most")
    until: float = about(0.02, "training loss at which training stops")
    level: float = about(0.005, "training loss to which all descend from there, on all samples, so that it is the same")
    descent: float = about(0.1, "learning rate of that descent, the same for all")
    descent_steps: int = work(30_000, least=20, about="of that descent, at most")
    gamma: float = about(10.0, "pull of the chains towards the network")
    draws: int = work(1000, least=20, about="steps of each of four chains that count, after half as many")
    chain_batch: int = about(100, "samples in a batch of the chains")


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, walk, judge."""
    data = load(settings.data, samples=settings.train_samples, device=bench.device)
    rows = []
    for rate in settings.rates:
        for batch in settings.batches:
            for seed in range(settings.seeds):
                of = {"rate": rate, "batch": batch}
                rows.append(_row(bench, trained(bench, net(settings, data, of, seed), data), of, data, settings))
    return Findings(verdicts=judge(rows, settings), figures=_figures(rows, settings), tables=[_table(rows)],
                    caveats=CAVEATS)  # fmt: skip


def net(settings: Settings, data: Data, of: Mapping[str, Any], seed: int) -> Net:
    """One of the networks; without weight decay, whose minimum is not that of the loss."""
    recipe = TrainRecipe(
        epochs=settings.epochs,
        lr=of["rate"],
        batch_size=of["batch"],
        weight_decay=0.0,
        until=settings.until,
        drops=(),
    )
    widths = [data.train[0][0].numel(), settings.width, 10]
    label = f"η = {of['rate']:g}, batch {of['batch']}"
    return Net(label=label, model="mlp", options={"widths": widths}, seed=seed, recipe=recipe)


def _levelled(model: nn.Module, data: Data, settings: Settings) -> float:
    """Descend on all samples to the common loss, in place.

    Returns:
        The loss there, just below the common one unless the steps did not suffice.
    """
    x, y = data.train
    parameters, loss = list(model.parameters()), torch.tensor(math.inf)
    for _ in range(settings.descent_steps):
        loss = functional.cross_entropy(model(x), y)
        if not float(loss.detach()) > settings.level:
            break
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(settings.descent * gradient)
    return float(loss.detach())


def _row(bench: Bench, case: Case, of: Mapping[str, Any], data: Data, settings: Settings) -> Row:
    def stage(folder: Path) -> Mapping[str, Any]:
        loss = _levelled(case.model, data, settings)
        here = la.Objective(case.model, data.train, functional.cross_entropy, batch_size=settings.chain_batch)
        there = la.Objective(case.model, data.test, functional.cross_entropy, metrics={"error": la.metrics.error})
        found = la.llc(here, gamma=settings.gamma, draws=settings.draws, progress=False)
        return {
            "train_loss": loss,
            "test_error": there()["error"],
            "llc": found.raw,
            "chain_error": found.error,
            "r_hat": found.r_hat,
            "refused": ", ".join(one.kind for one in found.problems),
            "held": found.held,
            "lambda_max": la.sharpness.lambda_max(here).value,
        }

    key = {
        "case": dict(case.key), "level": settings.level, "descent": settings.descent,
        "steps": settings.descent_steps, "gamma": settings.gamma, "draws": settings.draws,
        "batch": settings.chain_batch,
    }  # fmt: skip
    found = bench.stage(f"walk from {case.net.label} seed {case.net.seed}", key, stage).result
    return Row(label=case.net.label, of=of, seed=case.net.seed, scores={**case.scores, **found}, bend=0.0)


def reached(row: Row, settings: Settings) -> bool:
    """Whether a network has come down to the common loss."""
    return bool(row["train_loss"] <= settings.level)


def kept(rows: Sequence[Row], settings: Settings) -> list[Row]:
    """The networks that have come down to the common loss, and whose chains can be trusted."""
    return [row for row in rows if reached(row, settings) and not row["refused"]]


def judge(rows: Sequence[Row], settings: Settings) -> list[Verdict]:
    """λ̂ against learning rate, batch, test error and λmax."""
    own, caveat = kept(rows, settings), _caveat(rows, settings)
    of = [(row["rate"], row["batch"]) for row in own]

    def ranks(claim: str, what: str, sign: float, quantity: str) -> Verdict:
        return agreement(
            claim,
            [sign * row["llc"] for row in own],
            [row[what] for row in own],
            settings=of,
            quantity=quantity,
            caveat=caveat,
        )

    return [
        ranks(
            "At the same training loss, the larger the learning rate, the smaller the local learning coefficient",
            "rate", -1.0, "Kendall τ of learning rate and low λ̂",
        ),
        ranks(
            "The smaller the batch, the smaller the local learning coefficient",
            "batch", 1.0, "Kendall τ of batch and λ̂",
        ),
        ranks(
            "The local learning coefficient ranks the networks by their test error",
            "test_error", 1.0, "Kendall τ of λ̂ and test error",
        ),
        ranks(
            "It ranks them as the largest eigenvalue of the Hessian does",
            "lambda_max", 1.0, "Kendall τ of λ̂ and λmax",
        ),
    ]  # fmt: skip


def _caveat(rows: Sequence[Row], settings: Settings) -> str:
    """What the verdicts leave out."""
    untrained = [row for row in rows if not reached(row, settings)]
    refused = [row for row in rows if reached(row, settings) and row["refused"]]
    losses = [row["train_loss"] for row in kept(rows, settings)]
    said = ["Settings are permuted, not networks: seeds of one setting are not independent."]
    if untrained:
        said.append(f"{len(untrained)} networks did not reach a training loss of {settings.level:g}: left out.")
    if refused:
        kinds = sorted({kind for row in refused for kind in row["refused"].split(", ")})
        said.append(f"The chains of {len(refused)} networks were refused ({', '.join(kinds)}): left out.")
    if losses:
        said.append(f"Training losses of those compared: {min(losses):.4g} to {max(losses):.4g}.")
    return " ".join(said)


CAVEATS = (
    "λ̂ is taken at nβ = n / log n and one pull: a direction that curves by less than γ/nβ counts as flat. At another "
    "temperature or pull the numbers change, and their order may too.",
    "Every network descends to one training loss with one small learning rate, so that what is compared is where its "
    "own training had led. That loss is not a minimum: with cross entropy on separable data there is none. "
    "Chains that find a lower loss on average are refused; a slope too gentle for that makes λ̂ smaller.",
    "Learning rate and batch size change more than degeneracy: for one, the length of the weights, to which λ̂ at a "
    "fixed pull is sensitive.",
    "Test errors of a few per cent of some hundred samples differ by a sample or two: ties and near-ties are common.",
)


def _figures(rows: Sequence[Row], settings: Settings) -> list[Figure]:
    own = kept(rows, settings)
    groups = {f"batch {batch}": {"batch": batch} for batch in settings.batches}
    up = ("llc", "local learning coefficient λ̂")
    across: tuple[tuple[str, str, Scale], ...] = (
        ("rate", "learning rate η", "log"),
        ("test_error", "test error", "linear"),
        ("lambda_max", "λmax", "linear"),
    )
    panels = [
        cloud(own, (name, words), up, groups, x_scale=scale, caption="").panels[0] for name, words, scale in across
    ]
    caption = ["Each point is a network that has come down to the common loss, and whose chains can be trusted."]
    words = "λ̂ against the learning rate, the test error and the largest eigenvalue."
    return [Figure(name="coefficients", shown=Plot(panels=panels, caption=caption), words=words)]


def _table(rows: Sequence[Row]) -> Numbers:
    table = [
        {
            "network": f"{row.label}, seed {row.seed}",
            "epochs": str(row["epochs"]),
            "training loss": f"{row['train_loss']:.4g}",
            "test error": percent(row["test_error"]),
            "λ̂": f"{row['llc']:.3g} ± {row['chain_error']:.2g}" if math.isfinite(row["llc"]) else "not a number",
            "R-hat": f"{row['r_hat']:.3f}",
            "chains": f"refused: {row['refused']}" if row["refused"] else "believed",
            "held by the pull": f"{row['held']:.3g}",
            "λmax": f"{row['lambda_max']:.3g}",
        }
        for row in rows
    ]
    note = "± covers the chains only. Refused estimates are shown but take part in no verdict."
    return Numbers(name="networks", rows=table, note=note)


STUDY = Study(
    name="learning-coefficient",
    title="Learning rate and degeneracy",
    question="Among networks trained to the same loss, do larger learning rates end where the local learning "
    "coefficient is smaller, and does it say anything about the test error?",
    claim="Stochastic optimisers differ in how degenerate the minima are that they prefer, which the local learning "
    "coefficient shows: more noise, as of larger learning rates, ends at more degenerate ones.",
    source="Lau, Furman, Wang, Murfet, Wei 2023, arXiv 2308.12108, on the bias of optimisers towards degenerate points",
    small=Settings(),
    paper=Settings(
        data="cifar10:data/cifar10",
        train_samples=20_000,
        width=512,
        epochs=300,
        until=0.1,
        level=0.05,
        draws=4000,
        chain_batch=500,
    ),
    run=run,
)
