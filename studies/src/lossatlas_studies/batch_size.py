"""Study: does the sharpness of small- and large-batch minima depend on how it is drawn?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import lossatlas as la
from lossatlas.figure.plot import Panel, Plot, Series
from lossatlas.results import landscape as schema
from lossatlas.space import filters
from lossatlas.zoo.train import Augment, TrainRecipe
from lossatlas_studies.charts import cloud
from lossatlas_studies.comparisons import agreement, larger
from lossatlas_studies.images import Row, settings_of
from lossatlas_studies.measures import percent
from lossatlas_studies.networks import DATA, LANDSCAPE, Case, Data, Look, Net, load, objective, surface, trained
from lossatlas_studies.settings import about, work
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Figure, Findings, Numbers, Study
from lossatlas_studies.verdicts import Verdict

SIZES = ("small", "large")
NEAR = 0.25
"""How far inside an end of the line its sharpness is taken, in lengths of the line. Not outside: there interpolated
variances can fall below zero, where BatchNorm has no value."""

WAYS = {"filter": 0.5, "layer": 0.5, "none": 0.05}
"""Normalisations, and how far from the centre sharpness is taken along directions of each, in multiples."""

PAPER = {"0": (7.37, 11.07), "5e-4": (6.0, 10.19)}
"""Test errors of the paper in per cent, VGG-9, by weight decay: small and large batch."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set."""

    data: str = about("digits", DATA)
    train_samples: int = work(1437, least=16, power=2, about="training samples, from the first on")
    size: int = about(8, "height and width of an image")
    width: int = about(4, "channels of the first group of VGG-9; the paper's are 64")
    small_batch: int = work(32, least=4, about="samples in a small batch")
    large_batch: int = work(512, least=16, about="samples in a large batch")
    decays: tuple[float, ...] = about((0.0, 5e-4), "weight decays, two of them")
    seeds: int = work(4, least=2, about="networks of each kind")
    epochs: int = work(40, least=1, about="passes over the data, for both batch sizes")
    lr: float = about(0.05, "first learning rate of both, a tenth after 50, 75 and 92 % of the epochs")
    augment: Augment = about("none", "none, crop or crop-flip")
    steps: int = work(41, least=9, about="points of every line")
    directions: int = work(3, least=1, about="random directions of each normalisation for each network")
    samples: int = work(600, least=8, power=2, about="training samples behind each value")

    def recipe(self, size: str, decay: float) -> TrainRecipe:
        """How a network is trained."""
        batch = self.small_batch if size == "small" else self.large_batch
        return TrainRecipe(epochs=self.epochs, lr=self.lr, batch_size=batch, weight_decay=decay, augment=self.augment)


