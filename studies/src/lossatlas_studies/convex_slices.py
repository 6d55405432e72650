"""Study: how often does a random slice show the negative curvature that the Hessian has?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import lossatlas as la
from lossatlas.curvature.products import Matrix
from lossatlas.figure.plot import Mark, Panel, Plot, Series
from lossatlas.oneline import verb_of
from lossatlas_studies import images
from lossatlas_studies.charts import cloud
from lossatlas_studies.comparisons import agreement, paired
from lossatlas_studies.images import KINDS, Row, measured, networks_table
from lossatlas_studies.networks import Case, Data, Look, objective, ratios, surface, trained
from lossatlas_studies.settings import about, work
from lossatlas_studies.skip_connections import Settings as Networks
from lossatlas_studies.skip_connections import nets
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Figure, Findings, Study
from lossatlas_studies.verdicts import Verdict

NEGATIVE = 1e-3
"""An eigenvalue counts as negative below minus this share of the largest: the tolerance to which it is computed."""


@dataclass(frozen=True, kw_only=True)
class Settings(images.AbstractImages):
    """What can be set."""

    depths: tuple[int, ...] = about((8, 14, 26), "layers, 6 n + 2")
    width: int = about(4, "channels of the first stage")
    slices: int = work(30, least=2, about="random planes through each minimum whose own Hessian is computed")
    line_points: int = work(21, least=3, about="points of the line along which eigenvalues are compared with the slice")
    line_products: int = work(80, least=4, about="matrix-vector products at most at each of them")

    @property
    def networks(self) -> Networks:
        """The settings of the networks, those of the study of skip connections, so that they are trained once."""
        own = {name: getattr(self, name) for name in images.AbstractImages.__dataclass_fields__}
        return Networks(**own, depths=self.depths, width=self.width)


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, measure, judge."""
    data = settings.load(bench.device)
    rows, lines = [], {}
    for net in nets(settings.networks, data.channels):
        case = trained(bench, net, data)
        row, landscapes = measured(bench, case, data, settings)
        if not landscapes:
            rows.append(row)
            continue
        rows.append(replace(row, extra=slices(bench, case, data, settings)))
        if net.seed == 0 and row["depth"] == max(settings.depths):
            lines[net.label] = line(bench, case, data, settings)
    return Findings(
        verdicts=judge(rows, settings.matched),
        figures=_figures(rows, lines),
        tables=[networks_table(rows, settings.matched)],
        caveats=CAVEATS,
    )


def slices(bench: Bench, case: Case, data: Data, settings: Settings) -> Mapping[str, Any]:
    """Hessians of random planes through the minimum: the share that has a negative eigenvalue, and their ratios."""

    def stage(folder: Path) -> Mapping[str, Any]:
        here = objective(case, data, samples=settings.eigen_samples)
        matrix = Matrix(here, here.origin)
        found = [_slice(here, matrix, seed) for seed in range(settings.slices)]
        return {"slices": found}

    key = {"case": dict(case.key), "samples": settings.eigen_samples, "slices": settings.slices}
    found = np.array(bench.stage(f"slices of {case.net.label} seed {case.net.seed}", key, stage).result["slices"])
    shows = found[:, 0] < 0
    ratio = np.where(shows, np.abs(found[:, 0] / np.abs(found[:, 1])), 0.0)
    return {"shows": float(shows.mean()), "slice_ratio": float(ratio.mean()), "slices": len(found)}


def _slice(here: la.Objective, matrix: Matrix, seed: int) -> list[float]:
    """Eigenvalues of the Hessian of one plane, per squared multiple of its directions."""
    plane = la.Plane.random(here, seed=1000 + seed)
    vectors = [matrix.joined(direction) for direction in plane.directions.values()]
    products = [matrix @ vector for vector in vectors]
    small = np.array([[float(v @ p) for p in products] for v in vectors])
    return [float(value) for value in np.linalg.eigvalsh((small + small.T) / 2)]


def line(bench: Bench, case: Case, data: Data, settings: Settings) -> Mapping[str, np.ndarray]:
    """Curvature of a slice along a line beside the extreme eigenvalues at the same points, per squared norm."""
    look = Look(points=settings.line_points, samples=settings.eigen_samples, axes=("x",))
    fine = surface(bench, case, data, look)
    found = ratios(bench, case, data, look, most=settings.line_products)
    x, loss = fine["x"].values, fine["loss"].values
    length = float(fine["x_length"].values[-1] / x[-1])
    bend = (loss[2:] - 2 * loss[1:-1] + loss[:-2]) / ((x[1] - x[0]) * length) ** 2
    low, high = (found[name].values[1:-1] for name in ("lambda_min", "lambda_max"))
    return {"x": x[1:-1], "slice": bend, "low": low, "high": high}


