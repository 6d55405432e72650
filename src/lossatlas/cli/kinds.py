"""What `draw`, `info` and `report` make of a result, whatever its kind."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lossatlas.errors import SpecError
from lossatlas.oneline import number_of

__all__ = ["Result", "opened", "parts_of"]


@dataclass(frozen=True)
class Result:
    """A result that was opened.

    Attributes:
        path: where it is, as the user named it.
        kind: its kind, a name of :data:`lossatlas.results.opening.KINDS`.
        found: what was opened.
    """

    path: str
    kind: str
    found: Any

    @property
    def is_field(self) -> bool:
        """Whether it is drawn as a Landscape, with a View; everything else is a plot."""
        return self.kind not in ("connection", "path", "flatness", "numbers")

    def shown(self, value: str | None = None, *, holes: bool = False, scale: Any = "auto") -> Any:
        """What is drawn.

        Args:
            value: of a plot, which value; ``None`` for its own.
            holes: leave what is not evaluated yet empty.
            scale: of the loss along paths between networks.

        Returns:
            Landscapes, or a plot.

        Raises:
            SpecError: a plot that has no other value.
        """
        if self.kind == "connection":
            return self.found.plot(value or "loss", scale=scale)
        if self.kind == "numbers":
            return self.found.plot(value or "")
        if not self.is_field:
            if value:
                raise SpecError(f"--value {value}: {self.path} holds {_words(self.kind)}, which has only one picture")
            return self.found.plot()
        from lossatlas.sampling.filling import preview

        landscapes = self.found.shown if self.kind == "seeds" else self.found
        if holes:
            return landscapes
        return [preview(one) for one in landscapes] if isinstance(landscapes, tuple) else preview(landscapes)

    def facts(self) -> dict[str, Any]:
        """What is known about it, JSON values by name."""
        return {"kind": _words(self.kind)} | _FACTS.get(self.kind, _run_facts)(self)

    def parts(self) -> list[Any]:
        """What a report says about it."""
        return _PARTS.get(self.kind, _landscape_parts)(self)


def opened(path: str) -> Result:
    """Open a result of any kind, once.

    Args:
        path: a folder or a file.

    Returns:
        The result, with its kind.

    Raises:
        SpecError: nothing there, or something else.
    """
    from lossatlas.results import opening

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checkpoints that were left out of a path are among the facts
        found = opening.open(path)
    kind = opening.kind_of(path)
    return Result(path, kind.name if kind else "landscape", found)


def parts_of(results: Sequence[Result]) -> list[Any]:
    """What one report says of several results: slices with equally many axes are compared, the others follow in turn.

    Args:
        results: what was opened.

    Returns:
        Parts of a report.
    """
    from lossatlas.draw.statement import statements
    from lossatlas.results.landscape import axis_names, value_names
    from lossatlas.results.quantities import quantity

    groups: dict[Any, list[Result]] = {}
    for place, one in enumerate(results):
        alone: Any = place
        if one.kind not in _PARTS and not any(quantity(one.found, name) for name in value_names(one.found)):
            alone = ("slices", len(axis_names(one.found)), value_names(one.found)[0])
        groups.setdefault(alone, []).append(one)
    found: list[Any] = []
    for group in groups.values():
        if len(group) == 1:
            found += group[0].parts()
        else:
            found += statements(dict(zip(_apart(group), (one.found for one in group), strict=True)))
    return found


def _apart(results: Sequence[Result]) -> list[str]:
    """The titles of landscapes, with their folders where titles are the same."""
    titles = [str(one.found.attrs["title"]) or "landscape" for one in results]
    known = [f"{title} ({Path(one.path).stem})" for title, one in zip(titles, results, strict=True)]
    whole = [f"{title} ({one.path})" for title, one in zip(titles, results, strict=True)]
    for names in (titles, known, whole):
        if len(set(names)) == len(names):
            return names
    return [f"{name} {place}" for place, name in enumerate(whole, 1)]


def _words(kind: str) -> str:
    from lossatlas.results.opening import KINDS

    return KINDS[kind].words


def _run_facts(result: Result) -> dict[str, Any]:
    from lossatlas.results import reading
    from lossatlas.results.landscape import Status

    counts = {flag.name.lower().replace("_", " "): int((result.found["status"] == flag).sum()) for flag in Status}
    found = _landscape_facts(result.found) | {"cells": {name: count for name, count in counts.items() if count}}
    if Path(result.path).is_dir():
        progress = reading.progress(result.path)
        found |= {"done": f"{progress.done} of {progress.total}", "failures": dict(progress.failures)}
        if not progress.verified:
            found["checksums"] = "none: version 0.1 did not write any, so damage would go unnoticed"
    return found


def _ways_facts(result: Result) -> dict[str, Any]:
    ways = {
        words: {"folder": f"{result.path}/{folder.name}", **_landscape_facts(result.found.landscapes[words])}
        for words, folder in result.found.folders.items()
    }
    first = next(iter(ways.values()))
    about = ("model", "data", "loss", "samples", "batchnorm")
    same: dict[str, Any] = {name: first[name] for name in about if name in first}
    short = {words: {name: facts[name] for name in ("folder", "axes")} for words, facts in ways.items()}
    notes = {"title": result.found.title, "caption": " ".join(result.found.caption)}
    return {**same, "barriers": dict(result.found.barriers), "ways": short, **notes}


def _seeds_facts(result: Result) -> dict[str, Any]:
    from lossatlas.results.landscape import value_names

    first = result.found.runs[0]
    said = {name: result.found.words(name) for name in value_names(first)}
    kept = ("title", "model", "data", "loss", "samples", "normalisation", "batchnorm", "axes")
    of_first = _landscape_facts(first)
    return {"seeds": list(result.found.seeds), **{n: of_first[n] for n in kept if n in of_first}, "spread": said}


def _path_facts(result: Result) -> dict[str, Any]:
    path = result.found
    first, last = path.checkpoints[0], path.checkpoints[-1]
    found: dict[str, Any] = {
        "checkpoints": len(path),
        "steps": f"{first.step} to {last.step}",
        "parameters": path.dimension,
        "variance": path.principal().words,
    }
    if last.loss is not None:
        found["loss as recorded"] = f"{last.loss:.6g} at step {last.step}"
    return found | ({"left out": list(path.left_out)} if path.left_out else {})


def _flatness_facts(result: Result) -> dict[str, Any]:
    table = result.found
    rows = {}
    for name, row in zip(table.results, table.rows(), strict=True):
        kinds = dict.fromkeys(one.spread_is for one in table.results[name] if one is not None and one.spread_is)
        rows[name] = {model: row[model] for model in table.models} | ({"±": ", ".join(kinds)} if kinds else {})
    return {"models": list(table.models), "measures": rows, "words": " ".join(table.words)}


def _numbers_facts(result: Result) -> dict[str, Any]:
    found = result.found
    known = {"title": found.title, "draw": f"--value {', '.join(found.sections)}"} if len(found.sections) > 1 else {}
    return known | {
        name: {
            "about": section.about,
            **_stated(asdict(one) for one in section.numbers),
            **({"rows": list(section.rows)} if section.rows else {}),
            "does not prove": " ".join(section.caveats),
        }
        for name, section in found.sections.items()
    }


def _stated(numbers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers by name, each with its unit, its error, and what it does not prove."""
    return {one["name"]: {"value": one["value"], "unit": one["unit"], "caveat": one["caveat"]} for one in numbers}


