"""Study: is the path of a training as flat as it looks, and does it run down the slope of what is drawn below it?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import lossatlas as la
from lossatlas.paths.findings import Checkpoint, PathLosses, Projected
from lossatlas.results import landscape as schema
from lossatlas.zoo.train import Augment, TrainRecipe
from lossatlas_studies import trajectory_figures
from lossatlas_studies.comparisons import larger, paired
from lossatlas_studies.measures import percent
from lossatlas_studies.networks import DATA, Case, Data, Net, load, objective, recorded
from lossatlas_studies.path_measures import WALKS, chance, downhill, random_plane, variance
from lossatlas_studies.settings import about, work
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Findings, Study
from lossatlas_studies.verdicts import Verdict, within

KINDS = {
    "SGD, small batch": ("sgd", "small"),
    "SGD, large batch": ("sgd", "large"),
    "Adam, small batch": ("adam", "small"),
    "Adam, large batch": ("adam", "large"),
}
"""Optimizer and batch of each kind of training."""

CHANCE = (0.8, 1.25)
"""The share of a path in a random plane, in units of 2 / P, that counts as chance."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set."""

    data: str = about("digits", DATA)
    train_samples: int = work(1437, least=16, power=2, about="training samples, from the first on")
    size: int = about(8, "height and width of an image")
    width: int = about(4, "channels of the first group of VGG-9; the paper's are 64")
    small_batch: int = work(32, least=4, about="samples in a small batch")
    large_batch: int = work(512, least=16, about="samples in a large batch")
    seeds: int = work(4, least=2, about="networks of each kind: initial weights and order of samples")
    epochs: int = work(40, least=4, about="passes over the data; a checkpoint is kept after each")
    lr: float = about(0.05, "first learning rate of SGD, a tenth after 50, 75 and 92 % of the epochs")
    adam_lr: float = about(0.01, "first learning rate of Adam, which falls in the same way")
    decay: float = about(5e-4, "weight decay")
    augment: Augment = about("none", "none, crop or crop-flip")
    samples: int = work(600, least=8, power=2, about="training samples behind each loss and each slope")
    random_planes: int = work(20, least=2, about="random planes for each path")
    points: int = work(25, least=3, power=0.5, about="along each axis of a landscape, which holds the path")

    def recipe(self, optimizer: str, size: str) -> TrainRecipe:
        """How a network is trained."""
        return TrainRecipe(
            epochs=self.epochs,
            lr=self.lr if optimizer == "sgd" else self.adam_lr,
            optimizer="sgd" if optimizer == "sgd" else "adam",
            batch_size=self.small_batch if size == "small" else self.large_batch,
            weight_decay=self.decay,
            augment=self.augment,
        )


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is known about one training's path of n checkpoints.

    Attributes:
        optimizer: "sgd" or "adam".
        size: of the batch, "small" or "large".
        seed: of the training.
        scores: of the training, see :class:`~lossatlas_studies.networks.Case`.
        numbers: what :func:`~lossatlas_studies.path_measures.variance` and ``chance`` found, by name.
        rates: float64 [n], learning rate of the epoch before each checkpoint.
        cosines: float64 [n - 1], see :func:`~lossatlas_studies.path_measures.downhill`.
        coordinates: float64 [n, 2], nearest point of the principal plane.
        off: float64 [n], distance from it, in parameter norm.
        far: float64 [n], distance from the last checkpoint.
        own: float64 [n], loss of the network.
        surface: float64 [n], loss at the nearest point of the plane.
    """

    optimizer: str
    size: str
    seed: int
    numbers: Mapping[str, float]
    rates: np.ndarray
    cosines: np.ndarray
    scores: Mapping[str, Any] = field(default_factory=dict)
    coordinates: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    off: np.ndarray = field(default_factory=lambda: np.zeros(0))
    far: np.ndarray = field(default_factory=lambda: np.zeros(0))
    own: np.ndarray = field(default_factory=lambda: np.zeros(0))
    surface: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def kind(self) -> str:
        """What trainings of its kind are called."""
        return next(label for label, chosen in KINDS.items() if chosen == (self.optimizer, self.size))

    @property
    def excess(self) -> float:
        """Explained variance of the first two components, minus that of a random walk."""
        return self.numbers["share"] - self.numbers["walk"]

    @property
    def drop(self) -> int:
        """How many steps of the path come before the learning rate falls."""
        fallen = np.flatnonzero(self.rates < self.rates[0])
        return int(fallen[0]) - 1 if len(fallen) else len(self.cosines)

    @property
    def hidden(self) -> float:
        """Mean over checkpoints of log10 of the network's loss over the surface's; the last one is on the surface."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.mean(np.log10(self.own[:-1] / self.surface[:-1])))

    @property
    def along(self) -> PathLosses:
        """The losses along the path, for pictures."""
        known = [Checkpoint(step=i, epoch=i, lr=float(rate)) for i, rate in enumerate(self.rates)]
        place = Projected(axes=("x", "y"), coordinates=self.coordinates, residual=self.off, distance=self.far)
        return PathLosses(checkpoints=known, projected=place, own={"loss": self.own}, surface={"loss": self.surface})


