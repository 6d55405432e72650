"""Study: do dense connections do what skip connections do?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import xarray as xr

from lossatlas_studies import images
from lossatlas_studies.charts import cloud
from lossatlas_studies.comparisons import larger
from lossatlas_studies.images import CLIP, SLICES, Row, fair, measured, networks_table
from lossatlas_studies.networks import Net, trained
from lossatlas_studies.settings import about
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Figure, Findings, Study
from lossatlas_studies.verdicts import Verdict

KINDS = ("dense", "plain")


@dataclass(frozen=True, kw_only=True)
class Settings(images.AbstractImages):
    """What can be set."""

    blocks: tuple[int, ...] = about((4, 4, 3), "dense layers of each stage, of two convolutions each")
    growth: int = about(4, "channels that each dense layer adds")
    depth: int = about(26, "layers of the plain network, 6 n + 2")
    width: int = about(4, "channels of its first stage")


def nets(settings: Settings, channels: int) -> list[Net]:
    """The networks: dense and plain, every seed."""
    dense = {"blocks": list(settings.blocks), "growth": settings.growth, "channels": channels}
    plain = {"depth": settings.depth, "width": settings.width, "channels": channels, "skip": False}
    layers = 2 * sum(settings.blocks) + len(settings.blocks) + 1
    return [
        Net(label=label, model=model, options=options, seed=seed, recipe=settings.recipe)
        for label, model, options in (
            (f"dense, {layers} layers", "densenet121", dense),
            (f"plain, {settings.depth} layers", "resnet", plain),
        )
        for seed in range(settings.seeds)
    ]


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, measure, judge."""
    data = settings.load(bench.device)
    rows, shown = [], []
    for net in nets(settings, data.channels):
        row, landscapes = measured(bench, trained(bench, net, data), data, settings)
        rows.append(replace(row, extra={"kind": KINDS[net.model == "resnet"]}))
        if net.seed == 0:
            shown += landscapes[:1]
    return Findings(
        verdicts=judge(rows, settings),
        figures=_figures(rows, shown),
        tables=[networks_table(rows, settings.matched)],
        caveats=(
            *images.CAVEATS,
            "The two kinds have about as many layers but not as many parameters, and differ in more than their "
            f"connections: dense ones have bottlenecks and means between stages. Parameters: {_parameters(rows)}.",
        ),
    )


def _parameters(rows: Sequence[Row]) -> str:
    found = {row.label: row["parameters"] for row in rows}
    return "; ".join(f"{label}: {int(count):,}".replace(",", " ") for label, count in found.items())


def judge(rows: Sequence[Row], settings: Settings) -> list[Verdict]:
    """What the rows say; nothing, if networks of a kind could not be trained."""
    own, said = fair(rows, "kind", settings.matched)
    by = {kind: [row for row in own if row["kind"] == kind] for kind in KINDS}
    return [
        larger(
            "At the same training loss, the plain network's landscape is the more non-convex",
            [row.bend for row in by["plain"]],
            [row.bend for row in by["dense"]],
            quantity="share of area that bends down, plain minus dense",
            unit="networks",
            caveat=SLICES + said,
        ),
        larger(
            "The dense network has the wider valley",
            [row.valley for row in by["dense"]],
            [row.valley for row in by["plain"]],
            quantity="area with loss below 1, dense minus plain",
            unit="networks",
            caveat="In filter-normalised units." + said,
        ),
        larger(
            "The plain network has the larger test error",
            [row["test_error"] for row in by["plain"]],
            [row["test_error"] for row in by["dense"]],
            quantity="test error, plain minus dense",
            unit="networks",
            caveat="As a fraction of the test set; the kinds differ in parameters as well." + said,
        ),
    ]


def _figures(rows: Sequence[Row], shown: Sequence[xr.Dataset]) -> list[Figure]:
    percents = [
        replace(row, extra={**row.extra, "bends_percent": 100 * row.bend, "error": 100 * row["test_error"]})
        for row in rows
    ]
    plot = cloud(
        percents,
        ("bends_percent", "area that bends down (%)"),
        ("error", "test error (%)"),
        {kind: {"kind": kind} for kind in KINDS},
        caption="Each point is a network.",
    )
    return [
        Figure(
            name="landscapes",
            shown=shown,
            words="Loss around the first network of each kind. One scale for both.",
            view={"kind": "contour", "scale": "log", "clip": CLIP},
        ),
        Figure(
            name="surfaces",
            shown=shown,
            words="The same as surfaces.",
            view={"kind": "surface", "scale": "linear", "clip": CLIP},
        ),
        Figure(name="networks", shown=plot, words="The measure of the verdict and the test error of every network."),
    ]


STUDY = Study(
    name="dense-connections",
    title="Dense connections",
    question="Is the landscape of a densely connected network less non-convex than that of a plain one of about the "
    "same depth?",
    claim="DenseNet-121 has a landscape without noticeable non-convexity, where plain networks of such depth are "
    "chaotic.",
    source="Li, Xu, Taylor, Studer, Goldstein, Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, figures "
    "1 and 4",
    small=Settings(),
    paper=Settings(**images.PAPER, blocks=(6, 12, 24, 16), growth=32, depth=110, width=16),
    run=run,
)
