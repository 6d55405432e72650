"""Study: do flat minima have wide margins, and do minima that fail the test set look sharp?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

import lossatlas as la
from lossatlas.extras import require
from lossatlas.figure.plot import Panel, Plot, Series
from lossatlas.zoo.train import TrainRecipe, score
from lossatlas_studies.charts import cloud
from lossatlas_studies.comparisons import agreement, larger
from lossatlas_studies.images import Row
from lossatlas_studies.measures import percent
from lossatlas_studies.networks import DATA, Case, Data, Look, Net, load, objective, surface, trained
from lossatlas_studies.settings import about, work
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Figure, Findings, Numbers, Study
from lossatlas_studies.verdicts import Verdict

TURNS = 1.5
NOISE = 0.03
TASKS = ("spirals", "images")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set."""

    data: str = about("digits", DATA)
    train_samples: int = work(400, least=16, power=2, about="images to be learned with their right classes")
    poison: tuple[float, ...] = about(
        (0.0, 0.5, 1.0, 2.0), "further images with wrong classes, as a share of the others"
    )
    spirals: int = work(60, least=20, about="points to be learned on two spirals in the plane")
    spiral_poison: tuple[float, ...] = about((0.0, 0.25, 0.5, 1.0), "the same share for the spirals")
    spiral_width: int = about(200, "units in each of two hidden layers, for the spirals")
    spiral_epochs: int = work(3000, least=2, about="at most, for the spirals: one step in each")
    model: str = about("mlp", "network for the images: mlp, or resnet with 20 layers")
    width: int = about(64, "units in each of two hidden layers, or channels of the first stage")
    seeds: int = work(4, least=2, about="networks of each kind")
    epochs: int = work(600, least=2, about="at most")
    lr: float = about(3e-3, "learning rate of Adam")
    until: float = about(0.01, "training loss, wrong classes included, at which training stops")
    matched: float = about(0.05, "loss on the right classes above which a network counts as not trained")
    rise: float = about(0.2, "rise of the loss at which the radius ends")
    directions: int = work(10, least=2, about="random directions for each radius")
    points: int = work(41, least=9, about="points of the lines that are shown")


