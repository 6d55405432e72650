"""How the study of language models is shown: maps of loss and score, lines, ways between networks, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from lossatlas.figure.overlays import Regions
from lossatlas.figure.plot import Mark, Panel, Plot, Series
from lossatlas_studies.charts import cloud
from lossatlas_studies.images import Row
from lossatlas_studies.measures import percent
from lossatlas_studies.study import Figure, Numbers
from lossatlas_studies.tuned_landscapes import ONE, TWO, Link, plateau
from lossatlas_studies.tuning import SEEDS

LOSS = "loss (nats per token)"
SCORE = "problems solved (%)"
DIRECTION = "multiple of the direction"
INSIDE, OUTSIDE = 1, 0


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is drawn of single networks.

    Attributes:
        planes: of the first network of each kind.
        lines: the same with one axis.
        losses: at their centres.
        ways: between two networks, all of them.
        problems: behind each score.
        rise: of the loss, at which the valley ends.
    """

    planes: Sequence[xr.Dataset]
    lines: Sequence[xr.Dataset]
    losses: Sequence[float]
    ways: Sequence[Link]
    problems: int
    rise: float


def figures(rows: Sequence[Row], shown: Shown) -> list[Figure]:
    """All pictures of the study."""
    level = f"the loss is less than {shown.rise:g} above the centre's"
    return [
        Figure(
            name="loss",
            shown=shown.planes,
            words="Loss around the first network of each kind, on one scale. Marked: where the score is within the "
            "interval of the best one.",
            view={"kind": "filled", "scale": "log", "overlays": _plateaus(shown)},
        ),
        Figure(
            name="score",
            shown=shown.planes,
            words=f"Share of problems solved, from the same passes over the same points. Marked: where {level}.",
            view={"value": "solved", "kind": "filled", "scale": "linear", "clip": None, "overlays": _valleys(shown)},
        ),
        Figure(
            name="cells",
            shown=_cells(shown),
            words="Every cell of these planes: its loss and its score.",
        ),
        Figure(
            name="lines",
            shown=_lines(shown),
            words="The first networks along one random direction. Bands: 95 % Clopper-Pearson intervals of the score.",
        ),
        Figure(
            name="ways",
            shown=_ways(shown.ways),
            words="Loss and score on the straight line between two networks, all pairs.",
        ),
        Figure(name="widths", shown=_widths(rows), words="The measures of the verdicts, for every network."),
    ]


def _plateaus(shown: Shown) -> list[Regions]:
    fields = [plateau(one["solved"].values, shown.problems) for one in shown.planes]
    return _outlines(fields, "score within the interval of the best")


def _valleys(shown: Shown) -> list[Regions]:
    fields = [one["loss"].values < loss + shown.rise for one, loss in zip(shown.planes, shown.losses, strict=True)]
    return _outlines(fields, f"loss less than {shown.rise:g} above the centre's")


def _outlines(fields: Sequence[np.ndarray], words: str) -> list[Regions]:
    return [
        Regions(cells=np.where(field, INSIDE, OUTSIDE), label=words, panel=place) for place, field in enumerate(fields)
    ]


def _cells(shown: Shown) -> Plot:
    panels = [
        Panel(
            series=[
                Series(
                    x=plane["loss"].values.ravel(), y=100 * plane["solved"].values.ravel(), style="points", color=place
                )
            ],
            x_label=LOSS,
            x_scale="log",
            y_label=SCORE,
            title=f"{kind} start",
        )
        for place, (kind, plane) in enumerate(zip(SEEDS, shown.planes, strict=False))
    ]
    return Plot(panels=panels, caption=["Each point is a cell of a plane."])


def _lines(shown: Shown) -> Plot:
    loss, score = [], []
    for place, (kind, line) in enumerate(zip(SEEDS, shown.lines, strict=False)):
        x, words = line["x"].values, f"{kind} start"
        loss.append(Series(x=x, y=line["loss"].values, label=words, color=place))
        solved, low, high = (100 * line[name].values for name in ("solved", "solved_low", "solved_high"))
        score.append(Series(x=x, y=solved, low=low, high=high, label=words, color=place))
    mark = Mark(y=float(np.mean(shown.losses)) + shown.rise)
    panels = [
        Panel(series=loss, x_label=DIRECTION, y_label=LOSS, y_scale="log", marks=[mark]),
        Panel(series=score, x_label=DIRECTION, y_label=SCORE),
    ]
    caption = "One network and one direction of each kind. Dotted: the loss at which the valley ends."
    return Plot(panels=panels, caption=[caption])


