"""Study: do skip connections keep the landscape of deep networks from becoming chaotic?"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from lossatlas.draw.plot import Panel, Plot, Series
from lossatlas.results.interchange import read_surface
from lossatlas.studies.comparisons import agreement, compare
from lossatlas.studies.measures import percent, shape
from lossatlas.studies.networks import Case, Data, Look, Net, extremes, load, ratios, surface, trained
from lossatlas.studies.settings import about, work
from lossatlas.studies.stages import Bench
from lossatlas.studies.study import Figure, Findings, Numbers, Study
from lossatlas.studies.verdicts import Verdict
from lossatlas.zoo.train import Augment, Recipe

PAPER = {20: (7.37, 8.18), 56: (5.89, 13.31), 110: (5.79, 16.44)}
"""Test errors of the paper in per cent, by depth: with skip connections and without."""

KINDS = {True: "residual", False: "plain"}
CLIP = 12.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set."""

    data: str = about("digits", "digits, cifar10:FOLDER or npz:TRAIN.npz,TEST.npz")
    train_samples: int = work(1437, least=100, about="training samples, the first so many")
    depths: tuple[int, ...] = about((8, 14, 26), "layers, 6 n + 2")
    width: int = about(4, "channels of the first stage")
    seeds: int = work(3, least=2, about="networks of each kind: initial weights and order of samples")
    epochs: int = work(80, least=1, about="at most")
    lr: float = about(0.05, "first learning rate, a tenth after 50, 75 and 92 % of the epochs")
    batch_size: int = about(128, "samples in a batch")
    until: float = about(0.005, "training loss at which training stops; 0 never stops early")
    matched: float = about(0.02, "training loss above which a network counts as not trained")
    augment: Augment = about("none", "none, crop or crop-flip")
    planes: int = work(2, least=2, about="pairs of filter-normalised random directions for each network")
    points: int = work(21, least=5, power=0.5, about="along each axis of a landscape, from -1 to 1")
    samples: int = work(300, least=32, about="training samples behind each value")
    map_points: int = work(7, least=3, power=0.5, about="along each axis of the map of eigenvalues")
    map_samples: int = work(100, least=32, about="training samples behind each eigenvalue of the map")
    authors: str = about("../shared/data", "folder with the surface of the authors' own ResNet-56; left out if absent")

    @property
    def recipe(self) -> Recipe:
        """How all networks are trained."""
        return Recipe(
            epochs=self.epochs, lr=self.lr, until=self.until, batch_size=self.batch_size, augment=self.augment
        )


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of one network."""

    depth: int
    skip: bool
    seed: int
    train_loss: float
    test_error: float
    epochs: int
    bend: float
    bends: tuple[float, ...]
    width: float
    spread: float
    low: float
    high: float
    converged: bool


def nets(settings: Settings, channels: int) -> list[Net]:
    """The networks: every depth, with and without skip connections, every seed."""
    return [
        Net(
            label=f"{KINDS[skip]}, {depth} layers",
            model="resnet",
            options={"depth": depth, "width": settings.width, "channels": channels, "skip": skip},
            seed=seed,
            recipe=settings.recipe,
        )
        for depth in settings.depths
        for skip in (True, False)
        for seed in range(settings.seeds)
    ]


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, measure, judge."""
    data = load(settings.data, samples=settings.train_samples, device=bench.device)
    rows, shown, deepest = [], [], []
    for net in nets(settings, data.channels):
        case = trained(bench, net, data)
        looks = [Look(points=settings.points, samples=settings.samples, seed=seed) for seed in range(settings.planes)]
        landscapes = [surface(bench, case, data, look) for look in looks]
        rows.append(_row(bench, case, data, settings, landscapes))
        if net.seed == 0:
            shown.append(landscapes[0])
            if net.options["depth"] == max(settings.depths):
                look = Look(points=settings.map_points, samples=settings.map_samples)
                deepest.append(ratios(bench, case, data, look))
    figures = [*_figures(rows, shown, deepest), *_authors(settings)]
    return Findings(verdicts=judge(rows, settings), figures=figures, tables=_tables(rows), caveats=CAVEATS)