def before(way: Course) -> np.ndarray:
    """The cosines of the steps before the learning rate falls."""
    return way.cosines[: way.drop]


def late(way: Course) -> np.ndarray:
    """Those of the second half of these."""
    return way.cosines[way.drop // 2 : way.drop]


def after(way: Course) -> np.ndarray:
    """Those of the steps after that."""
    return way.cosines[way.drop :]


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, measure, judge."""
    data = load(settings.data, samples=settings.train_samples, device=bench.device)
    ways, shown = [], {}
    for label, kind in KINDS.items():
        for seed in range(settings.seeds):
            case, folder = recorded(bench, net(settings, data.channels, label, seed), data)
            path = la.Trajectory.open(folder)
            way = followed(bench, case, data, path, settings, kind)
            ways.append(way)
            if seed == 0:
                shown[label] = (way.along, *surfaces(bench, case, data, path, settings, way))
    return Findings(
        verdicts=judge(ways),
        figures=trajectory_figures.figures(ways, shown, KINDS),
        tables=trajectory_figures.tables(ways),
        caveats=CAVEATS,
    )


def net(settings: Settings, channels: int, label: str, seed: int) -> Net:
    """One of the networks."""
    w = settings.width
    options = {"groups": [[w, w], [2 * w, 2 * w], [4 * w] * 3], "size": settings.size, "channels": channels}
    return Net(label=label, model="vgg9", options=options, seed=seed, recipe=settings.recipe(*KINDS[label]))


def followed(
    bench: Bench, case: Case, data: Data, path: la.Trajectory, settings: Settings, kind: tuple[str, str]
) -> Course:
    """All numbers about one path."""

    def stage(folder: Path) -> Mapping[str, Any]:
        here = objective(case, data, samples=settings.samples)
        plane = path.plane()
        along = path.losses(here, plane)
        place = along.projected
        return {
            "numbers": variance(path) | chance(path, settings.random_planes),
            "rates": [checkpoint.lr for checkpoint in path.checkpoints],
            "cosines": downhill(here, plane, place.coordinates),
            "coordinates": place.coordinates.tolist(), "off": place.residual.tolist(), "far": place.distance.tolist(),
            "own": along.own["loss"].tolist(), "surface": along.surface["loss"].tolist(),
        }  # fmt: skip

    key = {"case": dict(case.key), "samples": settings.samples, "planes": settings.random_planes, "walks": WALKS}
    found = bench.stage(f"follow {case.net.label} seed {case.net.seed}", key, stage).result
    arrays = {name: np.array(found[name], float) for name in found if name != "numbers"}
    optimizer, size = kind
    return Course(
        optimizer=optimizer, size=size, seed=case.net.seed, scores=case.scores, numbers=found["numbers"], **arrays
    )


def surfaces(
    bench: Bench, case: Case, data: Data, path: la.Trajectory, settings: Settings, way: Course
) -> tuple[list[xr.Dataset], np.ndarray]:
    """The loss over the principal plane and over a random one, of the same extent, and the path's place in that."""

    def stage(folder: Path) -> Mapping[str, Any]:
        here = objective(case, data, samples=settings.samples)
        grid = la.Grid(**way.along.projected.bounds(settings.points))
        other = random_plane(path)
        for name, plane in (("principal", path.plane()), ("random", other)):
            found = la.sample(here, plane, grid, run=folder / name, progress=False)
            schema.save(found.assign_attrs(title=f"{case.net.label}: {name} plane"), folder / f"{name}.nc")
        return {"path": path.project(other).coordinates.tolist()}

    key = {"case": dict(case.key), "samples": settings.samples, "points": settings.points}
    done = bench.stage(f"measure planes of {case.net.label} seed {case.net.seed}", key, stage)
    landscapes = [schema.load(done.folder / f"{name}.nc") for name in ("principal", "random")]
    return landscapes, np.array(done.result["path"], float)


def judge(ways: Sequence[Course]) -> list[Verdict]:
    """What the paths say."""
    unit = "trainings"
    shares, walked = ([way.numbers[name] for way in ways] for name in ("share", "walk"))
    ranges = (
        f" First two components: {percent(min(shares))} to {percent(max(shares))} of the variance; random walks: "
        f"{percent(min(walked))} to {percent(max(walked))}."
    )
    each = "; ".join(
        f"{label} {100 * float(np.mean([way.excess for way in ways if way.kind == label])):+.1f}" for label in KINDS
    )
    beyond = "More than a random walk shows that steps are correlated, not that training takes place in a plane."
    slope = "In the plane alone, at the nearest point of the surface; each training is the mean over its steps."
    return [
        paired(
            "Two directions hold more of a training's path than of a random walk with steps of the same lengths",
            [way.excess for way in ways],
            quantity="explained variance of the first two components, path minus random walk",
            unit=unit,
            caveat=beyond + ranges + f" By kind, in points of per cent: {each}.",
        ),
        larger(
            "Paths of small and of large batches differ in that excess",
            _by_optimizer(ways, "large", lambda way: way.excess),
            _by_optimizer(ways, "small", lambda way: way.excess),
            quantity="explained variance beyond a random walk, large minus small batch",
            unit=unit,
            two_sided=True,
            caveat="At the same number of epochs, so large batches take fewer steps.",
        ),
        larger(
            "Paths of SGD and of Adam differ in that excess",
            {size: [way.excess for way in ways if (way.optimizer, way.size) == ("adam", size)] for size in SIZES},
            {size: [way.excess for way in ways if (way.optimizer, way.size) == ("sgd", size)] for size in SIZES},
            quantity="explained variance beyond a random walk, Adam minus SGD",
            unit=unit,
            two_sided=True,
            caveat="At one learning rate for each.",
        ),
        within(
            "A random plane holds no more of a path than chance: 2 of its P dimensions",
            [way.numbers["ratio"] for way in ways],
            *CHANCE,
            quantity=f"variance in a random plane in units of 2/P, claimed to lie between {CHANCE[0]} and {CHANCE[1]}",
            unit=unit,
            caveat="Gaussian directions in all parameters; each training is the mean over its random planes.",
        ),
        paired(
            "Until the learning rate falls, paths run down the slope of the surface below them",
            [_mean(before(way)) for way in ways],
            quantity="cosine of step and downward slope",
            unit=unit,
            caveat=slope,
        ),
        paired(
            "Until the learning rate falls, paths cross contours rather than follow them",
            [_mean(before(way) ** 2) - 0.5 for way in ways],
            quantity="squared cosine of step and slope, beyond the one half of a random angle",
            unit=unit,
            caveat=slope,
        ),
        larger(
            "Before the learning rate falls, paths of small batches have turned along the contours more than paths "
            "of large ones",
            _by_optimizer(ways, "large", lambda way: _mean(late(way) ** 2)),
            _by_optimizer(ways, "small", lambda way: _mean(late(way) ** 2)),
            quantity="squared cosine of step and slope over the second half of the first learning rate, large minus "
            "small batch",
            unit=unit,
            caveat=slope,
        ),
        paired(
            "The surface below a path shows a smaller loss than the networks on it have",
            [way.hidden for way in ways],
            quantity="log10 of the loss of the network over that of the surface, mean over checkpoints",
            unit=unit,
            caveat="Networks with their own BatchNorm statistics, the surface with those of the last network.",
        ),
    ]


SIZES = ("small", "large")


def _by_optimizer(ways: Sequence[Course], size: str, measure: Callable[[Course], float]) -> dict[str, list[float]]:
    return {
        optimizer: [measure(way) for way in ways if (way.optimizer, way.size) == (optimizer, size)]
        for optimizer in ("sgd", "adam")
    }


def _mean(values: np.ndarray) -> float:
    """The mean of those that are numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # none of them is
        return float(np.nanmean(values))


CAVEATS = (
    "A checkpoint is kept after every epoch, as in the paper. With more or fewer, both the path's explained variance "
    "and the random walk's would change; only their difference says anything.",
    "All parameters count, those of normalising layers too. The surface has the BatchNorm statistics of the last "
    "network.",
    "A step of the path is an epoch of many steps of training, with momentum and weight decay, which the surface does "
    "not show: even training without noise would not go straight down what is drawn.",
    "Random planes here have the extent of the principal one, so that both pictures have one scale.",
)


STUDY = Study(
    name="trajectories",
    title="Paths of training",
    question="Do two directions hold more of a training's path than they would of a random walk, and does the path "
    "run down the slope of the surface drawn below it?",
    claim="Optimization paths lie in a space of very few dimensions: two principal directions hold 40 to 90 % of the "
    "variation, while in random directions a path shows next to nothing; paths cross the contours until, with small "
    "batches and weight decay, they turn along them and fall in again once the learning rate is lowered.",
    source="Li, Xu, Taylor, Studer, Goldstein, Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, section "
    "7; the random walk after Antognini and Sohl-Dickstein, PCA of high dimensional random walks with comparison to "
    "neural network training, NeurIPS 2018",
    small=Settings(),
    paper=Settings(
        data="cifar10:data/cifar10",
        train_samples=50_000,
        size=32,
        width=64,
        small_batch=128,
        large_batch=8192,
        epochs=300,
        lr=0.1,
        adam_lr=0.001,
        augment="crop-flip",
        samples=10_000,
        random_planes=3,
        points=51,
    ),
    run=run,
)