def net(settings: Settings, channels: int, size: str, decay: float, seed: int) -> Net:
    """One of the networks."""
    w = settings.width
    options = {"groups": [[w, w], [2 * w, 2 * w], [4 * w] * 3], "size": settings.size, "channels": channels}
    label = f"{size} batch, decay {decay:g}"
    return Net(label=label, model="vgg9", options=options, seed=seed, recipe=settings.recipe(size, decay))


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, measure, judge."""
    data = load(settings.data, samples=settings.train_samples, device=bench.device)
    rows, lines, weights = [], [], {}
    along: dict[str, list[xr.Dataset]] = {way: [] for way in WAYS}
    for decay in settings.decays:
        for seed in range(settings.seeds):
            cases = {size: trained(bench, net(settings, data.channels, size, decay, seed), data) for size in SIZES}
            line = between(bench, cases, data, settings)
            lines.append(line.assign_attrs(title=f"decay {decay:g}"))
            for size, case in cases.items():
                curves = {way: _curves(bench, case, data, settings, way) for way in WAYS}
                for way, found in curves.items():
                    along[way] += found
                rows.append(_row(case, size, decay, line, curves))
                if seed == 0:
                    weights[case.net.label] = _weights(case)
    return Findings(
        verdicts=judge(rows),
        figures=_figures(rows, lines, along, weights),
        tables=[_table(rows), _paper()],
        caveats=CAVEATS,
    )


def between(bench: Bench, cases: Mapping[str, Case], data: Data, settings: Settings) -> xr.Dataset:
    """The straight line from the small-batch network (0) to the large-batch one (1), statistics interpolated."""

    def stage(folder: Path) -> Mapping[str, Any]:
        here = objective(cases["small"], data, samples=settings.samples, batchnorm="interpolated")
        ends = (cases["small"].model, cases["large"].model)
        found = la.interpolate(here, *ends, steps=settings.steps, x=(-0.5, 1.5), run=folder / "run", progress=False)
        schema.save(found, folder / LANDSCAPE)
        return {}

    key = {
        **{size: dict(case.key) for size, case in cases.items()},
        "steps": settings.steps,
        "samples": settings.samples,
    }
    name = f"line, decay {cases['small'].net.recipe.weight_decay:g} seed {cases['small'].net.seed}"
    return schema.load(bench.stage(name, key, stage).folder / LANDSCAPE)


def _curves(bench: Bench, case: Case, data: Data, settings: Settings, way: str) -> list[xr.Dataset]:
    """The loss along random directions of one normalisation."""
    looks = [
        Look(points=settings.steps, samples=settings.samples, seed=seed, axes=("x",), by=way, span=2 * WAYS[way])
        for seed in range(settings.directions)
    ]
    return [surface(bench, case, data, look) for look in looks]


def rise(landscape: xr.Dataset, centre: float, low: float, high: float) -> float:
    """How far the loss lies above its value at a place, on average from one coordinate to another.

    Example:
        >>> axis = schema.Axis(coordinates=np.linspace(-1, 1, 5), length=1.0)
        >>> round(rise(schema.build({"x": axis}, {"loss": axis.coordinates**2}), 0.0, -0.5, 0.5), 4)
        0.1667
    """
    x, loss = landscape["x"].values, landscape["loss"].values
    near = (x >= low - 1e-9) & (x <= high + 1e-9)
    return float(loss[near].mean() - loss[np.abs(x - centre).argmin()])


def _row(case: Case, size: str, decay: float, line: xr.Dataset, curves: Mapping[str, Sequence[xr.Dataset]]) -> Row:
    sharp = {
        way: float(np.mean([rise(one, 0.0, -WAYS[way], WAYS[way]) for one in found])) for way, found in curves.items()
    }
    return Row(
        label=case.net.label,
        of={"size": size, "decay": decay},
        seed=case.net.seed,
        scores=dict(case.scores),
        bend=0.0,
        extra={
            **sharp,
            "line": rise(line, 0.0, 0.0, NEAR) if size == "small" else rise(line, 1.0, 1.0 - NEAR, 1.0),
            "norm": float(np.sqrt(np.sum(_weights(case) ** 2))),
        },
    )


def _weights(case: Case) -> np.ndarray:
    """All entries of the tensors that filter-normalised directions move."""
    roles = {name: row.role for name, row in filters.table(case.model).items()}
    tensors = [tensor for name, tensor in case.model.named_parameters() if roles[name] == "weight"]
    return np.concatenate([tensor.detach().cpu().double().numpy().ravel() for tensor in tensors])


def judge(rows: Sequence[Row]) -> list[Verdict]:
    """Whether the order on the line depends on weight decay, and the order along normalised directions does not."""
    none, some = sorted({row["decay"] for row in rows})
    line = "Training loss on the straight line between a small- and a large-batch network, one line for each seed."
    return [
        larger(
            "On the unnormalised line, which of the two minima looks sharper depends on weight decay: the "
            "large-batch one without it, the small-batch one with it",
            _gaps(rows, none),
            _gaps(rows, some),
            quantity=f"log10 of the ratio of sharpness, large over small batch, decay {none:g} minus decay {some:g}",
            unit="lines",
            caveat=line + " The order itself is in the next two verdicts.",
        ),
        larger(
            f"On the line at decay {none:g}, the large-batch minimum is the sharper one",
            _logs(rows, none, "large", "line"),
            _logs(rows, none, "small", "line"),
            quantity="log10 of the ratio of sharpness, large over small batch",
            unit="networks",
            caveat=line,
        ),
        larger(
            f"On the line at decay {some:g}, the small-batch minimum is the sharper one",
            _logs(rows, some, "small", "line"),
            _logs(rows, some, "large", "line"),
            quantity="log10 of the ratio of sharpness, small over large batch",
            unit="networks",
            caveat=line,
        ),
        larger(
            "Along filter-normalised directions, large-batch minima are the sharper ones whatever the decay",
            {decay: _logs(rows, decay, "large", "filter") for decay in (none, some)},
            {decay: _logs(rows, decay, "small", "filter") for decay in (none, some)},
            quantity="log10 of the ratio of filter-normalised sharpness, large over small batch",
            unit="networks",
            caveat="Mean over random directions of the rise of the loss within half a filter norm.",
        ),
        *(
            agreement(
                f"Sharpness along directions normalised by {way} ranks networks as their test error does",
                [row[way] for row in rows],
                [row["test_error"] for row in rows],
                settings=settings_of(rows),
                quantity="Kendall τ of sharpness and test error",
                caveat="The networks come in four kinds, and whatever else differs between the kinds can produce an "
                "agreement.",
            )
            for way in WAYS
        ),
    ]


def _logs(rows: Sequence[Row], decay: float, size: str, what: str) -> list[float]:
    """log10 of a sharpness; not a number where the loss does not rise at all."""
    found = [row[what] for row in rows if row["decay"] == decay and row["size"] == size]
    return [float(np.log10(value)) if value > 0 else float("nan") for value in found]


def _gaps(rows: Sequence[Row], decay: float) -> list[float]:
    large, small = (_logs(rows, decay, size, "line") for size in ("large", "small"))
    return [a - b for a, b in zip(large, small, strict=True)]


CAVEATS = (
    "Both batch sizes are trained for the same number of epochs at the same learning rate, as in the paper, so large "
    "batches take far fewer steps: what is said about batch size applies to the number of steps as well.",
    f"Sharpness on the line: mean rise of the loss up to {NEAR} inside its end. Outside, interpolated variances can "
    f"fall below zero, and the line has no value there. On random directions: mean rise within {WAYS['filter']} of "
    f"the norm for filter- and layer-wise ones, within {WAYS['none']} of a direction with entries of variance 1 for "
    "those that are not normalised.",
    "At first sharpness was taken on both sides of each end of the line; the inside was chosen when the outside "
    "turned out to have no value, before its numbers were seen.",
    "Training losses at the end are not the same: see the table. Sharpness is a rise above each network's own loss.",
    "BatchNorm statistics are interpolated on the lines between networks, as in the paper, and frozen along random "
    "directions.",
)


def _figures(
    rows: Sequence[Row],
    lines: Sequence[xr.Dataset],
    along: Mapping[str, Sequence[xr.Dataset]],
    weights: Mapping[str, np.ndarray],
) -> list[Figure]:
    groups = {
        f"{size} batch, decay {decay:g}": {"size": size, "decay": decay}
        for decay in sorted({row["decay"] for row in rows})
        for size in SIZES
    }
    percents = [replace(row, extra={**row.extra, "error": 100 * row["test_error"]}) for row in rows]
    scatter = cloud(
        percents,
        ("filter", "filter-normalised sharpness (rise of the loss)"),
        ("error", "test error (%)"),
        groups,
        x_scale="log",
        caption="Each point is a network.",
    )
    view = {"scale": "log"}
    return [
        Figure(
            name="lines",
            shown=lines,
            words="The unnormalised line from the small-batch network at 0 to the large-batch network at 1: the "
            "median over seeds, and a band from the smallest to the largest.",
            view=view,
        ),
        Figure(
            name="histograms",
            shown=_histograms(weights),
            words="How large the weights are, which decides what a step of a given length does.",
        ),
        Figure(
            name="filter",
            shown=along["filter"],
            words="The loss along filter-normalised directions: the median over seeds and directions, and a band.",
            view=view,
        ),
        Figure(name="layer", shown=along["layer"], words="The same along layer-normalised directions.", view=view),
        Figure(name="ranks", shown=scatter, words="Filter-normalised sharpness and test error of every network."),
    ]


def _histograms(weights: Mapping[str, np.ndarray]) -> Plot:
    edge = float(np.quantile(np.abs(np.concatenate(list(weights.values()))), 0.995))
    bins = np.linspace(-edge, edge, 61)
    series = []
    for label, values in weights.items():
        counts, _ = np.histogram(values, bins)
        share = 100 * counts / len(values)
        series.append(Series(x=(bins[1:] + bins[:-1]) / 2, y=share, label=label, style="step"))
    panel = Panel(series=series, x_label="weight", y_label="share of weights (%)", y_scale="log")
    return Plot(panels=[panel], caption=["All convolutions and linear layers of the first network of each kind."])


def _table(rows: Sequence[Row]) -> Numbers:
    return Numbers(
        name="networks",
        rows=[
            {
                "network": f"{row.label}, seed {row.seed}",
                "training loss": f"{row['train_loss']:.2g}",
                "test error": percent(row["test_error"]),
                "norm of weights": f"{row['norm']:.1f}",
                "on the line": f"{row['line']:.3g}",
                **{f"by {way}": f"{row[way]:.3g}" for way in WAYS},
            }
            for row in rows
        ],
        note="Sharpness on the line and along random directions by normalisation: rise of the training loss, see "
        "caveats.",
    )


def _paper() -> Numbers:
    rows = [{"decay": d, "batch of 128": f"{a:.2f} %", "batch of 8192": f"{b:.2f} %"} for d, (a, b) in PAPER.items()]
    note = "For reference, not for comparison: test errors of the paper, VGG-9 on CIFAR-10."
    return Numbers(name="paper", rows=rows, note=note)


STUDY = Study(
    name="batch-size",
    title="Batch size and weight decay",
    question="Is the minimum found with large batches the sharper one, or does that depend on weight decay and on "
    "how the line is drawn?",
    claim="On the straight line between two minima, weight decay turns around which of them looks sharper, since it "
    "shrinks the weights; along filter-normalised directions the large-batch one is the sharper in both cases, and "
    "sharpness agrees with test errors of 7.37 and 11.07 % (small and large batch, no decay), 6.0 and 10.19 % (decay "
    "5e-4).",
    source="Li, Xu, Taylor, Studer, Goldstein, Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, sections "
    "3 to 5",
    small=Settings(),
    paper=Settings(
        data="cifar10:data/cifar10",
        train_samples=50_000,
        size=32,
        width=64,
        small_batch=128,
        large_batch=8192,
        seeds=4,
        epochs=300,
        lr=0.1,
        augment="crop-flip",
        steps=51,
        samples=10_000,
    ),
    run=run,
)