def spirals(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Points on two spirals in the plane, one for each class.

    Args:
        count: number of points.
        seed: of their places.

    Returns:
        Places, float32 [count, 2], and classes, int64 [count].

    Example:
        >>> x, y = spirals(6, 0)
        >>> x.shape, y.tolist()
        (torch.Size([6, 2]), [0, 1, 0, 1, 0, 1])
    """
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % 2
    along = np.sqrt(rng.uniform(0.04, 1.0, count))
    angle = 2 * np.pi * TURNS * along + np.pi * classes
    places = along[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) + NOISE * rng.normal(size=(count, 2))
    return torch.from_numpy(places).float() * 2, torch.from_numpy(classes).long()


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is learned: clean data, further samples to poison it with, and the number of classes."""

    name: str
    clean: Data
    pool: tuple[Tensor, Tensor]
    classes: int
    shares: tuple[float, ...]

    def poisoned(self, share: float) -> Data:
        """The clean data with a share of further samples that have wrong classes."""
        count = round(share * len(self.clean.train[1]))
        if count > len(self.pool[1]):
            raise la.SpecError(
                f"poison={share:g} of {len(self.clean.train[1])} needs {count} further samples; there are "
                f"{len(self.pool[1])}; use fewer train_samples"
            )
        shift = torch.from_numpy(np.random.default_rng(0).integers(1, self.classes, count)).to(self.pool[1].device)
        wrong = (self.pool[1][:count] + shift) % self.classes
        x, y = self.clean.train
        return replace(self.clean, train=(torch.cat([x, self.pool[0][:count]]), torch.cat([y, wrong])))


def tasks(settings: Settings, device: str) -> list[Task]:
    """The spirals and the images."""
    most = max(settings.spiral_poison)
    plane = [tuple(part.to(device) for part in spirals(count, seed)) for seed, count in (
        (0, settings.spirals), (1, 1000), (2, round(most * settings.spirals)),
    )]  # fmt: skip
    data = load(settings.data, device=device)
    count = settings.train_samples
    (x, y), test = data.train, tuple(part[: 10 * count] for part in data.test)
    return [
        Task(
            name="spirals",
            clean=Data(name="spirals", train=(plane[0][0], plane[0][1]), test=(plane[1][0], plane[1][1])),
            pool=(plane[2][0], plane[2][1]),
            classes=2,
            shares=settings.spiral_poison,
        ),
        Task(
            name="images",
            clean=Data(name=data.name, train=(x[:count], y[:count]), test=(test[0], test[1])),
            pool=(x[count:], y[count:]),
            classes=10,
            shares=settings.poison,
        ),
    ]


def net(settings: Settings, task: Task, share: float, seed: int) -> Net:
    """One of the networks."""
    plane = task.name == "spirals"
    inputs, w = task.clean.train[0][0].numel(), settings.spiral_width if plane else settings.width
    options: dict[str, Any] = {"widths": [inputs, w, w, task.classes]}
    name = "mlp"
    if not plane and settings.model == "resnet":
        name, options = "resnet", {"depth": 20, "width": w, "channels": task.clean.channels}
    recipe = TrainRecipe(
        epochs=settings.spiral_epochs if plane else settings.epochs,
        lr=settings.lr,
        until=settings.until,
        optimizer="adam",
        weight_decay=0.0,
        drops=(),
    )
    label = f"{task.name}, {share:g} times as many poisoned"
    return Net(label=label, model=name, options=options, seed=seed, recipe=recipe)


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, measure, judge."""
    rows, lines, borders = [], [], []
    for task in tasks(settings, bench.device):
        for share in task.shares:
            for seed in range(settings.seeds):
                case = trained(bench, net(settings, task, share, seed), task.poisoned(share))
                rows.append(_row(bench, case, task, share, settings))
                if seed == 0 and task.name == "spirals":
                    borders.append(_border_panel(case, task, share))
                if task.name == "images" and share in (min(task.shares), max(task.shares)):
                    look = Look(points=settings.points, samples=len(task.clean.train[1]), axes=("x",), seed=seed)
                    lines.append(surface(bench, case, task.clean, look))
    return Findings(
        verdicts=judge(rows, settings), figures=_figures(rows, lines, borders), tables=[_table(rows)], caveats=CAVEATS
    )


def _row(bench: Bench, case: Case, task: Task, share: float, settings: Settings) -> Row:
    def stage(folder: Path) -> Mapping[str, Any]:
        here = objective(case, task.clean, samples=len(task.clean.train[1]))
        radius = la.sharpness.radius(here, rise=settings.rise, directions=settings.directions)
        margin = la.sharpness.input_margin(here)
        own = score(case.model, task.clean.train)
        return {"radius": radius.value, "margin": margin.value, "clean_loss": own.loss, "clean_error": own.error}

    key = {
        "case": dict(case.key), "clean": task.clean.key, "rise": settings.rise, "directions": settings.directions,
    }  # fmt: skip
    found = bench.stage(f"radius and margin of {case.net.label} seed {case.net.seed}", key, stage).result
    return Row(
        label=case.net.label,
        of={"task": task.name, "share": share},
        seed=case.net.seed,
        scores=dict(case.scores),
        bend=0.0,
        extra=found,
    )


def judge(rows: Sequence[Row], settings: Settings) -> list[Verdict]:
    """Radius against margin and test error, and clean against most poisoned; networks that do not fit are left out."""
    fit = [row for row in rows if row["clean_loss"] <= settings.matched]
    lost = len(rows) - len(fit)
    said = (
        "" if not lost else f" {lost} networks do not fit the right classes to a loss of {settings.matched}: left out."
    )
    pooled = (
        "Shares of poison are pooled, which is what spreads both quantities; within one share there may be no "
        "agreement." + said
    )
    verdicts = []
    for task in reversed(TASKS):
        own = [row for row in fit if row["task"] == task]
        shares = settings.spiral_poison if task == "spirals" else settings.poison
        most, least = max(shares), min(shares)
        verdicts += [
            agreement(
                f"On {task}, the flatter the minimum, the wider the margins of the training data",
                [row["radius"] for row in own],
                [row["margin"] for row in own],
                settings=[row["share"] for row in own],
                quantity="Kendall τ of filter-normalised radius and median margin",
                caveat=pooled,
            ),
            agreement(
                f"On {task}, the flatter the minimum, the smaller the test error",
                [row["radius"] for row in own],
                [-row["test_error"] for row in own],
                settings=[row["share"] for row in own],
                quantity="Kendall τ of filter-normalised radius and test accuracy",
                caveat=pooled,
            ),
            larger(
                f"On {task}, clean minima are flatter than those that fit the same data and were poisoned",
                [row["radius"] for row in own if row["share"] == least],
                [row["radius"] for row in own if row["share"] == most],
                quantity="filter-normalised radius, clean minus most poisoned",
                unit="networks",
                caveat="Both are measured on the right classes alone, which both fit." + said,
            ),
        ]
    return verdicts


CAVEATS = (
    "A poisoned network fits the same samples with right classes as a clean one, and further samples with wrong "
    "classes that the measures do not see. Its minimum of the clean loss is therefore one that fails on the test set, "
    "found on purpose.",
    "Radius: how far one can walk along filter-normalised random directions until the clean training loss has risen by "
    "the set amount, as a mean over directions. Margin: distance of a training sample from the decision boundary in "
    "the input, to first order, the median.",
    "Flat minima and good test errors have a common cause here; this does not show that flat minima generalise.",
)


def _border_panel(case: Case, task: Task, share: float) -> Panel:
    """The points, and the line where the network's decision changes."""
    contourpy = require("contourpy", extra="draw", purpose="draw a decision boundary")

    at = np.linspace(-2.6, 2.6, 161)
    grid = torch.from_numpy(np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)).float()
    with torch.no_grad():
        scores = case.model(grid.to(next(case.model.parameters()).device)).cpu()
    height = (scores[:, 1] - scores[:, 0]).reshape(len(at), len(at)).numpy()
    series = []
    for number, border in enumerate(contourpy.contour_generator(at, at, height).lines(0.0)):
        series.append(Series(x=border[:, 0], y=border[:, 1], label="boundary" if number == 0 else "", color=2))
    x, y = (part.cpu().numpy() for part in task.clean.train)
    for place in (0, 1):
        own = x[y == place]
        series.append(Series(x=own[:, 0], y=own[:, 1], label=f"class {place}", style="points", color=place))
    return Panel(series=series, x_label="input 1", y_label="input 2", title=f"{share:g} times as many poisoned")