def _row(bench: Bench, case: Case, data: Data, settings: Settings, landscapes: Sequence[xr.Dataset]) -> Row:
    form = shape(landscapes)
    found = extremes(bench, case, data, samples=settings.samples)
    return Row(
        depth=case.net.options["depth"],
        skip=case.net.options["skip"],
        seed=case.net.seed,
        train_loss=case.scores["train_loss"],
        test_error=case.scores["test_error"],
        epochs=int(case.scores["epochs"]),
        bend=form.bend,
        bends=form.bends,
        width=form.width,
        spread=form.spread,
        low=found["low"],
        high=found["high"],
        converged=found["converged"],
    )


def judge(rows: Sequence[Row], settings: Settings) -> list[Verdict]:
    """What the rows say. Depths at which a network could not be trained are left out of the comparison of minima."""
    matched = [row for row in rows if row.train_loss <= settings.matched]
    lost = sorted({row.depth for row in rows} - {depth for depth in settings.depths if _whole(matched, rows, depth)})
    fair = [row for row in matched if row.depth not in lost]
    said = "" if not lost else f" Left out, since networks there did not reach a loss of {settings.matched}: {lost}."
    caveat = "A slice that bends down proves the loss non-convex; one that does not proves nothing." + said
    plain = [row for row in fair if not row.skip]
    return [
        compare(
            "At the same training loss, plain networks have the more non-convex landscapes",
            _by_depth(fair, False, "bend"),
            _by_depth(fair, True, "bend"),
            quantity="share of area that bends down, plain minus residual",
            unit="networks",
            caveat=caveat,
        ),
        agreement(
            "Without skip connections, landscapes become more non-convex with depth",
            [row.depth for row in plain],
            [row.bend for row in plain],
            quantity="Kendall τ of depth and share of area that bends down, plain networks",
            caveat=caveat,
        ),
        compare(
            "Plain networks have the larger test error",
            _by_depth(fair, False, "test_error"),
            _by_depth(fair, True, "test_error"),
            quantity="test error, plain minus residual",
            unit="networks",
            caveat="As a fraction of the test set." + said,
        ),
    ]


def _whole(matched: Sequence[Row], rows: Sequence[Row], depth: int) -> bool:
    return sum(row.depth == depth for row in matched) == sum(row.depth == depth for row in rows)


def _by_depth(rows: Sequence[Row], skip: bool, what: str) -> dict[int, list[float]]:
    depths = sorted({row.depth for row in rows})
    return {d: [getattr(row, what) for row in rows if row.depth == d and row.skip == skip] for d in depths}


CAVEATS = (
    "Directions are filter-normalised; biases and normalisation layers do not move; BatchNorm statistics are frozen, "
    "all as in the paper. Each network is one unit of the tests; its pairs of directions are averaged first, since "
    "they are not independent of each other.",
    "Training stops at the same loss for all networks that reach it, so minima of one height are compared; in the "
    "paper all networks were trained for the same number of epochs.",
    "Eigenvalues are those of the Hessian over the parameters that gradients reach; at kinks of ReLU they miss what "
    "the slice sees.",
)


def _figures(rows: Sequence[Row], shown: Sequence[xr.Dataset], deepest: Sequence[xr.Dataset]) -> list[Figure]:
    return [
        Figure(
            name="landscapes",
            shown=shown,
            words="Loss around the first network of each kind, on the first pair of directions. One scale for all.",
            view={"kind": "contour", "scale": "log", "clip": CLIP},
        ),
        Figure(name="shares", shown=share_plot(rows), words="The measure of the verdict, for every network."),
        Figure(
            name="ratio-map",
            shown=deepest,
            words="How much the loss bends down in any direction, not only in the slice, compared with how much it "
            "bends up: |λmin/λmax| of the Hessian, at the deepest networks.",
            view={"value": "ratio", "kind": "heat", "scale": "linear"},
        ),
    ]