_FACTS: dict[str, Callable[[Result], dict[str, Any]]] = {
    "connection": _ways_facts,
    "seeds": _seeds_facts,
    "path": _path_facts,
    "flatness": _flatness_facts,
    "numbers": _numbers_facts,
}


def _landscape_parts(result: Result) -> list[Any]:
    from lossatlas.draw.statement import statement

    return statement(result.found)


def _ways_parts(result: Result) -> list[Any]:
    from lossatlas.draw.statement import ways_statement
    from lossatlas.figure.parts import Picture
    from lossatlas.sampling.filling import preview

    ways = result.found
    surface = None if ways.surface is None else Picture(preview(ways.surface), view={"overlays": list(ways.upon)})
    return ways_statement(ways.title, ways.barriers, ways.plot(), surface)


def _seeds_parts(result: Result) -> list[Any]:
    from lossatlas.draw.statement import seeds_statement

    return seeds_statement(result.found)


def _path_parts(result: Result) -> list[Any]:
    from lossatlas.paths.page import parts

    return parts(result.found, result.found.principal())


def _flatness_parts(result: Result) -> list[Any]:
    from lossatlas.flatness.page import parts

    return parts(result.found)


_PARTS: dict[str, Callable[[Result], list[Any]]] = {
    "connection": _ways_parts,
    "seeds": _seeds_parts,
    "path": _path_parts,
    "flatness": _flatness_parts,
    "numbers": lambda result: result.found.parts,
}


