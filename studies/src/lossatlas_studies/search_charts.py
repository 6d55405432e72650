"""What is shown of a search for architectures: predictors against test error, their agreement, their cost, regrets."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossatlas.figure.plot import Mark, Panel, Plot, Scale, Series
from lossatlas.flatness.kendall import kendall
from lossatlas_studies.charts import cloud
from lossatlas_studies.comparisons import agreement
from lossatlas_studies.halving import WAYS, Searches, interval, summary
from lossatlas_studies.images import Row
from lossatlas_studies.measures import percent
from lossatlas_studies.proxies import PREDICTORS, WHEN, Predictor
from lossatlas_studies.study import Figure, Numbers

GROUPS: Mapping[str, Mapping[str, Any]] = {
    "residual, normalised": {"skip": True, "normed": True},
    "residual, no norm": {"skip": True, "normed": False},
    "plain, normalised": {"skip": False, "normed": True},
    "plain, no norm": {"skip": False, "normed": False},
}
SHOWN: Mapping[str, Scale] = {
    "radius": "linear", "rise": "log", "bend": "linear",
    "lambda_max": "log", "early_train_loss": "log", "early_val_error": "linear",
}  # fmt: skip
"""Predictors that are shown against the test error, and the scale of each."""

NAMES = ("plain", "landscape", "val loss", "first cut")
"""The ways to search, in short and in their order."""


def figures(rows: Sequence[Row], measure: str, found: Searches) -> list[Figure]:
    """All figures.

    Args:
        rows: the networks.
        measure: the landscape's measure that the first verdict and the searches use.
        found: the searches.
    """
    taus = {one.name: agreement_of(rows, one) for one in PREDICTORS}
    ceiling = kendall(*np.array([row["halves"] for row in rows]).T)
    return [
        Figure(
            name="measures",
            shown=_clouds(rows),
            words="What was known early about each network, against its test error at the end.",
        ),
        Figure(
            name="agreement",
            shown=_agreement(taus, ceiling, len(rows)),
            words=f"How each predictor ranks the networks. The first verdict is on “{_by(measure).short}” alone; "
            "picking the best of the others after seeing this figure would mean picking a lucky one.",
        ),
        Figure(
            name="cost",
            shown=_cost(rows, taus),
            words="The same against what each predictor costs. Useful predictors are at the upper left.",
        ),
        Figure(
            name="searches",
            shown=_searches(found),
            words="Successive halving with the landscape and without, at equal cost.",
        ),
    ]


def agreement_of(rows: Sequence[Row], predictor: Predictor) -> tuple[float, float, float]:
    """Kendall τ of a predictor, with the sign of its source, and the test error; and the ends of its 95 % interval."""
    x = predictor.sign * np.array([float(row[predictor.name]) for row in rows])
    y = np.array([float(row["test_error"]) for row in rows])
    found = agreement("", x.tolist(), y.tolist())
    return found.estimate, found.low, found.high


def _by(name: str) -> Predictor:
    return next(one for one in PREDICTORS if one.name == name)


def _share(rows: Sequence[Row], predictor: Predictor) -> float:
    """Median over networks of what a predictor costs, as a share of the full training."""
    shares = [float(sum(row[cost] for cost in predictor.costs) / row["full_seconds"]) for row in rows]
    return statistics.median(shares)


def _clouds(rows: Sequence[Row]) -> Plot:
    shown = [
        Row(
            label=row.label, of={**row.of, "normed": row["norm"] != "none"}, seed=row.seed, bend=row.bend,
            scores=row.scores, extra={**row.extra, "error": 100 * row["test_error"]},
        )
        for row in rows
    ]  # fmt: skip
    error = ("error", "test error (%)")
    panels = [
        cloud(shown, (name, _by(name).words), error, GROUPS, x_scale=scale, caption="").panels[0]
        for name, scale in SHOWN.items()
    ]
    return Plot(panels=panels, caption=["Each point is a network. Measures after the early epochs, errors at the end."])


def _agreement(taus: Mapping[str, tuple[float, float, float]], ceiling: float, n: int) -> Plot:
    series = []
    for place, (when, words) in enumerate(WHEN.items()):
        own = [(number, one) for number, one in enumerate(PREDICTORS) if one.when == when]
        value, low, high = np.array([taus[one.name] for _, one in own]).T
        at = np.array([float(number) for number, _ in own])
        series.append(Series(x=at, y=value, low=low, high=high, style="points", label=words, color=place))
    panel = Panel(
        series=series,
        x_label="",
        y_label="Kendall τ with the test error",
        x_ticks=[(float(number), one.short) for number, one in enumerate(PREDICTORS)],
        marks=[Mark(y=0.0), Mark(y=ceiling, label="halves")],
    )
    caption = [
        f"{n} networks. Lines: 95 % bootstrap intervals over networks, for each predictor by itself. Each is turned as "
        "its source has it; below 0 it ranks the wrong way round.",
        "Halves: two halves of the test part with each other.",
    ]
    return Plot(panels=[panel], caption=caption)


def _cost(rows: Sequence[Row], taus: Mapping[str, tuple[float, float, float]]) -> Plot:
    series = []
    for place, (when, words) in enumerate(WHEN.items()):
        own = [one for one in PREDICTORS if one.when == when]
        x = np.array([100 * _share(rows, one) for one in own])
        y = np.array([taus[one.name][0] for one in own])
        names = tuple(one.short for one in own)
        series.append(Series(x=x, y=y, style="points", label=words, color=place, names=names))
    panel = Panel(
        series=series, x_label="cost, % of a full training", x_scale="log", y_label="Kendall τ with the test error",
        marks=[Mark(y=0.0)],
    )  # fmt: skip
    caption = ["Costs: medians over networks, of what is taken early with the epochs before it."]
    return Plot(panels=[panel], caption=caption)


def _searches(found: Searches) -> Plot:
    lines, means = [], []
    for place, (way, words) in enumerate(WAYS.items()):
        regret = 100 * found.regret(way)
        corners = _steps(regret)
        lines.append(Series(x=corners[0], y=corners[1], label=words, color=place))
        low, high = interval(regret, found.used)
        at, mean, low_end, high_end = (np.array([value]) for value in (float(place), regret.mean(), low, high))
        means.append(Series(x=at, y=mean, low=low_end, high=high_end, style="points", color=place))
    panels = [
        Panel(series=lines, x_label="regret (points of test error)", y_label="searches with at most that (%)"),
        Panel(
            series=means,
            x_label="",
            y_label="mean regret (points of test error)",
            x_ticks=[(float(place), word) for place, word in enumerate(NAMES)],
        ),
    ]
    caption = [
        "Regret: test error of the chosen network minus the smallest of all. Lines on the right: 95 % intervals by the "
        "jackknife over networks; they do not say how far two ways of searching differ, since both see the same "
        "networks."
    ]
    return Plot(panels=panels, caption=caption)


def _steps(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the line that shows what share of the values, in per cent, is at or below each."""
    at, counts = np.unique(values, return_counts=True)
    share = 100 * np.cumsum(counts) / len(values)
    return np.repeat(at, 2), np.concatenate([[0.0], np.repeat(share, 2)[:-1]])


