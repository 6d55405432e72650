"""Study: does the picture of a network depend on what BatchNorm's statistics are at each point?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import xarray as xr

from lossatlas_studies import images
from lossatlas_studies.charts import cloud
from lossatlas_studies.comparisons import agreement, paired
from lossatlas_studies.images import CLIP, KINDS, Row, networks_table
from lossatlas_studies.measures import shape
from lossatlas_studies.networks import extremes, surface, trained
from lossatlas_studies.settings import about, work
from lossatlas_studies.skip_connections import Settings as Networks
from lossatlas_studies.skip_connections import nets
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Figure, Findings, Study
from lossatlas_studies.verdicts import Verdict


@dataclass(frozen=True, kw_only=True)
class Settings(images.AbstractImages):
    """What can be set."""

    depths: tuple[int, ...] = about((8, 14), "layers, 6 n + 2")
    width: int = about(4, "channels of the first stage")
    planes: int = work(1, least=1, about="pairs of filter-normalised random directions for each network")

    @property
    def networks(self) -> Networks:
        """The settings of the networks, those of the study of skip connections, so that they are trained once."""
        own = {name: getattr(self, name) for name in images.AbstractImages.__dataclass_fields__}
        return Networks(**own, depths=self.depths, width=self.width)


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, measure with both kinds of statistics, judge."""
    data = settings.load(bench.device)
    rows, shown = [], []
    for net in nets(settings.networks, data.channels):
        case = trained(bench, net, data)
        frozen = [surface(bench, case, data, look) for look in settings.looks]
        again = [surface(bench, case, data, replace(look, batchnorm="recalibrated")) for look in settings.looks]
        own, other = shape(frozen), shape(again)
        found = extremes(bench, case, data, samples=settings.eigen_samples, most=settings.products)
        row = Row(
            label=net.label,
            of=dict(net.options),
            seed=net.seed,
            scores=dict(case.scores),
            bend=own.bend,
            bends=own.bends,
            valley=own.width,
            spread=own.spread,
            low=found["low"],
            high=found["high"],
            converged=found["converged"],
            extra={"bend_again": other.bend, "valley_again": other.width},
        )
        rows.append(row)
        if net.seed == 0 and row["depth"] == max(settings.depths):
            shown += [
                one.assign_attrs(title=f"{net.label}, {how}")
                for one, how in ((frozen[0], "frozen"), (again[0], "recalibrated"))
            ]
    return Findings(
        verdicts=judge(rows, settings.matched),
        figures=_figures(rows, shown),
        tables=[networks_table(rows, settings.matched)],
        caveats=CAVEATS,
    )


def judge(rows: Sequence[Row], matched: float = math.inf) -> list[Verdict]:
    """Whether the two kinds of statistics differ, in either direction, and whether they rank networks alike."""
    rows, said = images.learned(rows, matched)
    caveat = "The same networks, directions and samples; only the statistics differ." + said
    return [
        paired(
            "With statistics measured again at every point, the valley is another than with frozen ones",
            [row["valley_again"] - row.valley for row in rows],
            quantity="area with loss below 1, recalibrated minus frozen",
            unit="networks",
            two_sided=True,
            caveat=caveat,
        ),
        paired(
            "So is the share of area that bends down",
            [row["bend_again"] - row.bend for row in rows],
            quantity="share of area that bends down, recalibrated minus frozen",
            unit="networks",
            two_sided=True,
            caveat=caveat,
        ),
        agreement(
            "Both rank networks alike by the share of area that bends down",
            [row.bend for row in rows],
            [row["bend_again"] for row in rows],
            settings=images.settings_of(rows),
            caveat="Different depths and kinds are pooled. " + caveat,
        ),
    ]


CAVEATS = (
    *images.CAVEATS[1:2],
    "Frozen: the statistics of the trained network at every point, as in the paper. Recalibrated: measured at every "
    "point over the same training samples as the loss. The first shows a function of the weights alone; the second "
    "shows what training with batches would find there, and can never explode, since every layer is brought back to "
    "unit variance.",
)


def _figures(rows: Sequence[Row], shown: Sequence[xr.Dataset]) -> list[Figure]:
    groups = {words: {"skip": skip} for skip, words in KINDS.items()}
    percents = [replace(row, extra={"frozen": 100 * row.valley, "again": 100 * row["valley_again"]}) for row in rows]
    plot = cloud(
        percents,
        ("frozen", "area with loss < 1, frozen (%)"),
        ("again", "area with loss < 1, recalibrated (%)"),
        groups,
        caption="Each point is a network.",
    )
    return [
        Figure(
            name="landscapes",
            shown=shown,
            words="The same slices with frozen and with recalibrated statistics. One scale for all.",
            view={"kind": "contour", "scale": "log", "clip": CLIP},
        ),
        Figure(name="valleys", shown=plot, words="The measure of the verdict, for every network."),
    ]


STUDY = Study(
    name="batch-statistics",
    title="Batch statistics: frozen or measured again",
    question="Does the picture of a network with BatchNorm depend on whether its statistics are frozen or measured "
    "again at every point?",
    claim="Plots along random directions hold the statistics of the trained network; what a plot looks like with "
    "statistics of the point itself is not shown there, and the two are different functions.",
    source="Li, Xu, Taylor, Studer, Goldstein, Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, and its "
    "code, which freezes them",
    small=Settings(),
    paper=Settings(**(dict(images.PAPER) | {"planes": 1, "samples": 10_000}), depths=(20, 56), width=16),
    run=run,
)
