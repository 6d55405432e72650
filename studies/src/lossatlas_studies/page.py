"""How are findings read? On a self-contained page, in a folder of figures and CSV, and in an index of all studies."""

from __future__ import annotations

import csv
import html
import io
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lossatlas import atomic
from lossatlas.draw import draw
from lossatlas.draw.report import report
from lossatlas.figure.overlays import Path as Upon
from lossatlas.figure.overlays import Points, Regions
from lossatlas.figure.parts import Heading, Number, Picture, Table
from lossatlas.figure.plot import Plot, plot_of
from lossatlas.oneline import number_of
from lossatlas.results.landscape import value_names
from lossatlas_studies.study import Figure, Findings, Study

FIGURES = "figures"
TABLES = "tables"
PAGE = "index.html"
RESULTS = "results.md"


def write_page(place: Path, study: Study, findings: Findings, found: Mapping[str, Any]) -> Path:
    """Write the page, the figures and the tables of a study.

    Args:
        place: its folder.
        study: which study.
        findings: what it found.
        found: what is recorded about the run, see :func:`lossatlas_studies.performance.recorded`.

    Returns:
        The page.
    """
    for figure in findings.figures:
        draw(figure.shown, place / FIGURES / f"{figure.name}.png", **view_of(figure))
        write_text(place / FIGURES / f"{figure.name}.csv", figure_csv(figure.shown))
        if upon := [one for one in figure.view.get("overlays", ()) if not isinstance(one, Regions)]:
            write_text(place / FIGURES / f"{figure.name}-upon.csv", _csv(["panel", "what", "x", "y"], _places(upon)))
    for table in findings.tables:
        write_text(
            place / TABLES / f"{table.name}.csv", _csv(list(table.rows[0]), (row.values() for row in table.rows))
        )
    return report(place / PAGE, study.title, _parts(study, findings, found))


def _parts(study: Study, findings: Findings, found: Mapping[str, Any]) -> Iterator[Any]:
    if found["dry"]:
        yield "DRY RUN: every stage was checked on at most a hundredth of its work. The numbers below mean nothing."
    yield f"Question. {study.question}"
    yield f"Claim. {study.claim}"
    yield f"Source: {study.source}."
    yield Heading("Verdict")
    for place, verdict in enumerate(findings.verdicts):
        caveat = f"{verdict.words} Method: {verdict.how}. {verdict.caveat}"
        yield Number(("" if place == 0 else "Also: ") + verdict.claim, verdict.word, caveat=caveat)
    yield _many(len(findings.verdicts))
    yield Heading("Figures and numbers")
    for figure in findings.figures:
        yield Picture(figure.shown, words=figure.words, view=view_of(figure))
    for table in findings.tables:
        yield Table(table.rows, note=table.note)
    yield Heading("Caveats")
    yield from findings.caveats
    yield from _run(study, found)


def _many(count: int) -> str:
    return (
        "The first verdict is the study's own; its question and test were fixed before the run, and any measure that "
        "was not is named among the caveats."
        + (f" With {count} verdicts at 5 % each, a false one among them is more likely than 5 %." if count > 1 else "")
        + " A verdict is about the networks, data and settings below, and no others."
    )


def _run(study: Study, found: Mapping[str, Any]) -> Iterator[Any]:
    yield Heading("What was run")
    for name, (value, meaning) in found["settings"].items():
        yield Number(name, value, caveat=meaning)
    yield f"Scale {found['scale']}. {found['machine']['device']}. {found['machine']['software']}."
    stages = [{"stage": name, "seconds": f"{seconds:.1f}"} for name, seconds in found["stages"].items()]
    yield Table(
        stages,
        note=f"Stages took {found['stage_seconds']:.0f} s when they were run; some may have been found from an earlier "
        "run, or from another study that trains the same network.",
    )
    yield Heading("How to run it again")
    yield f"{found['command']}    (this run: {found['date']})"
    yield "An interrupted run continues where it stopped. Figures as PNG and all numbers as CSV are beside this page."


def figure_csv(shown: Any) -> str:
    r"""The numbers behind a figure: a table of cells for Landscapes, of points for a plot.

    Example:
        >>> from lossatlas.figure.plot import Panel, Plot, Series
        >>> figure_csv(Plot(panels=[Panel(series=[Series(x=[1], y=[2.5], label="a")], x_label="x", y_label="y")]))
        'panel,series,x,y,low,high\r\n,a,1.0,2.5,,\r\n'
    """
    plot = plot_of(shown)
    if plot is not None:
        return _csv(["panel", "series", "x", "y", "low", "high"], _points(plot))
    landscapes: Sequence[xr.Dataset] = [shown] if isinstance(shown, xr.Dataset) else list(shown)
    rows: list[list[Any]] = []
    values = [name for name in value_names(landscapes[0]) if all(name in one for one in landscapes)]
    for number, landscape in enumerate(landscapes):
        dims = [str(name) for name in landscape["loss"].dims]
        for cell in itertools.product(*(range(landscape.sizes[name]) for name in dims)):
            at = [float(landscape[name].values[place]) for name, place in zip(dims, cell, strict=True)]
            shown_here = [float(landscape[name].values[cell]) for name in values]
            rows.append([number, landscape.attrs.get("title", ""), *at, *shown_here])
    return _csv(["landscape", "title", *map(str, landscapes[0]["loss"].dims), *values], rows)