def _ways(ways: Sequence[Link]) -> Plot:
    loss, score = [], []
    seen: set[str] = set()
    for one in ways:
        place = ([*ONE.values(), *TWO.values()].index(one.kind)) % len(ONE)
        label = "" if one.kind in seen else one.kind
        seen.add(one.kind)
        x, dashed = one.landscape["x"].values, one.kind in TWO.values()
        loss.append(Series(x=x, y=one.landscape["loss"].values, label=label, color=place, dashed=dashed))
        score.append(Series(x=x, y=100 * one.landscape["solved"].values, label=label, color=place, dashed=dashed))
    panels = [
        Panel(series=loss, x_label="fraction of the way", y_label=LOSS, y_scale="log"),
        Panel(series=score, x_label="fraction of the way", y_label=SCORE),
    ]
    return Plot(panels=panels, caption=["Each line joins two tuned networks; nothing was permuted."])


def _widths(rows: Sequence[Row]) -> Plot:
    groups = {f"{kind} start": {"kind": kind} for kind in SEEDS if any(one["kind"] == kind for one in rows)}
    per_cent = [_in_per_cent(one) for one in rows]
    both = cloud(
        per_cent,
        ("valley_percent", "valley of the loss (% of area)"),
        ("plateau_percent", "plateau of the score (% of area)"),
        groups,
        caption="",
    )
    other = cloud(
        per_cent,
        ("radius", "filter-normalised radius"),
        ("held_percent", "other problems solved (%)"),
        groups,
        caption="",
    )
    return Plot(panels=[*both.panels, *other.panels], caption=["Each point is a network; two share a start."])


def _in_per_cent(one: Row) -> Row:
    more = {
        "valley_percent": 100 * one.valley,
        "plateau_percent": 100 * one["plateau"],
        "held_percent": 100 * one["held_out"],
    }
    return Row(
        label=one.label, of=one.of, seed=one.seed, scores=one.scores, bend=0.0, valley=one.valley,
        extra={**one.extra, **more},
    )  # fmt: skip


def tables(rows: Sequence[Row], ways: Sequence[Row]) -> list[Numbers]:
    """All numbers of networks and of ways."""
    return [
        Numbers(
            name="networks",
            rows=[_network(one) for one in rows],
            note="Length: of all weights. Moved: distance from the start, as a share of its length. Loss: on the "
            "learned problems, with its standard error over problems like these.",
        ),
        Numbers(
            name="planes",
            rows=[_plane(one) for one in rows],
            note="Valley: area with a loss less than the set rise above the centre's. Plateau: area that the problems "
            "cannot tell from the best, of the score and of the loss. Risen: area where the loss has left its valley "
            "but the score not its plateau; fallen: the reverse. τ: Kendall's, of loss and score over the cells.",
        ),
        Numbers(
            name="ways",
            rows=[_way(one) for one in ways],
            note="Larger loss: of the two ends. Barrier: the most by which the loss, and the share of problems not "
            "solved, lie above the straight line between the two ends. Apart: distance of the two networks, as a "
            "share of the "
            "first one's length.",
        ),
    ]


def _network(one: Row) -> dict[str, str]:
    return {
        "network": one.label,
        "steps": str(one["steps"]),
        "length": f"{one['length']:.1f}",
        "moved": f"{one['moved']:.2f}",
        "loss": f"{one['train_loss']:.4f} ± {one['train_error']:.4f}",
        "solved": percent(one["score"]),
        "others solved": percent(one["held_out"]),
    }


def _plane(one: Row) -> dict[str, str]:
    return {
        "network": one.label,
        "radius": f"{one['radius']:.3f}",
        "valley": percent(one.valley),
        "plateau, score": percent(one["plateau"]),
        "plateau, loss": percent(one["loss_plateau"]),
        "risen": percent(one["risen"]),
        "fallen": percent(one["fallen"]),
        "τ": f"{one['tau']:.2f}",
    }


def _way(one: Row) -> dict[str, str]:
    return {
        "from": str(one["kind"]),
        "networks": one.label,
        "larger loss": f"{one['train_loss']:.4f}",
        "apart": f"{one['apart']:.2f}",
        "barrier, loss": f"{one['barrier']:.3g}",
        "barrier, score": percent(one["score_barrier"]),
    }
