"""Study: do skip connections keep the landscape of deep networks from becoming chaotic?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from lossatlas.results.interchange import read_surface
from lossatlas_studies import images
from lossatlas_studies.charts import against
from lossatlas_studies.comparisons import agreement, larger
from lossatlas_studies.images import CLIP, KINDS, SLICES, AbstractImages, Row, fair, grouped, measured, networks_table
from lossatlas_studies.measures import percent, shape
from lossatlas_studies.networks import Look, Net, ratios, trained
from lossatlas_studies.settings import about, work
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Figure, Findings, Numbers, Study
from lossatlas_studies.verdicts import Verdict

PAPER = {20: (7.37, 8.18), 56: (5.89, 13.31), 110: (5.79, 16.44)}
"""Test errors of the paper in per cent, by depth: with skip connections and without."""


@dataclass(frozen=True, kw_only=True)
class Settings(AbstractImages):
    """What can be set."""

    depths: tuple[int, ...] = about((8, 14, 26), "layers, 6 n + 2")
    width: int = about(4, "channels of the first stage")
    map_points: int = work(7, least=2, power=0.5, about="along each axis of the map of eigenvalues")
    map_samples: int = work(100, least=4, power=2, about="training samples behind each eigenvalue of the map")
    map_products: int = work(80, least=4, about="matrix-vector products at most at each point of the map")
    authors: str = about("../shared/data", "folder with the surface of the authors' own ResNet-56; left out if absent")


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
    data = settings.load(bench.device)
    rows, shown, deepest = [], [], []
    for net in nets(settings, data.channels):
        case = trained(bench, net, data)
        row, landscapes = measured(bench, case, data, settings)
        rows.append(row)
        if net.seed == 0:
            shown += landscapes[:1]
        if landscapes and net.seed == 0 and row["depth"] == max(settings.depths):
            look = Look(points=settings.map_points, samples=settings.map_samples)
            deepest.append(ratios(bench, case, data, look, most=settings.map_products))
    figures = [*_figures(rows, shown, deepest), *_authors(settings)]
    return Findings(
        verdicts=judge(rows, settings),
        figures=figures,
        tables=[networks_table(rows, settings.matched), _paper()],
        caveats=images.CAVEATS,
    )


def judge(rows: Sequence[Row], settings: Settings) -> list[Verdict]:
    """What the rows say. Depths at which a network could not be trained are left out of the comparison of minima."""
    own, said = fair(rows, "depth", settings.matched)
    plain = [row for row in own if not row["skip"]]
    return [
        larger(
            "At the same training loss, plain networks have the more non-convex landscapes",
            grouped(own, "depth", "bend", skip=False),
            grouped(own, "depth", "bend", skip=True),
            quantity="share of area that bends down, plain minus residual",
            unit="networks",
            caveat=SLICES + said,
        ),
        agreement(
            "Without skip connections, landscapes become more non-convex with depth",
            [row["depth"] for row in plain],
            [row.bend for row in plain],
            settings=[row["depth"] for row in plain],
            quantity="Kendall τ of depth and share of area that bends down, plain networks",
            caveat=SLICES + said,
        ),
        larger(
            "Plain networks have the larger test error",
            grouped(own, "depth", "test_error", skip=False),
            grouped(own, "depth", "test_error", skip=True),
            quantity="test error, plain minus residual",
            unit="networks",
            caveat="As a fraction of the test set." + said,
        ),
    ]


def _figures(rows: Sequence[Row], shown: Sequence[xr.Dataset], deepest: Sequence[xr.Dataset]) -> list[Figure]:
    shares = against(
        rows,
        "depth",
        {"bend": "area that bends down (%)", "test_error": "test error (%)"},
        {words: {"skip": skip} for skip, words in KINDS.items()},
        x_label="layers",
    )
    return [
        Figure(
            name="landscapes",
            shown=shown,
            words="Loss around the first network of each kind, on the first pair of directions. One scale for all.",
            view={"kind": "contour", "scale": "log", "clip": CLIP},
        ),
        Figure(name="shares", shown=shares, words="The measure of the verdict, for every network."),
        Figure(
            name="ratio-map",
            shown=deepest,
            words="How much the loss bends down in any direction, not only in the slice, compared with how much it "
            "bends up: |λmin/λmax| of the Hessian, around the deepest networks.",
            view={"value": "ratio", "kind": "heat", "scale": "linear"},
        ),
    ]


def _paper() -> Numbers:
    rows = [{"layers": str(d), "residual": f"{a:.2f} %", "plain": f"{b:.2f} %"} for d, (a, b) in PAPER.items()]
    note = "For reference, not for comparison: test errors of the paper, ResNets on CIFAR-10."
    return Numbers(name="paper", rows=rows, note=note)


def _authors(settings: Settings) -> list[Figure]:
    """The surface that the authors' code computed for their ResNet-56, if it is at hand."""
    path = Path(settings.authors) / "resnet56_surf.h5"
    if not settings.authors or not path.is_file():
        return []
    found = read_surface(path)
    return [
        Figure(
            name="authors",
            shown=found,
            words="Beside it: the authors' own ResNet-56 with skip connections on 500 images of CIFAR-10, as their "
            f"code computed it. {percent(shape([found]).bend)} of it bends down, but its spacing is different, so this "
            "share is not comparable.",
            view={"scale": "log", "clip": CLIP, "kind": "contour"},
        )
    ]


STUDY = Study(
    name="skip-connections",
    title="Skip connections and depth",
    question="Do networks without skip connections have more non-convex landscapes than networks with them, at the "
    "same training loss, and the more so the deeper they are?",
    claim="With depth, landscapes of plain networks turn from nearly convex to chaotic, those of residual networks "
    "do not; test errors of 7.37, 5.89 and 5.79 % with 20, 56 and 110 layers with skip connections, 8.18, 13.31 and "
    "16.44 % without.",
    source="Li, Xu, Taylor, Studer, Goldstein, Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, section "
    "6 and table 1",
    small=Settings(),
    paper=Settings(**images.PAPER, depths=(20, 56, 110), width=16, map_points=25, map_samples=5_000),
    run=run,
)
