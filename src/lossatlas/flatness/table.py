"""How do several models compare by several measures, and do these rank them as a given column does?"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_kind
from lossatlas.figure.plot import Panel, Plot, Series, Style, onto
from lossatlas.figure.words import column_title, number
from lossatlas.flatness import average, curved, functional, rise, worst
from lossatlas.flatness.definitions import Name
from lossatlas.flatness.degeneracy.measure import llc
from lossatlas.flatness.door import definition_of, from_elsewhere, known
from lossatlas.flatness.ranking import FEWEST, Correlation, correlation
from lossatlas.flatness.result import Sharpness
from lossatlas.objective.function import Measurable
from lossatlas.objective.given import check_measurable
from lossatlas.space.parameters import Parameters

__all__ = [
    "CAVEAT",
    "FEW_MODELS",
    "MEASURES",
    "PATIENCE_SECONDS",
    "ROOM",
    "SLOW",
    "Table",
    "measure",
    "measure_of",
    "table",
]

FEW_MODELS = 8
"""Models below which a measure is drawn as bars rather than points."""

MEASURES: Mapping[Name, Callable[..., Sharpness]] = {
    "epsilon_sharpness": worst.epsilon_sharpness,
    "sam": worst.sam,
    "adaptive_worst": worst.adaptive_worst,
    "adaptive_average": average.adaptive_average,
    "radius": average.radius,
    "lpf": average.lpf,
    "relative_flatness": curved.relative_flatness,
    "fisher_rao": functional.fisher_rao,
    "trace": curved.trace,
    "lambda_max": curved.lambda_max,
    "critical": rise.critical,
    "llc": llc,
    "input_margin": functional.input_margin,
    "spectral_margin": functional.spectral_margin,
}
"""Every measure by name: what a table can hold."""

SLOW = ("llc",)
"""Those that take thousands of steps: only if named."""

PATIENCE_SECONDS = 2.0

ROOM = 30
"""Characters that fit below a panel, side by side."""

CAVEAT = (
    "Compare networks of similar loss on the same data, with the same settings. A measure that rescaling changes can "
    "be given any value without changing the function (Dinh et al. 2017)."
)


def measure(name: Name, objective: Measurable, params: Parameters | None = None, **options: Any) -> Sharpness:
    """One measure by its name.

    Args:
        name: a key of :data:`MEASURES`, or a measure that another distribution brings.
        objective: whose loss.
        params: the point; by default the origin.
        **options: of the measure.

    Returns:
        The measure.

    Raises:
        SpecError: an unknown name; the message lists all valid ones.
    """
    return measure_of(name)(objective, params, **options)


def measure_of(name: Name) -> Callable[..., Sharpness]:
    """The callable that takes a measure, wherever it comes from.

    Args:
        name: of the measure.

    Returns:
        A callable ``(objective, params=None, **options)``.

    Raises:
        SpecError: an unknown name; the message lists all valid ones.
    """
    return MEASURES[name] if name in MEASURES else from_elsewhere(name)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Measures of several models.

    Attributes:
        models: their names, in order.
        results: by measure, one for each model; ``None`` where it could not be taken, see ``failures``.
        against: the given column, by model; empty where there is none.
        against_name: what it is.
        correlations: by measure, how it ranks the models compared with the given column.
        failures: by measure, why a model has no value.
    """

    models: tuple[str, ...]
    results: Mapping[Name, tuple[Sharpness | None, ...]]
    against: Mapping[str, float]
    against_name: str
    correlations: Mapping[Name, Correlation]
    failures: Mapping[Name, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Every measure in a line, for the first models."""
        lines = [f"Table({len(self.results)} measures of {', '.join(self.models[:4])}{' …' * (len(self.models) > 4)})"]
        for name, found in list(self.results.items())[:20]:
            values = ("–" if one is None else _with_spread(one) for one in found[:4])
            lines.append(f"  {definition_of(name).title}: {'; '.join(values)}")
        lines += [f"  not measured: {why}" for why in dict.fromkeys(self.failures.values())]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """What a notebook shows: the rows as a table."""
        rows = self.rows()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0]) if rows else ""
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row.values())}</tr>" for row in rows)
        said = "".join(f"<p>{html.escape(words)}</p>" for words in self.words)
        return f"<table><tr>{head}</tr>{body}</table>{said}"

    def column(self, name: Name) -> np.ndarray:
        """The values of one measure, float64 [models]; NaN where it could not be taken."""
        return np.array([math.nan if one is None else one.value for one in self.results[name]])

    def rows(self) -> list[dict[str, str]]:
        """One row for each measure, as text: values with their spread, invariances, correlation."""
        return [self._row(name) for name in self.results]

    def _row(self, name: Name) -> dict[str, str]:
        row = {column_title("measure", self.models): definition_of(name).title}
        for model, one in zip(self.models, self.results[name], strict=True):
            row[model] = "–" if one is None else _with_spread(one)
        row[column_title("invariant to rescaling", self.models)] = (
            ", ".join(definition_of(name).invariant_to) or "nothing"
        )
        row[column_title("flatter is", self.models)] = definition_of(name).flatter
        if name in self.correlations:
            found = self.correlations[name]
            row[column_title(f"Kendall τ with {self.against_name}", self.models)] = _with_interval(found)
        return row

    @property
    def words(self) -> tuple[str, ...]:
        """What may be said, in sentences."""
        said = [found.words for found in self.correlations.values()]
        if len(said) > 1:
            said.append(
                f"{len(said)} measures were tried: at 95 %, one in twenty seems to rank by chance even if none does."
            )
        failed = [
            f"{definition_of(name).title} could not be measured everywhere: {why}"
            for name, why in self.failures.items()
        ]
        notes = {one.note for column in self.results.values() for one in column if one is not None and one.note}
        return (*said, *failed, *sorted(notes), CAVEAT)

    def plot(self, ax: Any = None) -> Plot:
        """Every measure against the given column; without one, every measure by model.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        panels = [self._against(name) if self.against else self._by_model(name) for name in self.results]
        heading = f"Flatness and {self.against_name}" if self.against else "Flatness"
        said = self.words[:-1] if len(self.words) <= 6 else self._short()
        number = f"{len(self.models)} models" if len(self.models) > 1 else self.models[0]
        caption = (self._key(), *said, self._bar_words(), CAVEAT)  # a short caption has the first and the last
        return onto(ax, Plot(title=f"{heading} of {number}", panels=panels, caption=caption))

    def _bar_words(self) -> str:
        """What the error bars are."""
        kinds: dict[str, list[str]] = {}
        for name, column in self.results.items():
            for kind in {one.spread_is for one in column if one is not None and one.spread_is}:
                kinds.setdefault(kind, []).append(definition_of(name).title)
        words = ", ".join(f"{kind} ({', '.join(of)})" for kind, of in kinds.items())  # no part may be left out
        return f"Error bars: {words}." if words else ""

    @property
    def _numbered(self) -> bool:
        """Whether the names of the models are too long to go below a panel."""
        return len(self.models) > 1 and sum(len(model) + 2 for model in self.models) > ROOM

    def _key(self) -> str:
        names = (f"{place} {model}" for place, model in enumerate(self.models, start=1))
        return f"Models: {', '.join(names)}." if self._numbered else ""

    def _short(self) -> tuple[str, ...]:
        n = max((found.n for found in self.correlations.values()), default=0)
        claims = [found for found in self.correlations.values() if " over these models" in found.words]
        rank = f"{len(claims)} intervals exclude 0; one in twenty does so by chance"
        said = f"Fewer than {FEWEST} are too few for any claim" if n < FEWEST else rank
        return (
            f"n = {n} models, {len(self.correlations)} measures; τ is Kendall's with its 95 % bootstrap interval. "
            f"{said}.",
        )

    def _against(self, name: Name) -> Panel:
        values = self.column(name)
        low, high = self._bars(name)
        points = Series(
            x=np.array([self.against[model] for model in self.models]),
            y=values,
            low=low,
            high=high,
            style="points",
            color=0,
            names=self._ticks(),
        )
        return Panel(
            title=definition_of(name).title,
            series=[points],
            x_label=self.against_name,
            y_label=_with_interval(self.correlations[name], short=True),
            y_scale=_scale(values, low),
        )

    def _by_model(self, name: Name) -> Panel:
        low, high = self._bars(name)
        places = np.arange(len(self.models))
        linear = _scale(self.column(name), low) == "linear"  # a bar on a logarithmic scale has no base
        style: Style = "bars" if len(self.models) < FEW_MODELS and linear else "points"
        points = Series(x=places, y=self.column(name), low=low, high=high, style=style, color=0)
        return Panel(
            title=definition_of(name).title,
            series=[points],
            x_label="",
            y_label=f"flatter is {definition_of(name).flatter}",
            y_scale=_scale(self.column(name), low),
            x_ticks=list(zip(places.astype(float).tolist(), self._ticks(), strict=True)),
        )

    def _ticks(self) -> list[str]:
        return [str(place + 1) for place in range(len(self.models))] if self._numbered else list(self.models)

    def _bars(self, name: Name) -> tuple[np.ndarray, np.ndarray]:
        spreads = np.nan_to_num([0.0 if one is None else one.spread for one in self.results[name]])
        values = self.column(name)
        return values - spreads, values + spreads


def table(
    models: Mapping[str, Measurable],
    measures: Iterable[Name] = (),
    *,
    against: Mapping[str, float] | None = None,
    against_name: str = "test error",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Table:
    """Several measures of several models, and how each ranks them compared with a given column.

    Args:
        models: objectives by name: the same data, a different model each. A :class:`~lossatlas.Function` has only
            values, and one measure that needs no more: ``critical``.
        measures: names of :data:`MEASURES`, or of other distributions; by default all of ours except :data:`SLOW`.
        against: by model, a number with which the measures may correlate, such as the test error.
        against_name: what that number is.
        options: by measure, its options.
        seed: of the bootstrap.
        progress: show a progress bar; by default where it takes more than two seconds.

    Returns:
        The table. If a measure does not apply to a model (margins of a regression, say), the table says why.

    Raises:
        SpecError: there are no models, a measure is unknown, or the column lacks a model.

    Example:
        >>> import torch, lossatlas as la
        >>> nets = {f"net {s}": la.zoo.model("mlp", widths=(64, 8, 10), seed=s) for s in range(3)}
        >>> x, y = la.zoo.data("digits")
        >>> data = x[:50].flatten(1), y[:50]
        >>> models = {name: la.Objective(net, data, torch.nn.functional.cross_entropy) for name, net in nets.items()}
        >>> found = table(models, ["fisher_rao", "trace"], against={"net 0": 0.1, "net 1": 0.2, "net 2": 0.3})
        >>> found.correlations["trace"].words.split(" (")[0]
        'trace of the Hessian and test error: n = 3 models are too few for any claim'
    """
    check_kind("models", models, Mapping, 'objectives by name, such as {"mine": la.Objective(…)}')
    for model, objective in models.items():
        check_measurable(objective, f"models[{model!r}]")
    names = tuple(measures) or tuple(name for name in MEASURES if name not in SLOW)
    if not models:
        raise SpecError("models is empty; give objectives by name")
    for name in names:
        if name not in known():
            raise SpecError(unknown("measure", name, known()))
    if strangers := [name for name in options or {} if name not in names]:
        raise SpecError(f"options has {strangers[0]!r}, which is not measured; it is one of {', '.join(names)}")
    if against is not None and (lacking := [model for model in models if model not in against]):
        raise SpecError(f"against lacks the model {lacking[0]!r}; it has {', '.join(against) or 'none'}")
    work = [(name, model) for model in models for name in names]
    bar = tqdm(work, unit="measure", disable=progress is False, delay=PATIENCE_SECONDS, dynamic_ncols=True)
    results: dict[Name, list[Sharpness | None]] = {name: [] for name in names}
    failures: dict[Name, str] = {}
    for name, model in bar:
        try:
            results[name].append(measure(name, models[model], **(options or {}).get(name, {})))
        except SpecError as fault:
            results[name].append(None)
            failures[name] = f"{model}: {fault}"
    columns = {name: [math.nan if one is None else one.value for one in found] for name, found in results.items()}
    given = [against[model] for model in models] if against is not None else []
    return Table(
        models=tuple(models),
        results={name: tuple(found) for name, found in results.items()},
        against=dict(against or {}),
        against_name=against_name,
        correlations={
            name: correlation(column, given, names=(definition_of(name).title, against_name), seed=seed)
            for name, column in columns.items()
            if against is not None
        },
        failures=failures,
    )


def _with_spread(one: Sharpness) -> str:
    spread = f" ± {number(one.spread, 2)}" if math.isfinite(one.spread) else ""
    return f"{number(one.value)}{spread}"


def _with_interval(found: Correlation, *, short: bool = False) -> str:
    if not math.isfinite(found.kendall):
        return "nothing to rank"
    few = " (too few)" if "too few" in found.words else ""
    interval = f" [{found.low:.2f}, {found.high:.2f}]" if math.isfinite(found.low) else ""
    return f"{'τ = ' if short else ''}{found.kendall:.2f}{interval}{few}"


def _scale(values: np.ndarray, low: np.ndarray) -> Any:
    """Logarithmic where values are far apart and every bar stays above 0."""
    known = values[np.isfinite(values)]
    return "log" if len(known) and np.nanmin(low) > 0 and known.max() / known.min() > 30 else "linear"