def _points(plot: Plot) -> Iterator[list[Any]]:
    for panel in plot.panels:
        for series in panel.series:
            for place in range(len(series.x)):
                ends = (
                    ["", ""] if series.low is None or series.high is None else [series.low[place], series.high[place]]
                )
                yield [panel.title, series.label, float(series.x[place]), float(series.y[place]), *ends]


def _places(upon: Iterable[Upon | Points]) -> Iterator[list[Any]]:
    """The paths and points that are drawn on a figure."""
    for one in upon:
        for x, y in zip(one.x, one.y, strict=True):
            yield ["" if one.panel is None else one.panel, one.label, float(x), float(y)]


def view_of(figure: Figure) -> Mapping[str, Any]:
    """The view of a figure; a clip below all of its values, as around networks that were not trained, is left out."""
    clip = figure.view.get("clip")
    if plot_of(figure.shown) is not None or not isinstance(clip, (int, float)):
        return figure.view
    landscapes = [figure.shown] if isinstance(figure.shown, xr.Dataset) else list(figure.shown)
    values = np.concatenate([one[figure.view.get("value", "loss")].values.ravel() for one in landscapes])
    known = values[np.isfinite(values)]
    return {**figure.view, "clip": "auto"} if len(known) and known.min() >= clip else figure.view


def _csv(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def write_text(path: Path, text: str) -> None:
    """Write a file in a folder that may not exist yet, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, text)


def write_index(folder: Path) -> Path:
    """Write the page that lists the studies whose pages lie in a folder, and ``results.md`` with all verdicts.

    Args:
        folder: of one scale, with a folder for each study.

    Returns:
        The index.
    """
    entries = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/findings.json"))]
    body = "\n".join(_entry(entry) for entry in _ordered(entries))
    total = sum({name: seconds for entry in entries for name, seconds in entry["stages"].items()}.values())
    intro = (
        f"<p>{number_of(len(entries), 'study', 'studies')}; their stages took {total / 60:.0f} minutes when "
        "they were run. “Seen” holds at the scale that was run and says nothing about others. Each verdict is at 5 %: "
        "of twenty claims with nothing behind them, one is seen.</p>"
    )
    style = resources.files("lossatlas.draw").joinpath("page", "report.css").read_text(encoding="utf-8")
    page = resources.files("lossatlas.draw").joinpath("page", "report.html").read_text(encoding="utf-8")
    for name, text in (("style", style), ("title", "Studies of loss landscapes"), ("body", intro + body)):
        page = page.replace("{{" + name + "}}", text)
    write_text(folder / PAGE, page)
    write_text(folder / RESULTS, results(_ordered(entries)))
    return folder / PAGE


def results(entries: Sequence[Mapping[str, Any]]) -> str:
    """All verdicts as a table in Markdown, one row each; a study is named in its first row.

    Args:
        entries: what is recorded about each run, see :func:`lossatlas_studies.performance.recorded`.
    """
    lines = ["| study | claim | verdict | estimate |", "|---|---|---|---|"]
    for entry in entries:
        for place, one in enumerate(entry["verdicts"]):
            name = f"`{entry['study']}`" if place == 0 else ""
            cells = (name, _cell(one["claim"]), f"**{one['word']}**", _cell(estimate_words(one)))
            lines.append(f"| {' | '.join(cells)} |")
    dry = "A dry run: these numbers mean nothing.\n\n" if any(entry["dry"] for entry in entries) else ""
    return dry + "\n".join(lines) + "\n"


def _cell(words: str) -> str:
    """Words for a cell of a table: without bars, and with minus signs that are not hyphens."""
    return re.sub(r"(?<![0-9A-Za-z])-(?=\d)|(?<=\de)-(?=\d)", "−", words.replace("|", "\\|"))


def estimate_words(verdict: Mapping[str, Any]) -> str:
    """Quantity, estimate, interval, p and n of a recorded verdict.

    Example:
        >>> found = {"quantity": "mean", "estimate": 0.5, "low": 0.4, "high": 0.6, "p": 0.002, "n": "9 networks"}
        >>> estimate_words(found)
        'mean: 0.5 (0.4 to 0.6), p = 0.002, n = 9 networks'
    """
    if not math.isfinite(verdict["estimate"]):
        return f"{verdict['quantity']}: not known, n = {verdict['n']}"
    ends = f" ({verdict['low']:.3g} to {verdict['high']:.3g})" if math.isfinite(verdict["low"]) else ""
    p = f", p = {verdict['p']:.3g}" if math.isfinite(verdict["p"]) else ""
    return f"{verdict['quantity']}: {verdict['estimate']:.3g}{ends}{p}, n = {verdict['n']}"


def _ordered(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    from lossatlas_studies import ORDER

    place = {name: number for number, name in enumerate(ORDER)}
    return sorted(entries, key=lambda entry: place.get(entry["study"], len(place)))


def _entry(entry: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(one['claim'])}</th><td>{html.escape(one['word'])}</td><td></td>"
        f"<td>{html.escape(one['words'])} {html.escape(one['caveat'])}</td></tr>"
        for one in entry["verdicts"]
    )
    link = f'<a href="{html.escape(entry["study"])}/{PAGE}">{html.escape(entry["title"])}</a>'
    dry = "dry run, numbers mean nothing; " if entry["dry"] else ""
    about = f"{dry}{entry['date']}, {entry['machine']['device']}, {entry['stage_seconds']:.0f} s"
    return f'<h2>{link}</h2><p>{html.escape(about)}</p><table class="facts">{rows}</table>'


__all__ = ["Figure", "figure_csv", "write_index", "write_page", "write_text"]