def tables(rows: Sequence[Row], measure: str, found: Searches) -> list[Numbers]:
    """All tables."""
    full = statistics.median(row["full_seconds"] for row in rows)
    return [
        Numbers(
            name="predictors",
            rows=[_predictor_row(rows, one, measure) for one in PREDICTORS],
            note="Kendall τ with the final test error, 95 % bootstrap interval over networks. Cost for one network, "
            f"median; a full training costs {full:.2f} s. What is taken early costs the epochs before it, too; “on "
            "top” is without them. A star marks the measure of the first verdict, fixed before the run.",
        ),
        Numbers(
            name="searches",
            rows=summary(found),
            note="Means over searches, at the cost of the plain one, scans included. Regret in points of test error, "
            "with its 95 % interval by the jackknife over networks.",
        ),
        Numbers(
            name="networks",
            rows=[_network_row(row) for row in rows],
            note="Loss, radius, rise, bends down and λmax after the early epochs; the rest at the end of training.",
        ),
    ]


def _predictor_row(rows: Sequence[Row], one: Predictor, measure: str) -> dict[str, str]:
    value, low, high = agreement_of(rows, one)
    seconds = [statistics.median(row[cost] for row in rows) for cost in one.costs]
    own = sum(seconds[1:] if one.costs[0] == "early_seconds" else seconds)
    direction = "less" if one.sign < 0 else "more"
    return {
        "predictor": one.words + " *" * (one.name == measure),
        "said to be bad": direction,
        "Kendall τ": f"{value:.3f} ({low:.3f} to {high:.3f})",
        "cost": f"{sum(seconds):.3g} s",
        "of a full training": percent(_share(rows, one)),
        "on top": f"{own:.3g} s",
    }


def _network_row(row: Row) -> dict[str, str]:
    return {
        "network": f"no. {row.seed}: {row.label}",
        "parameters": f"{row['parameters']}",
        "training loss then": f"{row['early_train_loss']:.3g}",
        "radius": f"{row['radius']:.3g}",
        "rise": f"{row['rise']:.3g}",
        "bends down": percent(row.bend),
        "λmax": f"{row['lambda_max']:.3g}",
        "training loss": f"{row['train_loss']:.3g}",
        "validation error": percent(row["val_errors"][-1]),
        "test error": percent(row["test_error"]),
        "full training": f"{row['full_seconds']:.2f} s",
    }
