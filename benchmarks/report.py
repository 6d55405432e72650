"""What is written about the times: tables in words, and two plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import lossatlas as la
from lossatlas.figure.plot import Mark, Panel, Plot, Series

WAYS = {
    "original": "original code's method",
    "loss-landscapes": "loss-landscapes",
    "landscaper": "landscaper",
    "expert": "expert's loop",
    "exact": "lossatlas, exact",
    "bf16": "lossatlas, bf16",
    "limit": "limit of the machine",
}


def table(results: list[dict[str, Any]]) -> str:
    """A row for each network: milliseconds for a point, and ratios of medians."""
    names = [name for name in WAYS if any(name in found["seconds"] for found in results)]
    rows = [
        "| network | " + " | ".join(f"{name}, ms" for name in names) + " | ÷ original | ÷ expert | of the limit | "
        "bf16 ÷ original | the three ÷ in processor time |",
        "|---" * (len(names) + 6) + "|",
    ]
    for found in results:
        s = found["seconds"]
        cells = [f"{1000 * s[name]:.4g}" if name in s else "" for name in names]
        ratios = [f"{s['original'] / s['exact']:.2f} ×", f"{s['expert'] / s['exact']:.2f} ×"]
        ratios += [
            f"{100 * s['limit'] / s['exact']:.0f} %",
            f"{s['original'] / s['bf16']:.2f} ×" if "bf16" in s else "",
        ]
        w = found["processor seconds"]
        parts = [(a, b) for a, b in (("original", "exact"), ("expert", "exact"), ("original", "bf16")) if b in w]
        ratios += [", ".join(f"{w[a] / w[b]:.2f}" for a, b in parts)]
        rows.append(f"| {found['case']} | " + " | ".join(cells + ratios) + " |")
    return "\n".join(rows)


def picture_table(found: dict[str, Any]) -> str:
    """The time of a whole picture, computed from the times of points and the number of points."""
    return "\n".join(
        [
            f"51 × 51 picture of {found['case']}, logarithmic view: {found['points']} of {found['of']} points put "
            f"{100 * found['share within']:.1f} % of the cells truly within 2 % of the range (on the known surface, "
            "100 images). Computed from these points and the times of a point above, not timed as a whole:",
            "",
            "| picture | minutes | ÷ original, full grid |",
            "|---|---|---|",
            *(f"| {name} | {s / 60:.3g} | {found['seconds']['original, full grid'] / s:.1f} × |"
              for name, s in found["seconds"].items()),
        ]
    )  # fmt: skip


def growth_table(found: dict[str, list[dict[str, Any]]]) -> str:
    """A row for each size."""
    rows = ["| grows | size | expert, ms for a point | exact, ms for a point | ratio |", "|---|---|---|---|---|"]
    for what, sizes in found.items():
        for size in sizes:
            s = size["seconds"]
            rows.append(
                f"| {what} | {size['size']} | {1000 * s['expert']:.4g} | {1000 * s['exact']:.4g} | "
                f"{s['expert'] / s['exact']:.2f} × |"
            )
    return "\n".join(rows)


def environment_words(there: dict[str, Any]) -> str:
    """The environment in one sentence, for captions."""
    where = there.get("gpu") or f"{there['cores']} x86 cores" if "x86" in there["system"] else there["system"]
    busy = there.get("load at the start", 0) > 0.5 * (there["cores"] or 1)
    words = f"{there['threads']} thread{'s' * (there['threads'] > 1)}"
    words += ", other work on the machine" if busy else ""
    return f"{where} ({there['capability']}), {words}, PyTorch {there['packages']['torch']}, {there['date']}."


def plot_points(results: list[dict[str, Any]], there: dict[str, Any], path: Path) -> None:
    """How many times faster or slower than an expert's loop each way is, network by network."""
    names = [name for name in WAYS if name != "expert" and any(name in found["seconds"] for found in results)]
    width, series = 0.8 / len(names), []
    for index, name in enumerate(names):
        shift = (index - (len(names) - 1) / 2) * width
        ratio = [found["seconds"]["expert"] / found["seconds"].get(name, np.nan) for found in results]
        series.append(Series(x=np.arange(len(results)) + shift, y=np.array(ratio), label=WAYS[name], style="points"))
    short = [
        (i, found["case"].split(",")[0].removeprefix("digits ").split(" at")[0]) for i, found in enumerate(results)
    ]
    panel = Panel(
        series=series,
        x_label="",
        y_label="times as fast as an expert's loop",
        y_scale="log",
        marks=[Mark(y=1.0)],
        x_ticks=short,
    )
    caption = ["Time of one point, ratio of medians of interleaved rounds in one process.", environment_words(there)]
    la.draw(Plot(panels=[panel], caption=caption), path)


def plot_growth(found: dict[str, list[dict[str, Any]]], there: dict[str, Any], path: Path) -> None:
    """Seconds for a point against the size of what grows."""
    panels = []
    for what, sizes in found.items():
        x = np.array([size["size"] for size in sizes], float)
        series = [
            Series(x=x, y=np.array([1000 * s["seconds"][way] for s in sizes]), label=WAYS[way], style="both")
            for way in ("expert", "exact")
        ]
        scale = "linear" if what == "directions" else "log"
        panels.append(Panel(series=series, x_label=what, y_label="ms for a point", x_scale=scale, y_scale="log"))
    caption = ["Medians of interleaved rounds; points: whole runs with their folder and the search for a plan."]
    caption += ["ResNet-20 and perceptrons on digits.", environment_words(there)]
    la.draw(Plot(panels=panels, caption=caption), path)
