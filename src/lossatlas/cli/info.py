"""`lossatlas info`: what a run is and how far it is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click

__all__ = ["info_command"]


@click.command("info")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info_command(run: str, as_json: bool) -> None:
    """Say what a RUN is (a run folder or a .nc file): model, data, axes, centre, progress, failures.

    Of a folder of `lossatlas connect`: its ways, and the barrier on each.

    \b
    Examples:
      lossatlas info runs/a
      lossatlas info a.nc --json
    """
    import lossatlas as la
    from lossatlas.connect.connections import is_connection
    from lossatlas.results import reading
    from lossatlas.results.landscape import Status

    if is_connection(run):
        _say(_ways(run), as_json=as_json)
        return
    landscape = la.open(run)
    counts = {flag.name.lower().replace("_", " "): int((landscape["status"] == flag).sum()) for flag in Status}
    facts = _facts(landscape) | {"cells": {name: count for name, count in counts.items() if count}}
    if Path(run).is_dir():
        progress = reading.progress(run)
        facts |= {"done": f"{progress.done} of {progress.total}", "failures": dict(progress.failures)}
        if not progress.verified:
            facts["checksums"] = "none: version 0.1 wrote none, so damage would go unnoticed"
    _say(facts, as_json=as_json)


def _say(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _print(facts)


def _ways(run: str) -> dict[str, Any]:
    """What is known of the ways between two networks."""
    import lossatlas as la
    from lossatlas.connect.connections import known

    content = known(run)
    ways = {
        words: {"folder": f"{run}/{name}", **_facts(la.open(Path(run) / name))}
        for name, words in content["ways"].items()
    }
    first = next(iter(ways.values()))
    about = ("model", "data", "loss", "samples", "batchnorm")
    same: dict[str, Any] = {name: first[name] for name in about if name in first}
    short = {words: {name: facts[name] for name in ("folder", "axes")} for words, facts in ways.items()}
    notes = {"title": content["title"], "caption": " ".join(content["caption"])}
    return {**same, "barriers": content["barriers"], "ways": short, **notes}


def _facts(landscape: Any) -> dict[str, Any]:
    from lossatlas.field.lowest import lowest
    from lossatlas.results.landscape import axis_names, cut_at, structured, value_names

    plain = (
        "title",
        "model",
        "data",
        "loss",
        "samples",
        "normalisation",
        "still",
        "batchnorm",
        "seed",
        "dtype",
        "device",
    )
    axes = {
        name: f"{len(landscape[name])} points from {float(landscape[name][0]):g} to {float(landscape[name][-1]):g}, "
        f"{landscape[name].attrs['long_name']}, length {_length(landscape[name].attrs['length'])}"
        for name in axis_names(landscape)
    }
    facts = {name: landscape.attrs[name] for name in plain if landscape.attrs[name] != ""} | {"axes": axes}
    if not landscape.attrs["samples"]:
        facts["samples"] = "unknown"
    if cut := cut_at(landscape):
        facts["slice at"] = cut
    facts |= _shape(landscape)
    for name in ("centre", "cosines", "sampling", "evaluation", "provenance"):
        facts[name] = structured(landscape, name)
    facts["curvature"] = {k: v for k, v in structured(landscape, "curvature").items() if k != "numbers"}
    found = lowest(landscape, value_names(landscape)[0])
    facts["lowest"] = "unknown" if found is None else found.words
    return facts | {"created": landscape.attrs["created"], "software": landscape.attrs["software"]}


def _length(norm: float) -> str:
    return f"{norm:.6g}" if math.isfinite(norm) else "unknown"


def _shape(landscape: Any) -> dict[str, Any]:
    """How rugged the loss is and what the slice proves; what cannot be said is left out."""
    import contextlib

    from lossatlas.errors import SpecError
    from lossatlas.field.convexity import proof
    from lossatlas.field.inequality import bent
    from lossatlas.field.ruggedness import ruggedness

    if landscape.data_vars.get("loss") is None or landscape["loss"].attrs.get("kind") != "loss":
        return {}
    if along := bent(landscape):
        return {"proves": f"nothing: along a {along} even a convex loss may rise and fall"}
    facts: dict[str, Any] = {}
    with contextlib.suppress(SpecError):  # too few points, or uneven ones
        facts["ruggedness"] = ruggedness(landscape).words.removeprefix("Ruggedness: ")
        facts["proves"] = proof(landscape).words
    return facts


def _print(facts: dict[str, Any], indent: str = "") -> None:
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            click.echo(f"{indent}{name}:")
            _print(value, indent + "  ")
        elif value not in ({}, []):
            click.echo(f"{indent}{name}: {value}")