def _landscape_facts(landscape: Any) -> dict[str, Any]:
    from lossatlas.draw.facts import PLAIN
    from lossatlas.field.lowest import lowest
    from lossatlas.results.landscape import axis_names, cut_at, structured, value_names
    from lossatlas.results.quantities import quantity

    axes = {
        name: f"{number_of(len(landscape[name]), 'point')} from {float(landscape[name][0]):g} to "
        f"{float(landscape[name][-1]):g}, "
        f"{landscape[name].attrs['long_name']}{_long(landscape, name)}"
        for name in axis_names(landscape)
    }
    facts = {name: landscape.attrs[name] for name in PLAIN if landscape.attrs[name] != ""} | {"axes": axes}
    if not landscape.attrs["samples"]:
        facts["samples"] = "unknown"
    if cut := cut_at(landscape):
        facts["slice at"] = cut
    curved = any(quantity(landscape, name) for name in value_names(landscape))
    facts |= _ranges(landscape) if curved else _shape(landscape)
    for name in ("centre", "cosines", "sampling", "evaluation", "provenance"):
        facts[name] = structured(landscape, name)
    noted = structured(landscape, "curvature")
    facts["curvature"] = {k: v for k, v in noted.items() if k != "numbers"} | _stated(noted.get("numbers", ()))
    if not curved:
        found = lowest(landscape, value_names(landscape)[0])
        facts["lowest"] = "unknown" if found is None else found.words
    return facts | {"created": landscape.attrs["created"], "software": landscape.attrs["software"]}


def _long(landscape: Any, axis: str) -> str:
    """How long a direction is, and in which unit where that is not the weights; nothing of what is none."""
    from lossatlas.results.moves import COLUMN

    if landscape[axis].attrs["long_name"] == COLUMN:
        return ""
    unit = str(landscape[f"{axis}_length"].attrs.get("units", "parameter norm"))
    norm = float(landscape[axis].attrs["length"])
    return f", {'length' if unit == 'parameter norm' else unit} {f'{norm:.6g}' if math.isfinite(norm) else 'unknown'}"


def _ranges(landscape: Any) -> dict[str, Any]:
    """From where to where the values of a map of curvature reach, and what they do not prove."""
    import numpy as np

    from lossatlas.figure.words import number
    from lossatlas.results.landscape import value_names
    from lossatlas.results.quantities import quantity

    reach, caveats = {}, []
    for name in value_names(landscape):
        known, values = quantity(landscape, name), landscape[name].values
        finite = values[np.isfinite(values)]
        label = known.label if known else name
        reach[label] = f"{number(finite.min())} to {number(finite.max())}" if finite.size else "unknown"
        if name in ("ratio", "critical") and known:
            caveats.append(known.caveat)
    return {"range": reach, "does not prove": " ".join(caveats)}


def _nothing(landscape: Any) -> str:
    """Why a slice without three neighbouring points in a row proves nothing."""
    from lossatlas.results.landscape import Status, structured

    if (landscape["status"].values == Status.NOT_SAMPLED).any():
        return "nothing yet: too few neighbouring points are known"
    if structured(landscape, "sampling").get("kind") == "subset":
        return "nothing: its values are estimates from a part of the samples"
    return "nothing: too few neighbouring points are known"


def _shape(landscape: Any) -> dict[str, Any]:
    """How rugged the loss is and what the slice proves, as far as either can be said."""
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
        if not (said := proof(landscape).words):
            return {"proves": _nothing(landscape)}
        facts["ruggedness"] = ruggedness(landscape).words.removeprefix("Ruggedness: ")
        facts["proves"] = said
    return facts
