"""Study: does an additive path do for depth with shared weights what it does for depth without?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lossatlas.curvature.products import Matrix
from lossatlas_studies import images
from lossatlas_studies.charts import against, cloud
from lossatlas_studies.comparisons import agreement, larger
from lossatlas_studies.images import CLIP, SLICES, Row, grouped, measured, networks_table
from lossatlas_studies.networks import Case, Data, Net, objective, trained
from lossatlas_studies.settings import about, work
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Figure, Findings, Study
from lossatlas_studies.verdicts import Verdict

GROUPS = {
    "additive, untied": {"skip": True, "tied": False},
    "additive, tied": {"skip": True, "tied": True},
    "plain, untied": {"skip": False, "tied": False},
    "plain, tied": {"skip": False, "tied": True},
}


@dataclass(frozen=True, kw_only=True)
class Settings(images.AbstractImages):
    """What can be set."""

    depths: tuple[int, ...] = about((4, 8, 16), "layers, or steps if they are tied")
    width: int = about(24, "units of a layer")
    hidden: int = about(24, "units of the recurrent networks that read an image row by row")
    seeds: int = work(3, least=2, about="networks of each kind: initial weights and order of samples")
    epochs: int = work(60, least=1, about="at most")
    until: float = about(0.02, "training loss at which training stops; 0 never stops early")
    matched: float = about(0.05, "training loss above which a network counts as not trained")
    points: int = work(17, least=3, power=0.5, about="along each axis of a landscape, from -1 to 1")


def nets(settings: Settings, data: Data) -> list[Net]:
    """Networks with tied and untied depth, with and without the additive path; and recurrent ones."""
    pixels = data.train[0][0].numel()
    row = data.train[0].shape[1] * data.train[0].shape[3]
    found = [
        Net(
            label=f"{label}, {depth} layers",
            model="residual_mlp" if chosen["skip"] else "plain_mlp",
            options={"inputs": pixels, "width": settings.width, "depth": depth, "activation": "tanh"},
            recipe=settings.recipe,
        )
        for depth in settings.depths
        for label, chosen in GROUPS.items()
    ]
    tied = [replace(net, model=f"{net.model}_tied") if ", tied" in net.label else net for net in found]
    cells = [
        Net(
            label=f"{cell} over {data.train[0].shape[2]} rows",
            model=cell,
            options={"inputs": row, "hidden": settings.hidden},
            recipe=settings.recipe,
        )
        for cell in ("rnn", "lstm")
    ]
    return [replace(net, seed=seed) for net in [*tied, *cells] for seed in range(settings.seeds)]


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, measure, judge."""
    data = settings.load(bench.device)
    rows = []
    shown: dict[int, list[xr.Dataset]] = {}
    for net in nets(settings, data):
        case = trained(bench, net, data)
        row, landscapes = measured(bench, case, data, settings)
        chosen = next((found for label, found in GROUPS.items() if net.label.startswith(label)), {})
        of = {**row.of, **chosen, "cell": "" if chosen else net.model, "depth": net.options.get("depth", 0)}
        rows.append(replace(row, of=of, extra={"gradients": gradients(bench, case, data, settings)}))
        if net.seed == 0 and of["depth"]:
            shown.setdefault(of["depth"], []).append(landscapes[0])
    return Findings(
        verdicts=judge(rows, settings),
        figures=_figures(rows, shown[shown_depth(rows, settings)]),
        tables=[networks_table(rows, settings.matched)],
        caveats=CAVEATS,
    )


def shown_depth(rows: Sequence[Row], settings: Settings) -> int:
    """The greatest depth at which the first network of every kind was trained; the smallest, if there is none."""
    first = [row for row in rows if row.seed == 0 and not row["cell"]]
    whole = [
        depth
        for depth in settings.depths
        if all(row["train_loss"] <= settings.matched for row in first if row["depth"] == depth)
    ]
    return max(whole, default=min(settings.depths))


def gradients(bench: Bench, case: Case, data: Data, settings: Settings) -> float:
    """log10 of the gradient's norm for the first matrix over that for the last, before training."""

    def stage(folder: Path) -> Mapping[str, Any]:
        fresh = replace(case, model=case.net.fresh().to(bench.device).eval())
        found = Matrix(objective(fresh, data, samples=settings.eigen_samples)).gradient()
        matrices = [tensor for tensor in found.values() if tensor.dim() == 2]
        first, last = (float(tensor.norm()) for tensor in (matrices[0], matrices[-1]))
        return {"ratio": float(np.log10(first / last)) if first > 0 and last > 0 else float("nan")}

    key = {"case": dict(case.key), "samples": settings.eigen_samples}
    name = f"gradients of {case.net.label} seed {case.net.seed}"
    return float(bench.stage(name, key, stage).result["ratio"])


