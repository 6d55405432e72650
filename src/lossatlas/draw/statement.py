"""What a report says about one Landscape: its picture, what the slice proves, what is known about curvature."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError
from lossatlas.extras import MissingExtraError
from lossatlas.field.convexity import Proof, proof
from lossatlas.field.inequality import bent
from lossatlas.field.lowest import lowest
from lossatlas.field.ruggedness import MEASURES, PROVES, over_seeds
from lossatlas.field.topology import topology
from lossatlas.field.uncertainty import Seeds
from lossatlas.figure.parts import Heading, Note, Number, Part, Picture, Table
from lossatlas.figure.plot import Plot
from lossatlas.figure.words import column_title, percent
from lossatlas.results.landscape import structured, value_names
from lossatlas.results.quantities import quantity

__all__ = ["seeds_statement", "statement", "statements", "ways_statement"]


def statement(landscape: xr.Dataset) -> list[Part]:
    """The parts of a report on one Landscape.

    Args:
        landscape: a Landscape, of a slice or of a map of curvature.

    Returns:
        Heading, pictures, statement, shares of the area by threshold, numbers with their caveats.

    Example:
        >>> import numpy as np
        >>> from lossatlas.results.landscape import About, Axis, build
        >>> axis = Axis(coordinates=np.linspace(-1, 1, 9), length=1.0)
        >>> parts = statement(build({"x": axis}, {"loss": axis.coordinates**2}, about=About(title="Bowl")))
        >>> parts[0].text, parts[-2]
        ('Bowl', 'This slice proves nothing: it bends down nowhere by more than rounding.')
    """
    title = str(landscape.attrs.get("title") or "Landscape")
    if any(quantity(landscape, name) for name in value_names(landscape)):
        return [
            Heading(f"{title}: curvature on a grid"),
            Picture(landscape, view={"value": "ratio" if "ratio" in landscape else "critical"}),
            *_cost(landscape),
        ]
    return [Heading(title), Picture(landscape, stated=True), *_found(landscape), *_rugged({"value": [landscape]})]


def statements(landscapes: Mapping[str, xr.Dataset]) -> list[Part]:
    """The parts of a report that compares several slices: one picture, on one scale, and one table.

    Args:
        landscapes: by names that tell them apart, with the same number of axes.

    Returns:
        The picture and the table of all, then the findings on each under its name.

    Example:
        >>> import numpy as np
        >>> from lossatlas.results.landscape import Axis, build
        >>> axis = Axis(coordinates=np.linspace(-1, 1, 9), length=1.0)
        >>> found = statements({name: build({"x": axis}, {"loss": axis.coordinates**2}) for name in ("SGD", "Adam")})
        >>> [part.text for part in found if isinstance(part, Heading)]
        ['Side by side', 'SGD', 'Adam']
    """
    pictures = [Picture(list(landscapes.values()), view={"labels": list(landscapes)}, stated=True)]
    each = [part for name, one in landscapes.items() for part in (Heading(name), *_found(one))]
    return [Heading("Side by side"), *pictures, *_rugged({name: [one] for name, one in landscapes.items()}), *each]


def _found(landscape: xr.Dataset) -> list[Part]:
    """What is known about one slice besides its picture."""
    return [
        *_sample_errors(landscape),
        *_lowest(landscape),
        *_shape(landscape),
        *_proved(landscape),
        *_known(structured(landscape, "curvature")),
    ]


def seeds_statement(found: Seeds) -> list[Part]:
    """The parts of a report on several direction seeds: pictures, mean and spread in words, and what they do not say.

    Args:
        found: the runs, as :func:`lossatlas.seeds` gives them.

    Returns:
        Heading, pictures, sentences.
    """
    first = found.runs[0]
    heading = Heading(f"{found.title}: {len(found.runs)} direction seeds")
    if first["status"].ndim == 1:
        pictures = [Picture(found.runs)]
    else:
        medians = found.landscape
        value = value_names(first)[0]
        spread = Picture(medians, words="The standard deviation over seeds.", view={"value": f"{value}_spread"})
        pictures = [Picture(medians, words="The median over seeds."), spread]
    rugged = _rugged({"value": found.runs})
    return [heading, *pictures, *map(found.words, value_names(first)), *rugged, found.caveat]


def ways_statement(title: str, barriers: Mapping[str, str], ways: Plot, surface: Picture | None) -> list[Part]:
    """The parts of a report on the paths between two networks, as ``lossatlas connect`` keeps them.

    Args:
        title: heading.
        barriers: the barrier of each way in words, by the words of the way.
        ways: the loss along all of them; its caption holds what they do not prove.
        surface: the plane through both networks with the curve on it, where it was measured.

    Returns:
        Heading, table of barriers, pictures.
    """
    rows = [{"way": way, "barrier": words} for way, words in barriers.items()]
    table = [Table(rows, note="± is the standard error over the samples.")] if rows else []
    return [Heading(title), *table, Picture(ways), *([surface] if surface else [])]


def _sample_errors(landscape: xr.Dataset) -> list[Part]:
    """How certain the means are, if the run knows it."""
    said: list[Part] = []
    for name in value_names(landscape):
        if f"{name}_se" in landscape and np.isfinite(landscape[f"{name}_se"]).any():
            errors = landscape[f"{name}_se"]
            caveat = (
                f"largest of all cells; over {landscape.attrs['samples']} samples, which all cells share, so "
                "differences between cells are better known"
            )
            said.append(Number(f"standard error of {name}", float(errors.max()), caveat))
    return said


def _lowest(landscape: xr.Dataset) -> list[Part]:
    """Where the field is lowest."""
    found = lowest(landscape, value_names(landscape)[0])
    return [found.words] if found is not None else []


def _rugged(runs: Mapping[str, Sequence[xr.Dataset]]) -> list[Part]:
    """How rugged losses are, each from one run or several seeds, and what each measure proves."""
    found = {}
    for name, landscapes in runs.items():
        if any("loss" not in one for one in landscapes):
            continue
        with contextlib.suppress(SpecError):  # too few points, or uneven ones
            found[name] = over_seeds(landscapes)
    if not found:
        return []
    left, right = column_title("ruggedness", found), column_title("proves", found)
    rows = [
        {left: words, **{name: one[measure].words for name, one in found.items()}, right: PROVES[measure]}
        for measure, words in MEASURES.items()
        if all(measure in one for one in found.values())
    ]
    seeds = max(len(landscapes) for landscapes in runs.values())
    over = f" Mean over {seeds} direction seeds, Student's 95 % interval." if seeds > 1 else ""
    return [Table(rows, note=f"Each is 0 for every convex loss. They depend on the spacing of the grid.{over}")]


def _shape(landscape: xr.Dataset) -> list[Part]:
    """Minima and passes of the field; nothing if gudhi is missing or there is nothing to report."""
    try:
        found = topology(landscape, value_names(landscape)[0])
    except MissingExtraError:
        return []
    except SpecError as fault:
        return [f"The shape of the field is not known: {fault}."]
    tree = [Picture(found)] if len(found.minima) > 1 else []
    return [found.words, *tree, Note(found.caveat)]


def _proved(landscape: xr.Dataset) -> list[Part]:
    if along := bent(landscape):
        return [f"Along a {along} even a convex loss may rise and fall: that proves nothing about the loss."]
    try:
        found = proof(landscape)
    except SpecError as fault:  # too few points, or uneven ones
        return [f"What the slice proves is not known: {fault}."]
    if not found.words:
        return ["What the slice proves is not known: there is no cell whose neighbours have all been evaluated."]
    return [found.words, _shares(found)] if found.proves else [found.words]


def _shares(found: Proof) -> Table:
    row: dict[str, float | str] = {"bends down by more than": "share of the area"}
    row |= {f"{100 * threshold:g} % of how it bends up": percent(share) for threshold, share in found.shares.items()}
    note = (
        f"From second differences at {found.cells} cells. This holds for the loss on this plane only; between the "
        "points nothing is known."
    )
    return Table([row], note=note)


def _known(curvature: dict[str, Any]) -> list[Part]:
    return [Number(**entry) for entry in curvature.get("numbers", [])]


def _cost(landscape: xr.Dataset) -> list[Part]:
    how = structured(landscape, "evaluation")
    if "evaluations per point" in how:
        return [f"{how['evaluations']:.0f} evaluations of the loss, {how['evaluations per point']:.3g} per point."]
    if "products" not in how:
        return []
    words = f"{how['products']:.0f} Hessian-vector products, {how['products per point']:.3g} per point."
    if how.get("check points"):
        words += (
            f" Solved again from a random vector at {how['check points']} points, eigenvalues differed by at most "
            f"{percent(how['largest difference from a cold start'])} of the largest; that took "
            f"{how['products of a cold start']:.3g} products instead of {how['products of a warm start']:.3g}."
        )
    return [words]
