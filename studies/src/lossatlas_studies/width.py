"""Study: do wider networks have smoother landscapes and wider valleys?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import xarray as xr

from lossatlas_studies import images
from lossatlas_studies.charts import against
from lossatlas_studies.comparisons import agreement
from lossatlas_studies.images import CLIP, KINDS, SLICES, AbstractImages, Row, fair, measured, networks_table
from lossatlas_studies.networks import Net, trained
from lossatlas_studies.settings import about, work
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Figure, Findings, Numbers, Study
from lossatlas_studies.verdicts import Verdict

PAPER = {1: (5.89, 13.31), 2: (5.07, 10.26), 4: (4.34, 9.69), 8: (3.93, 8.70)}
"""Test errors of the paper in per cent, by factor of width: with skip connections and without."""


@dataclass(frozen=True, kw_only=True)
class Settings(AbstractImages):
    """What can be set."""

    depth: int = work(14, least=8, about="layers, 6 n + 2; a dry run has 8, since the widest network is costly")
    width: int = about(2, "channels of the first stage at factor 1")
    seeds: int = work(2, least=2, about="networks of each kind: initial weights and order of samples")
    factors: tuple[int, ...] = about((1, 2, 4, 8), "by which the width is multiplied")


def nets(settings: Settings, channels: int) -> list[Net]:
    """The networks: every width, with and without skip connections, every seed."""
    return [
        Net(
            label=f"{KINDS[skip]}, {factor} × {settings.width} channels",
            model="resnet",
            options={"depth": settings.depth, "width": factor * settings.width, "channels": channels, "skip": skip},
            seed=seed,
            recipe=settings.recipe,
        )
        for factor in settings.factors
        for skip in (True, False)
        for seed in range(settings.seeds)
    ]


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, measure, judge."""
    data = settings.load(bench.device)
    rows, shown = [], []
    for net in nets(settings, data.channels):
        row, landscapes = measured(bench, trained(bench, net, data), data, settings)
        rows.append(row)
        if net.seed == 0 and row["width"] in (settings.width, settings.width * max(settings.factors)):
            shown += landscapes[:1]
    return Findings(
        verdicts=judge(rows, settings),
        figures=_figures(rows, shown),
        tables=[networks_table(rows, settings.matched), _paper()],
        caveats=images.CAVEATS,
    )


def judge(rows: Sequence[Row], settings: Settings) -> list[Verdict]:
    """What the rows say. Widths at which a network could not be trained are left out."""
    own, said = fair(rows, "width", settings.matched)
    verdicts = []
    for skip in (False, True):
        kind = [row for row in own if row["skip"] == skip]
        width = [row["width"] for row in kind]
        words = KINDS[skip].capitalize()
        verdicts += [
            agreement(
                f"{words} networks: the wider, the less non-convex",
                width,
                [-row.bend for row in kind],
                settings=width,
                quantity=f"Kendall τ of width and area that does not bend down, {KINDS[skip]} networks",
                caveat=SLICES + said,
            ),
            agreement(
                f"{words} networks: the wider, the wider the valley",
                width,
                [row.valley for row in kind],
                settings=width,
                quantity=f"Kendall τ of width and area with loss below 1, {KINDS[skip]} networks",
                caveat="The valley is measured in filter-normalised units, whose length in parameters grows with width."
                + said,
            ),
            agreement(
                f"{words} networks: the wider, the smaller the test error",
                width,
                [-row["test_error"] for row in kind],
                settings=width,
                quantity=f"Kendall τ of width and test accuracy, {KINDS[skip]} networks",
                caveat="Wider networks have more parameters; this is not at equal cost." + said,
            ),
        ]
    return verdicts


def _figures(rows: Sequence[Row], shown: Sequence[xr.Dataset]) -> list[Figure]:
    measures = {
        "bend": "area that bends down (%)",
        "valley": "area with loss < 1 (%)",
        "test_error": "test error (%)",
    }
    groups = {words: {"skip": skip} for skip, words in KINDS.items()}
    plot = against(rows, "width", measures, groups, x_label="channels of the first stage", x_scale="log")
    return [
        Figure(
            name="landscapes",
            shown=shown,
            words="Loss around the first of the narrowest and of the widest networks. One scale for all.",
            view={"kind": "contour", "scale": "log", "clip": CLIP},
        ),
        Figure(name="measures", shown=plot, words="The measures of the verdicts, for every network."),
    ]


def _paper() -> Numbers:
    rows = [{"factor": str(k), "residual": f"{a:.2f} %", "plain": f"{b:.2f} %"} for k, (a, b) in PAPER.items()]
    note = "For reference, not for comparison: test errors of the paper, ResNet-56 on CIFAR-10."
    return Numbers(name="paper", rows=rows, note=note)


STUDY = Study(
    name="width",
    title="Width",
    question="Do wider networks have smoother landscapes and wider valleys, with and without skip connections?",
    claim="Wider networks have flatter minima and less chaotic landscapes, most so without skip connections; test "
    "errors of ResNet-56 with 1, 2, 4 and 8 times the width of 5.89, 5.07, 4.34 and 3.93 % with skip connections, "
    "13.31, 10.26, 9.69 and 8.70 % without.",
    source="Li, Xu, Taylor, Studer, Goldstein, Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, section "
    "6.3 and table 1",
    small=Settings(),
    paper=Settings(**images.PAPER, depth=56, width=16),
    run=run,
)