def _figures(rows: Sequence[Row], lines: Sequence[xr.Dataset], borders: Sequence[Panel]) -> list[Figure]:
    figures = []
    if borders:
        chosen = borders if len(borders) <= 3 else [borders[0], borders[len(borders) // 2], borders[-1]]
        caption = ["The points with right classes, and the boundary of the first network of each share."]
        words = "Two spirals: what the network learned, without and with poison."
        figures.append(Figure(name="boundaries", shown=Plot(panels=chosen, caption=caption), words=words))
    figures.append(
        Figure(
            name="lines",
            shown=lines,
            words="The loss on the right classes along random filter-normalised directions, without and with the "
            "most poison: the median over networks, and a band from the smallest to the largest.",
            view={"scale": "log"},
        )
    )
    for task in TASKS:
        own = [row for row in rows if row["task"] == task]
        shares = sorted({row["share"] for row in own})
        groups = {f"{share:g} times as many poisoned": {"share": share} for share in shares}
        plots = [
            cloud(
                own,
                ("radius", "filter-normalised radius"),
                ("margin", "median margin (input units)"),
                groups,
                caption="",
            ),
            cloud(
                [replace(row, extra={**row.extra, "error": 100 * row["test_error"]}) for row in own],
                ("radius", "filter-normalised radius"),
                ("error", "test error (%)"),
                groups,
                caption="",
            ),
        ]
        plot = Plot(panels=[plots[0].panels[0], plots[1].panels[0]], caption=[f"Each point is a network; {task}."])
        figures.append(Figure(name=f"radius-{task}", shown=plot, words=f"The measures of the verdicts on {task}."))
    return figures


def _table(rows: Sequence[Row]) -> Numbers:
    table = [
        {
            "network": f"{row.label}, seed {row.seed}",
            "epochs": str(row["epochs"]),
            "loss, right classes": f"{row['clean_loss']:.3g}",
            "error, right classes": percent(row["clean_error"]),
            "test error": percent(row["test_error"]),
            "radius": f"{row['radius']:.3g}",
            "margin": f"{row['margin']:.3g}",
        }
        for row in rows
    ]
    return Numbers(name="networks", rows=table, note="Radius and margin as in the caveats.")


STUDY = Study(
    name="flat-minima",
    title="Flat minima and margins",
    question="Do flat minima have wide margins, and are minima that fit the training set but fail the test set sharp?",
    claim="Flat minima are those whose decision boundary keeps away from the data; minima that generalise badly, "
    "found by training on poisoned data, fit the training set as well but are narrow.",
    source="Huang, Emam, Goldblum, Fowl, Terry, Huang, Goldstein, Understanding Generalization through Visualizations, "
    "2020 (arXiv 1906.03291)",
    small=Settings(),
    paper=Settings(
        data="cifar10:data/cifar10", train_samples=15_000, model="resnet", width=16, lr=1e-3, epochs=300, until=0.02
    ),
    run=run,
)
