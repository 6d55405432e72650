"""Study: does another pair of random directions give the same picture?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lossatlas.figure.plot import Panel, Plot, Series
from lossatlas.oneline import number_of
from lossatlas_studies import images
from lossatlas_studies.images import KINDS, SLICES, AbstractImages, Row, fair, measured, networks_table
from lossatlas_studies.measures import percent, shape
from lossatlas_studies.networks import Net, trained
from lossatlas_studies.settings import about, work
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Figure, Findings, Numbers, Study
from lossatlas_studies.verdicts import Verdict, share

RIGHT = 0.8
"""Share of pairs of directions that is claimed to be exceeded."""


@dataclass(frozen=True, kw_only=True)
class Settings(AbstractImages):
    """What can be set."""

    depth: int = about(14, "layers, 6 n + 2")
    width: int = about(4, "channels of the first stage")
    seeds: int = work(2, least=2, about="pairs of networks: initial weights and order of samples")
    planes: int = work(10, least=2, about="pairs of filter-normalised random directions for each network")


def nets(settings: Settings, channels: int) -> list[Net]:
    """Pairs of networks, one with and one without skip connections."""
    return [
        Net(
            label=f"{KINDS[skip]}, {settings.depth} layers",
            model="resnet",
            options={"depth": settings.depth, "width": settings.width, "channels": channels, "skip": skip},
            seed=seed,
            recipe=settings.recipe,
        )
        for seed in range(settings.seeds)
        for skip in (True, False)
    ]


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, measure, judge."""
    data = settings.load(bench.device)
    rows, lines, maps = [], [], []
    for net in nets(settings, data.channels):
        row, landscapes = measured(bench, trained(bench, net, data), data, settings)
        valleys = [shape([one]).width for one in landscapes]
        rows.append(
            Row(**{**vars(row), "extra": {"valleys": valleys}}),
        )
        if net.seed == 0:
            lines += [one.isel(y=settings.points // 2, drop=True) for one in landscapes]
            maps += landscapes[:3]
    return Findings(
        verdicts=judge(rows, settings),
        figures=_figures(rows, lines, maps),
        tables=[_spreads(rows), networks_table(rows, settings.matched)],
        caveats=(
            *images.CAVEATS,
            "The verdicts are about directions: given these networks, how often does one pair of directions tell them "
            "apart? They say nothing about how other networks of the same kind would differ.",
        ),
    )


def judge(rows: Sequence[Row], settings: Settings) -> list[Verdict]:
    """How often the i-th pair of directions of a plain network shows more than that of its residual twin."""
    own, said = fair(rows, "seed", settings.matched)
    pairs = [(row, twin) for row in own for twin in own if row.seed == twin.seed and row["skip"] < twin["skip"]]
    bends = [plain > residual for a, b in pairs for plain, residual in zip(a.bends, b.bends, strict=True)]
    valleys = [plain < residual for a, b in pairs for plain, residual in zip(a["valleys"], b["valleys"], strict=True)]
    unit = f"pairs of directions, around {number_of(len(pairs), 'pair')} of networks"
    caveat = (
        "The trials are pairs of directions, independent given the networks: the interval is about directions around "
        "these networks and says nothing about other networks." + said
    )
    return [
        share(
            "One pair of random directions is enough to see which of two networks has skip connections: the other one "
            "bends down over more of its area",
            sum(bends),
            len(bends),
            above=RIGHT,
            quantity=f"share of pairs of directions on which it does, against {RIGHT:.0%}",
            unit=unit,
            caveat=SLICES + " " + caveat,
        ),
        share(
            "The same by the width of the valley: the plain one's is narrower",
            sum(valleys),
            len(valleys),
            above=RIGHT,
            quantity=f"share of pairs of directions on which it is, against {RIGHT:.0%}",
            unit=unit,
            caveat=caveat,
        ),
    ]


def _figures(rows: Sequence[Row], lines: Sequence[xr.Dataset], maps: Sequence[xr.Dataset]) -> list[Figure]:
    return [
        Figure(
            name="lines",
            shown=lines,
            words="The loss along the first direction of every pair: the median over directions, and a band from the "
            "smallest to the largest, around the first two networks.",
            view={"scale": "log", "clip": images.CLIP},
        ),
        Figure(
            name="planes",
            shown=maps,
            words="Three pairs of directions for each of the first two networks. One scale for all.",
            view={"kind": "contour", "scale": "log", "clip": images.CLIP},
        ),
        Figure(
            name="directions",
            shown=_directions(rows),
            words="The measures of the verdicts, for every pair of directions of every network.",
        ),
    ]


def _directions(rows: Sequence[Row]) -> Plot:
    measures: Mapping[str, str] = {"bends": "area that bends down (%)", "valleys": "area with loss < 1 (%)"}
    panels = []
    for what, words in measures.items():
        series = []
        for place, skip in enumerate((True, False)):
            own = [row for row in rows if row["skip"] == skip]
            x = np.concatenate([np.full(len(row[what]), row.seed + 1 + 0.15 * (place - 0.5)) for row in own])
            y = 100 * np.concatenate([np.array(row[what]) for row in own])
            series.append(Series(x=x, y=y, label=KINDS[skip], style="points", color=place))
        ticks = [(row.seed + 1.0, str(row.seed + 1)) for row in rows if row["skip"]]
        panels.append(Panel(series=series, x_label="pair of networks", y_label=words, x_ticks=ticks))
    return Plot(panels=panels, caption=["Each point is one pair of random directions."])


def _spreads(rows: Sequence[Row]) -> Numbers:
    """How far directions differ, beside how far the two networks of a pair do."""
    table = []
    for plain, residual in ((a, b) for a in rows for b in rows if a.seed == b.seed and a["skip"] < b["skip"]):
        one, other = np.array(plain.bends), np.array(residual.bends)
        pooled = float(np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2)) if len(one) > 1 else np.nan
        table.append(
            {
                "pair": f"seed {plain.seed}",
                "bends down, residual": percent(other.mean()),
                "bends down, plain": percent(one.mean()),
                "difference": percent(one.mean() - other.mean()),
                "spread over directions": percent(pooled),
                "difference / spread": f"{(one.mean() - other.mean()) / pooled:.1f}" if pooled else "not known",
            }
        )
    note = "Spread: standard deviation over pairs of directions of one network, pooled over the two."
    return Numbers(name="spreads", rows=table, note=note)


STUDY = Study(
    name="repeatability",
    title="Repeatability of random directions",
    question="Is a difference between two networks seen on one pair of random directions seen on the others as well?",
    claim="Plots along different random filter-normalised directions look alike, so that one of them is enough to "
    "compare networks; ten repetitions are shown.",
    source="Li, Xu, Taylor, Studer, Goldstein, Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, section "
    "5 and appendix",
    small=Settings(),
    paper=Settings(**(dict(images.PAPER) | {"planes": 10, "samples": 10_000}), depth=56, width=16),
    run=run,
)