def judge(rows: Sequence[Row], matched: float = math.inf) -> list[Verdict]:
    """Of networks whose Hessian has a negative eigenvalue: how many slices hide it."""
    rows, missed = images.learned(rows, matched)
    known = [row for row in rows if row.converged and row.high > 0 and row.low < -NEGATIVE * row.high]
    lost = len(rows) - len(known)
    said = (
        f" {lost} of {len(rows)} networks {verb_of(lost, 'has')} no negative eigenvalue beyond the tolerance and "
        f"{verb_of(lost, 'is')} left out."
        if lost
        else ""
    )
    caveat = "At the minimum itself; further away slices show more. The networks share their data." + missed + said
    return [
        paired(
            "Where the Hessian at a minimum has negative eigenvalues, most random slices through it show none",
            [0.5 - row["shows"] for row in known],
            quantity="share of slices that show none, beyond one half",
            unit="networks",
            caveat=caveat,
        ),
        paired(
            "Slices understate the ratio |λmin/λmax|",
            [abs(row.low) / row.high - row["slice_ratio"] for row in known],
            quantity="|λmin/λmax| of the Hessian, minus the mean of the slices",
            unit="networks",
            caveat=caveat,
        ),
        agreement(
            "Networks whose landscape bends down over more of its area have the larger |λmin/λmax| at the centre",
            [row.bend for row in known],
            [abs(row.low) / row.high for row in known],
            settings=images.settings_of(known),
            caveat="Different depths and kinds are pooled: whatever differs between them can produce or hide an "
            "agreement." + said,
        ),
    ]


CAVEATS = (
    *images.CAVEATS,
    "The Hessian is that of automatic differentiation, which does not see the kinks of ReLU; the slices of the first "
    "two verdicts are computed from the same Hessian, so that they and the eigenvalues describe the same thing.",
)


def _figures(rows: Sequence[Row], lines: Mapping[str, Mapping[str, np.ndarray]]) -> list[Figure]:
    groups = {words: {"skip": skip} for skip, words in KINDS.items()}
    shown = [
        replace(row, extra={**row.extra, "ratio": abs(min(row.low, 0.0)) / row.high}) for row in rows if row.high > 0
    ]
    return [
        Figure(
            name="slices",
            shown=cloud(
                [replace(row, extra={**row.extra, "shows": 100 * row["shows"]}) for row in shown],
                ("ratio", "|λmin/λmax| of the Hessian at the minimum"),
                ("shows", "slices that show it (%)"),
                groups,
                marks=[Mark(y=50.0, label="half of them")],
                caption="Each point is a network, and "
                f"{shown[0]['slices'] if shown else 0} random planes through its minimum.",
            ),
            words="The negative curvature of the Hessian at a minimum, and how many random slices through it show any.",
        ),
        Figure(
            name="line",
            shown=_line_plot(lines),
            words="Along one random direction: curvature of the slice beside the extreme eigenvalues of the Hessian at "
            "the same points. The slice is measured by differences from point to point, which see the kinks of ReLU "
            "in between; automatic differentiation does not, so the slice need not lie between the eigenvalues.",
        ),
    ]


def _line_plot(lines: Mapping[str, Mapping[str, np.ndarray]]) -> Plot:
    names = (("high", "λmax"), ("slice", "slice"), ("low", "λmin"))
    panels = [
        Panel(
            series=[Series(x=found["x"], y=found[key], label=words) for key, words in names],
            title=label,
            x_label="x (multiples of the direction)",
            y_label="curvature (per squared norm)",
            y_scale="symlog",
            marks=[Mark(y=0.0)],
        )
        for label, found in lines.items()
    ]
    return Plot(
        panels=panels, caption=["One network of each kind, one direction; eigenvalues by Lanczos' method to 2 %."]
    )


STUDY = Study(
    name="convex-slices",
    title="Convex-looking slices",
    question="How often does a random slice through a minimum show the negative curvature that the Hessian there has?",
    claim="Principal curvatures of a random slice are weighted averages of the Hessian's: a slice that looks convex "
    "can hide negative eigenvalues, but where it looks convex these are small compared with the positive ones.",
    source="Li, Xu, Taylor, Studer, Goldstein, Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, section "
    "6.4",
    small=Settings(),
    paper=Settings(**images.PAPER, depths=(20, 56, 110), width=16, slices=100),
    run=run,
)