def share_plot(rows: Sequence[Row]) -> Plot:
    """Share of area that bends down, and test error, against depth."""
    panels = []
    for what, words in (("bend", "area that bends down (%)"), ("test_error", "test error (%)")):
        series = []
        for place, skip in enumerate((True, False)):
            own = [row for row in rows if row.skip == skip]
            depths = sorted({row.depth for row in own})
            means = [100 * statistics.fmean(getattr(r, what) for r in own if r.depth == d) for d in depths]
            values = np.array([100 * getattr(row, what) for row in own])
            x = np.array([row.depth for row in own]) + (0.25 if skip else -0.25)
            series.append(Series(x=np.array(depths), y=np.array(means), label=KINDS[skip], color=place))
            series.append(Series(x=x, y=values, style="points", color=place))
        panels.append(Panel(series=series, x_label="layers", y_label=words))
    caption = ["Points: networks, each the mean over its pairs of directions. Lines: means over networks."]
    return Plot(panels=panels, caption=caption)


def _tables(rows: Sequence[Row]) -> list[Numbers]:
    return [
        Numbers(
            name="networks",
            rows=[_table_row(row) for row in rows],
            note="Bends down: mean over pairs of directions (each). Valley: area with loss below 1. Spread: median "
            "over cells of the standard deviation of the loss over directions, relative to its mean. λ at the "
            "centre. A star marks eigenvalues that had not converged.",
        ),
        Numbers(
            name="paper",
            rows=[
                {"layers": str(d), "residual": f"{skip:.2f} %", "plain": f"{plain:.2f} %"}
                for d, (skip, plain) in PAPER.items()
            ],
            note="For reading beside the above, not for comparison: test errors of the paper, ResNets on CIFAR-10.",
        ),
    ]


def _table_row(row: Row) -> dict[str, str]:
    star = "" if row.converged else " *"
    return {
        "network": f"{KINDS[row.skip]}, {row.depth} layers, seed {row.seed}",
        "epochs": str(row.epochs),
        "training loss": f"{row.train_loss:.4f}",
        "test error": percent(row.test_error),
        "bends down": f"{percent(row.bend)} ({', '.join(percent(share) for share in row.bends)})",
        "valley": percent(row.width),
        "spread": f"{row.spread:.2f}",
        "λmin": f"{row.low:.3g}{star}",
        "λmax": f"{row.high:.3g}{star}",
    }


def _authors(settings: Settings) -> list[Figure]:
    """The surface that the authors' code computed for their ResNet-56, where it is at hand."""
    path = Path(settings.authors) / "resnet56_surf.h5"
    if not settings.authors or not path.is_file():
        return []
    return [
        Figure(
            name="authors",
            shown=read_surface(path),
            words="For comparison: the authors' own ResNet-56 with skip connections on 500 images of CIFAR-10, as "
            f"their code computed it. Its area bends down by {percent(shape([read_surface(path)]).bend)} at a spacing "
            "of its own.",
            view={"scale": "log", "clip": CLIP, "kind": "contour"},
        )
    ]


STUDY = Study(
    name="skip-connections",
    title="Skip connections and depth",
    question="Do networks without skip connections have more non-convex landscapes than networks with them, the more "
    "so the deeper they are, at the same training loss?",
    claim="With depth, landscapes of plain networks turn from nearly convex to chaotic, those of residual networks "
    "do not; test errors of 7.37, 5.89 and 5.79 % with 20, 56 and 110 layers with skip connections, 8.18, 13.31 and "
    "16.44 % without.",
    source="Li, Xu, Taylor, Studer, Goldstein, Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, section "
    "6 and table 1",
    small=Settings(),
    paper=Settings(
        data="cifar10:data/cifar10",
        train_samples=50_000,
        depths=(20, 56, 110),
        width=16,
        epochs=300,
        lr=0.1,
        until=0.0,
        matched=0.1,
        augment="crop-flip",
        planes=3,
        points=51,
        samples=50_000,
        map_points=25,
        map_samples=5_000,
    ),
    run=run,
)
