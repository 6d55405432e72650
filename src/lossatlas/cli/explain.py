"""`lossatlas explain`: what a filter is, and what moves, for every tensor of a model."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from lossatlas.cli.as_json import echo_json
from lossatlas.cli.needed import Checked, needing, unless
from lossatlas.errors import SpecError, unknown
from lossatlas.oneline import number_of

__all__ = ["explain_command"]


@click.command("explain", cls=Checked)
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--model", "also", multiple=True, metavar="NAME", help="The same MODEL, spelt as in other commands.")
@click.option("--still", multiple=True, metavar="ROLE", help="Roles that stay still: bias, norm, weight or none.")
@click.option(
    "--only", multiple=True, metavar="PATTERN", help='Move only tensors with matching names, such as "layer3.*".'
)
@click.option(
    "--normalize", metavar="WAY", default="filter", help="Count what is scaled by filter (default), head or layer."
)
@needing(
    "--canonical",
    needs=unless("sizes", words="the filters of one model, but --sizes counts those of several"),
    is_flag=True,
    help="Explain the canonical form instead, the same for all rescalings of the units.",
)
@click.option("--sizes", is_flag=True, help="Print one line per model: how many filters it has, and how big they are.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain_command(
    models: tuple[str, ...],
    also: tuple[str, ...],
    still: tuple[str, ...],
    only: tuple[str, ...],
    normalize: str,
    canonical: bool,
    sizes: bool,
    as_json: bool,
) -> None:
    """List every tensor of a MODEL: shape, module, rule, number and size of its filters, and whether it moves.

    MODEL is named as for --model in other commands, with or without that flag.

    \b
    Examples:
      lossatlas explain zoo:resnet20
      lossatlas explain --model zoo:resnet20
      lossatlas explain zoo:resnet20 --only "layer3.*"
      lossatlas explain zoo:decoder --normalize head
      lossatlas explain train.py:make_model --still norm
      lossatlas explain "zoo:mlp(widths=(64, 32, 10))" --canonical
      lossatlas explain --sizes zoo:resnet20 zoo:resnet56 zoo:vit
    """
    from lossatlas.cli import names
    from lossatlas.space import canonical as forms
    from lossatlas.space.filters.table import checked_still
    from lossatlas.space.normalize import STILL

    models += also
    if not models:
        raise SpecError(f"MODEL is missing: name it as {names.FORMS}")
    roles = tuple(role for entry in still for role in entry.split(","))
    held = checked_still(() if roles == ("none",) else roles or STILL)
    if sizes:
        lines = [_sizes(model, held, only, normalize) for model in models]
        echo_json(lines) if as_json else click.echo(_markdown(lines))
        return
    if len(models) > 1:
        raise SpecError(f"{len(models)} models are named; only --sizes takes several")
    made = names.model(models[0])
    form = forms.canonical(made) if canonical else None
    made = form.model if form else made
    rows = _rows(made, held, only, normalize)
    if as_json:
        echo_json(rows)
        return
    _print_table(rows)
    _print_summary(rows)
    for line in form.lines if form else forms.caveats(made):
        click.echo(line)


def _rows(model: Any, held: tuple[str, ...], only: tuple[str, ...], normalize: str) -> list[dict[str, Any]]:
    from lossatlas.space import filters

    if normalize not in _LAYOUTS:
        raise SpecError(unknown("normalize", normalize, tuple(_LAYOUTS)))
    table = filters.table(model)
    chosen = set(filters.matching(table, only)) if only else set(table)
    rows = [_row(row, held, row.name in chosen, normalize) for row in table.values()]
    packed = {name: reason for name, reason in filters.quantised(model).items() if name not in table}
    return rows + [_refused(name, reason) for name, reason in packed.items()]


def _sizes(text: str, held: tuple[str, ...], only: tuple[str, ...], normalize: str) -> dict[str, Any]:
    """How many moving filters a model has, and how big they are; a network of the zoo is not even initialised."""
    import torch

    from lossatlas.cli import names

    with torch.device("meta") if text.startswith("zoo:") else contextlib.nullcontext():
        model = names.model(text)
    moving = [row for row in _rows(model, held, only, normalize) if row[""] == "moves"]
    each = sorted((row["size"], row["filters"]) for row in moving)
    parameters = sum(p.numel() for p in model.parameters())
    return {
        "network": text.removeprefix("zoo:"),
        "parameters": parameters,
        "tensors that move": len(moving),
        "filters": sum(count for _, count in each),
        "smallest": each[0][0] if each else 0,
        "median": _median(each),
        "largest": each[-1][0] if each else 0,
        "moved": f"{100 * sum(size * count for size, count in each) / parameters:.1f} %",
    }


def _median(each: list[tuple[int, int]]) -> int:
    """The median size, from sizes in order and how often each occurs."""
    left = sum(count for _, count in each) // 2
    for size, count in each:
        left -= count
        if left < 0:
            return size
    return 0


def _markdown(lines: list[dict[str, Any]]) -> str:
    cells = [[f"{value:,}" if isinstance(value, int) else value for value in line.values()] for line in lines]
    rule = ["---" if name == "network" else "--:" for name in lines[0]]
    return "\n".join(f"| {' | '.join(row)} |" for row in [list(lines[0]), rule, *cells])


_LAYOUTS: dict[str, Any] = {
    "filter": lambda layout: layout,
    "head": lambda layout: layout.by_head,
    "layer": lambda layout: layout.by_layer,
}


def _row(row: Any, held: tuple[str, ...], chosen: bool, normalize: str) -> dict[str, Any]:
    refused = row.frozen and row.reason
    state = "refused" if refused else "frozen" if row.frozen else f"still ({row.role})" if row.role in held else "moves"
    layout = _LAYOUTS[normalize](row.layout)
    return {
        "tensor": row.name + (f" (tied: {', '.join(row.also)})" if row.also else ""),
        "shape": "×".join(map(str, row.shape)) or "1",
        "module": row.module,
        "filter": row.layout.rule + (" (default rule)" if row.default else ""),
        "filters": layout.count,
        "size": layout.size,
        "": state if chosen or state != "moves" else "still (--only)",
        "why": row.reason,
    }


def _refused(name: str, reason: str) -> dict[str, Any]:
    return {
        "tensor": name,
        "shape": "?",
        "module": "",
        "filter": "none",
        "filters": 0,
        "size": 0,
        "": "refused",
        "why": reason,
    }


_NUMBERS = ("filters", "size")


def _print_table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    columns = [column for column in rows[0] if any(row[column] != "" for row in rows)]
    widths = [
        max(len(str(row[column])) for row in [*rows, dict(zip(columns, columns, strict=True))]) for column in columns
    ]
    for row in [dict(zip(columns, columns, strict=True)), *rows]:
        cells = [
            str(row[column]).rjust(width) if column in _NUMBERS else str(row[column]).ljust(width)
            for column, width in zip(columns, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _print_summary(rows: list[dict[str, Any]]) -> None:
    moving = [row for row in rows if row[""] == "moves"]
    filters = sum(row["filters"] for row in moving)
    default = sum("default rule" in row["filter"] for row in rows)
    refused = sum(row[""] == "refused" for row in rows)
    click.echo(f"\n{number_of(len(rows), 'tensor')}; {len(moving)} move, in {number_of(filters, 'filter')}", nl=False)
    click.echo(f"; {refused} refused" if refused else "", nl=False)
    click.echo(f"; {default} by the default rule" if default else "")
