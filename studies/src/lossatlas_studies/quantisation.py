"""Study: among networks trained to the same loss, do the flatter ones lose less when their weights are rounded?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lossatlas as la
from lossatlas.figure.plot import Plot
from lossatlas.zoo.train import TrainRecipe
from lossatlas_studies.charts import cloud
from lossatlas_studies.comparisons import agreement
from lossatlas_studies.images import Row
from lossatlas_studies.measures import percent
from lossatlas_studies.networks import DATA, Case, Data, Net, load, objective, trained
from lossatlas_studies.settings import about, work
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Figure, Findings, Numbers, Study
from lossatlas_studies.verdicts import Verdict


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set."""

    data: str = about("digits", DATA)
    train_samples: int = work(1000, least=50, about="training samples, from the first on")
    width: int = about(64, "units in each of two hidden layers")
    rates: tuple[float, ...] = about((0.01, 0.03, 0.1), "first learning rates of stochastic gradient descent")
    batches: tuple[int, ...] = about((16, 128), "samples in a batch")
    decays: tuple[float, ...] = about((0.0, 5e-4), "weight decay")
    seeds: int = work(2, least=1, about="networks of each setting: initial weights and order of samples")
    epochs: int = work(200, least=2, about="at most")
    until: float = about(0.02, "training loss at which training stops, the same for all")
    bits: int = about(4, "of each rounded weight, by channel, symmetric")
    few: int = about(3, "bits of a second measurement")
    rise: float = about(0.2, "rise of the loss at which the radius ends")
    directions: int = work(10, least=2, about="random directions for each radius")


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, round, measure, judge."""
    data = load(settings.data, samples=settings.train_samples, device=bench.device)
    rows = []
    for rate in settings.rates:
        for batch in settings.batches:
            for decay in settings.decays:
                for seed in range(settings.seeds):
                    of = {"rate": rate, "batch": batch, "decay": decay}
                    rows.append(_row(bench, trained(bench, net(settings, data, of, seed), data), of, data, settings))
    return Findings(verdicts=judge(rows, settings), figures=_figures(rows, settings), tables=[_table(rows, settings)],
                    caveats=CAVEATS)  # fmt: skip


def net(settings: Settings, data: Data, of: Mapping[str, Any], seed: int) -> Net:
    """One of the networks."""
    recipe = TrainRecipe(
        epochs=settings.epochs,
        lr=of["rate"],
        batch_size=of["batch"],
        weight_decay=of["decay"],
        until=settings.until,
        drops=(),
    )
    label = f"η = {of['rate']:g}, batch {of['batch']}, decay {of['decay']:g}"
    widths = [data.train[0][0].numel(), settings.width, settings.width, 10]
    return Net(label=label, model="mlp", options={"widths": widths}, seed=seed, recipe=recipe)


def _row(bench: Bench, case: Case, of: Mapping[str, Any], data: Data, settings: Settings) -> Row:
    def stage(folder: Path) -> Mapping[str, Any]:
        here = objective(case, data, samples=len(data.train[1]))
        there = la.Objective(case.model, data.test, loss=here.loss, metrics={"error": la.metrics.error})
        found = la.quantise(here, (settings.bits, settings.few), points=2, layers=None)
        held = la.quantise(there, (settings.bits, settings.few), points=2, layers=None, forecast=False)
        told: dict[str, Any] = {
            "radius": la.sharpness.radius(here, rise=settings.rise, directions=settings.directions).value,
            "trace": la.trace(here).value,
        }
        for name, step, out in zip(("bits", "few"), found.steps, held.steps, strict=True):
            told |= {f"rise_{name}": step.rise, f"forecast_{name}": step.forecast, f"share_{name}": step.share}
            told[f"error_{name}"] = float(out.values["error"][-1] - out.values["error"][0])
        return told

    key = {
        "case": dict(case.key), "bits": settings.bits, "few": settings.few, "rise": settings.rise,
        "directions": settings.directions,
    }  # fmt: skip
    found = bench.stage(f"round {case.net.label} seed {case.net.seed}", key, stage).result
    return Row(label=case.net.label, of=of, seed=case.net.seed, scores=dict(case.scores), bend=0.0, extra=found)


def judge(rows: Sequence[Row], settings: Settings) -> list[Verdict]:
    """Flatness against the rise of the loss; networks that were not trained to the common loss are left out."""
    own = [row for row in rows if row["train_loss"] < settings.until]
    lost = len(rows) - len(own)
    said = f" {lost} networks did not reach a training loss of {settings.until:g}: left out." if lost else ""
    of = [(row["rate"], row["batch"], row["decay"]) for row in own]
    caveat = f"Settings are permuted, not networks: two seeds of one setting are not independent.{said}"

    def ranks(claim: str, measure: str, sign: float, outcome: str, quantity: str) -> Verdict:
        return agreement(
            claim,
            [sign * row[measure] for row in own],
            [-row[outcome] for row in own],
            settings=of,
            quantity=quantity,
            caveat=caveat,
        )

    bits, few = settings.bits, settings.few
    return [
        ranks(
            f"The flatter the minimum, the less the training loss rises at {bits} bits",
            "radius", 1.0, "rise_bits", f"Kendall τ of filter-normalised radius and low rise at {bits} bits",
        ),
        ranks(
            f"The same at {few} bits",
            "radius", 1.0, "rise_few", f"Kendall τ of filter-normalised radius and low rise at {few} bits",
        ),
        ranks(
            f"The smaller the trace of the Hessian, the less the training loss rises at {bits} bits",
            "trace", -1.0, "rise_bits", f"Kendall τ of trace and rise at {bits} bits",
        ),
        ranks(
            f"The forecast of second order ranks the networks by their rise at {bits} bits",
            "forecast_bits", -1.0, "rise_bits", f"Kendall τ of forecast and rise at {bits} bits",
        ),
        ranks(
            f"The flatter the minimum, the fewer test samples are lost at {few} bits",
            "radius", 1.0, "error_few", "Kendall τ of filter-normalised radius and low rise of the test error",
        ),
    ]  # fmt: skip


CAVEATS = (
    "Round-to-nearest of weights by channel; activations, biases and normalising layers stay in floating point. "
    "Methods that calibrate or train with rounding may rank networks differently.",
    "All networks are trained until the same training loss, with different learning rates, batches and weight decay. "
    "They differ in more than flatness: weight decay alone makes the weights, and so the step of the grid, smaller.",
    "Radius: how far one walks along filter-normalised random directions until the training loss has risen by the set "
    "amount. A rounding step is not a random direction: it is bounded weight by weight.",
)


def _figures(rows: Sequence[Row], settings: Settings) -> list[Figure]:
    rows = [row for row in rows if row["train_loss"] < settings.until]
    groups = {
        f"batch {batch}, decay {decay:g}": {"batch": batch, "decay": decay}
        for batch in settings.batches
        for decay in settings.decays
    }
    up = ("rise_bits", f"rise of the training loss at {settings.bits} bits")
    panels = [
        cloud(rows, (name, words), up, groups, caption="").panels[0]
        for name, words in (
            ("radius", "filter-normalised radius"),
            ("trace", "trace of the Hessian"),
            ("forecast_bits", "forecast of second order"),
        )
    ]
    plot = Plot(panels=panels, caption=["Each point is a network that was trained to the common loss."])
    return [Figure(name="rises", shown=plot, words="What rounding costs against flatness, trace and forecast.")]


def _table(rows: Sequence[Row], settings: Settings) -> Numbers:
    table = [
        {
            "network": f"{row.label}, seed {row.seed}",
            "epochs": str(row["epochs"]),
            "training loss": f"{row['train_loss']:.3g}",
            "test error": percent(row["test_error"]),
            "radius": f"{row['radius']:.3g}",
            "trace": f"{row['trace']:.3g}",
            f"rise, {settings.bits} bits": f"{row['rise_bits']:.3g}",
            "forecast": f"{row['forecast_bits']:.3g}",
            f"rise, {settings.few} bits": f"{row['rise_few']:.3g}",
            f"test error's rise, {settings.few} bits": percent(row["error_few"]),
        }
        for row in rows
    ]
    return Numbers(name="networks", rows=table, note="Rises of the training loss unless stated otherwise.")


STUDY = Study(
    name="quantisation",
    title="Flatness and rounding",
    question="Among networks trained to the same loss, do the flatter ones lose less when their weights are rounded to "
    "few bits?",
    claim="Flat minima tolerate perturbations of the weights, so they lose less under low-precision arithmetic.",
    source="Hochreiter and Schmidhuber, Flat Minima, Neural Computation 9, 1997: a flat "
    "minimum is one whose weights need little precision",
    small=Settings(),
    paper=Settings(data="cifar10:data/cifar10", train_samples=20_000, width=256, epochs=100, until=0.1),
    run=run,
)
