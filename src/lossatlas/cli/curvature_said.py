"""How does `lossatlas eigen` report what it found: numbers with what they do not prove, as text or as JSON?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click

from lossatlas.cli.as_json import echo_json
from lossatlas.figure.words import number as rounded
from lossatlas.figure.words import with_errors
from lossatlas.oneline import number_of

__all__ = [
    "along_numbers", "bar_of", "batch_rows", "block_rows", "density_numbers", "density_rows", "end_numbers",
    "errors_are", "most_products", "say", "say_map", "say_rows", "trace_numbers",
]  # fmt: skip


def say_map(wish: Any, found: Any, value: str, words: list[str]) -> None:
    """Print what a map found: its ends, or all of it as JSON."""
    name = {"critical": "critical sharpness", "ratio": "|λmin/λmax|"}[value]
    low, high, bad = float(found[value].min()), float(found[value].max()), int((found["status"] != 1).sum())
    if wish.json:
        axes = {str(axis): found[axis].values.tolist() for axis in found[value].dims}
        values, status = found[value].values.tolist(), found["status"].values.tolist()
        echo_json({"about": name, "axes": axes, "values": values, "status": status, "caveats": words})
    else:
        click.echo(f"{name}: {low:.3g} to {high:.3g} at {number_of(found[value].size, 'point')}")
        for text in words:
            click.echo(text)
    if bad:
        why = "have no value, or only a bound" if wish.critical else "did not converge or are not finite"
        click.echo(f"{number_of(bad, 'point')} {why}: lossatlas info says why", err=True)


def say_rows(wish: Any, about: str, rows: list[dict[str, Any]], caveats: tuple[str, ...]) -> None:
    """Print a table with a row for each block or batch."""
    if wish.json:
        echo_json({"about": about, "rows": rows, "caveats": caveats})
        return
    click.echo(about)
    told = with_errors(rows)
    names = list(told[0])
    cells = [names, *([f"{one:.5g}" if isinstance(one, float) else str(one) for one in row.values()] for row in told)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    for line in cells:
        padded = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        click.echo("  ".join([line[0].ljust(widths[0]), *padded[1:]]).rstrip())
    for sentence in caveats:
        click.echo(f"note: {sentence}")


def block_rows(ends: Any, traces: Any) -> list[dict[str, Any]]:
    """A row for each block: both ends with their errors, and the trace where there is one."""
    rows = []
    for name, one in ends.items():
        row: dict[str, Any] = {"block": name, "parameters": one.subject.size}
        row |= _ends(one.values[0], one.values[-1], one.errors[[0, -1]])
        if traces is not None:
            row |= {"trace": traces[name].value, "error of trace": traces[name].standard_error}
        rows.append(row)
    return rows


def batch_rows(found: Any) -> list[dict[str, Any]]:
    """A row for each batch: both ends with their errors."""
    columns = zip(found.sizes, found.smallest, found.largest, found.errors, strict=True)
    return [
        {"batch": number, "samples": int(size), **_ends(low, high, errors)}
        for number, (size, low, high, errors) in enumerate(columns)
    ]


def _ends(low: float, high: float, errors: Any) -> dict[str, float]:
    below, above = map(float, errors)
    return {"λmin": float(low), "error of λmin": below, "λmax": float(high), "error of λmax": above}


def density_rows(found: Any) -> list[dict[str, Any]]:
    """A row for each block with the ends of what a density saw; none where there is none."""
    each = found or {}
    return [
        {"block": name, "λmin seen": float(one.nodes.min()), "λmax seen": float(one.nodes.max())}
        for name, one in each.items()
    ]


def density_numbers(found: Any) -> Iterator[Any]:
    """The ends of what a density saw."""
    from lossatlas.figure.parts import Number

    why = f"the {{}} of {number_of(found.probes, 'random vector')}, no bound of the spectrum"
    for name, value, end in (("λmin seen", found.nodes.min(), "lowest"), ("λmax seen", found.nodes.max(), "highest")):
        yield Number(name, float(value), why.format(end), "per squared parameter norm")


def errors_are(wish: Any = None) -> str:
    """What stands behind ± in a table of eigenvalues, in a sentence.

    Args:
        wish: what was asked; a trace has random vectors.

    Returns:
        The sentence.
    """
    trace = f"; of a trace its standard error over {wish.probes} random vectors" if wish and wish.probes else ""
    return f"±: of an eigenvalue its residual ‖Hv − λv‖, within which there is an eigenvalue{trace}."


def most_products(wish: Any, sizes: Sequence[int]) -> int:
    """How many products blocks of these sizes take at most: both ends, the trace of all together, the densities."""
    from lossatlas.curvature.density import STEPS
    from lossatlas.curvature.subspace import most_products as of_ends

    densities = sum(wish.vectors * min(STEPS, size) for size in sizes) if wish.density else 0
    return int(sum(of_ends(size, wish.k) for size in sizes) + wish.probes + densities)


def bar_of(wish: Any) -> dict[str, Any]:
    """A progress bar of products, with how many both ends, the trace and the density take at most."""
    from lossatlas.curvature.density import STEPS
    from lossatlas.curvature.subspace import MOST

    total = MOST * (1 + (wish.k > 1)) + wish.probes + wish.density * wish.vectors * STEPS
    return {"bar_format": "curvature: {n} of at most {total} products [{elapsed}]", "total": total}


def end_numbers(ends: Any) -> Iterator[Any]:
    """Both ends of the spectrum as numbers, with their residuals."""
    from lossatlas.curvature.ends_plot import end_names
    from lossatlas.figure.parts import Number

    half = len(ends.values) // 2
    unit = "per squared parameter norm"
    names = end_names(half, len(ends.values) - half)
    for name, value, error, residual, sure in zip(
        names, ends.values, ends.errors, ends.residuals, ends.converged, strict=True
    ):
        bound = "an upper bound" if "below" in name or name == "λmin" else "a lower bound"
        if abs(value) <= error:
            bound = f"0 within its error of {rounded(error, 1)}"
        words = f"{bound}, relative residual {rounded(residual, 1)}" + ("" if sure else ", not converged")
        yield Number(name, float(value), words, unit)
    where = "0 where no direction bends down, infinite where none bends up"
    yield Number("|λmin/λmax|", float(ends.ratio), f"of this point only; {where}")


def trace_numbers(matrix: Any, wish: Any, seed: int) -> Iterator[Any]:
    """The trace, where random vectors are asked for."""
    from lossatlas.curvature.trace import trace_of
    from lossatlas.figure.parts import Number

    if wish.probes:
        found = trace_of(matrix, probes=wish.probes, seed=seed)
        words = f"standard error over {found.probes} random vectors; large negative and positive parts may cancel"
        yield Number("trace", f"{found.value:.4g} ± {found.standard_error:.2g}", words, "per squared parameter norm")


def along_numbers(scan: Any, wish: Any, objective: Any, *, also: bool) -> Iterator[Any]:
    """Differences beside derivatives: if asked for, or where derivatives are known to be surrogates."""
    from lossatlas.cli.scan import build_plane
    from lossatlas.curvature.differences import curvature_along
    from lossatlas.figure.parts import Number

    if not (wish.along or also):
        return
    plane = build_plane(scan, objective)
    unit = "per squared parameter norm"
    for axis, direction in plane.directions.items():
        found = curvature_along(objective, direction, step=wish.step)
        apart = f"steps of {wish.step:g} of the direction ({found.step:.3g} in parameter norm)"
        yield Number(f"along {axis}, by derivatives", found.autodiff, "does not see kinks", unit)
        words = f"{apart}; rounding up to {rounded(found.rounding, 1)}; sees kinks, and changes of slope within it"
        yield Number(f"along {axis}, by differences", found.difference, words, unit)


def say(wish: Any, ends: Any, numbers: list[Any]) -> None:
    """Print what was found at the centre."""
    if wish.json:
        content = {"about": ends.subject.words, "numbers": [asdict(one) for one in numbers], "caveats": ends.caveats}
        echo_json({**content, "products": ends.products})
        return
    click.echo(ends.subject.words)
    width = max(len(number.name) for number in numbers)
    for number in numbers:
        value = number.value if isinstance(number.value, str) else f"{number.value:.5g}"
        click.echo(f"{number.name:{width}}  {value:>14}  {number.caveat}")
    for sentence in ends.caveats:
        click.echo(f"note: {sentence}")