def judge(rows: Sequence[Row], settings: Settings) -> list[Verdict]:
    """What the rows say. A depth and tying at which a network could not be trained is left out."""
    deep = [replace(row, of={**row.of, "block": _block(row)}) for row in rows if not row["cell"]]
    own, said = images.fair(deep, "block", settings.matched)
    gated, missed = images.learned([row for row in rows if row["cell"]], settings.matched)
    cells = {cell: [row for row in gated if row["cell"] == cell] for cell in ("rnn", "lstm")}
    plain = [row for row in own if not row["skip"]]
    shared = sorted({row["depth"] for row in plain if row["tied"]} & {row["depth"] for row in plain if not row["tied"]})
    tying = [row for row in plain if row["depth"] in shared]
    return [
        larger(
            "Without the additive path, landscapes are more non-convex, with tied and with untied weights",
            grouped(own, "block", "bend", skip=False),
            grouped(own, "block", "bend", skip=True),
            quantity="share of area that bends down, plain minus additive",
            unit="networks",
            caveat=SLICES + said,
        ),
        larger(
            "Among plain networks, tied ones are the more non-convex",
            grouped(tying, "depth", "bend", tied=True),
            grouped(tying, "depth", "bend", tied=False),
            quantity="share of area that bends down, tied minus untied",
            unit="networks",
            caveat=SLICES + said,
        ),
        agreement(
            "The more gradients shrink or grow through the layers before training, the more non-convex the landscape "
            "after",
            [abs(row["gradients"]) for row in own],
            [row.bend for row in own],
            settings=images.settings_of(own),
            quantity="Kendall τ of |log10 of the ratio of gradient norms| and area that bends down",
            caveat="Depths and kinds are pooled: whatever differs between them can produce an agreement." + said,
        ),
        larger(
            "A recurrent network without gates is more non-convex than one with an additive cell (LSTM)",
            [row.bend for row in cells["rnn"]],
            [row.bend for row in cells["lstm"]],
            quantity="share of area that bends down, RNN minus LSTM",
            unit="networks",
            caveat=SLICES
            + " At the training losses of the table; an LSTM of as many units has four times the weights."
            + missed,
        ),
    ]


def _block(row: Row) -> str:
    return f"{row['depth']} {'tied' if row['tied'] else 'untied'}"


CAVEATS = (
    *images.CAVEATS[1:],
    "Directions are normalised by row, the filter of a linear layer; a tied matrix is one tensor and moves once, so "
    "one direction of a tied network changes all of its layers alike.",
    "The networks are layers x + tanh(W x + b), or tanh(W x + b), between two linear ones.",
)


def _figures(rows: Sequence[Row], shown: Sequence[xr.Dataset]) -> list[Figure]:
    deep = [row for row in rows if not row["cell"]]
    shares = against(
        deep,
        "depth",
        {"bend": "area that bends down (%)", "test_error": "test error (%)"},
        GROUPS,
        x_label="layers, or steps",
    )
    percents = [replace(row, extra={**row.extra, "bends_percent": 100 * row.bend}) for row in deep]
    norms = cloud(
        percents,
        ("gradients", "log10 of gradient norm, first over last matrix"),
        ("bends_percent", "area that bends down (%)"),
        GROUPS,
        caption="Each point is a network. Gradients before training, landscapes after.",
    )
    return [
        Figure(
            name="landscapes",
            shown=shown,
            words="Loss around the first network of each kind, at the deepest depth at which all kinds could be "
            "trained. One scale for all.",
            view={"kind": "contour", "scale": "log", "clip": CLIP},
        ),
        Figure(name="shares", shown=shares, words="The measure of the first verdicts, for every network."),
        Figure(name="gradients", shown=norms, words="Gradient norms before training beside the landscape after it."),
    ]


STUDY = Study(
    name="recurrent",
    title="Recurrent networks and skip connections",
    question="Does an additive path keep landscapes from becoming chaotic with depth when all layers share one "
    "matrix, as it does when they do not?",
    claim="A residual network with shared weights is a recurrent network, so what skip connections do for depth an "
    "additive state does for time.",
    source="Liao and Poggio, Bridging the Gaps Between Residual Learning, Recurrent Neural Networks and Visual "
    "Cortex, 2016 (arXiv 1604.03640); landscapes as in Li et al. 2018",
    small=Settings(),
    paper=Settings(**(dict(images.PAPER) | {"samples": 10_000, "lr": 0.02}), depths=(8, 16, 32), width=256, hidden=256),
    run=run,
)
