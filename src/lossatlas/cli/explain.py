"""`lossatlas explain`: what a filter is, and what moves, for every tensor of a model."""

from __future__ import annotations

import json
from typing import Any

import click


@click.command("explain")
@click.argument("model")
@click.option("--still", multiple=True, metavar="ROLE", help="Roles that stay: bias, norm, weight or none.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain_command(model: str, still: tuple[str, ...], as_json: bool) -> None:
    """Print the filters of a MODEL: tensor, shape, module, rule, number of filters, and whether it moves.

    \b
    Examples:
      lossatlas explain zoo:resnet20
      lossatlas explain train.py:make_model --still norm
      lossatlas explain "zoo:mlp(widths=(64, 32, 10))" --json
    """
    from lossatlas.cli import names
    from lossatlas.space import filters
    from lossatlas.space.normalize import STILL

    roles = tuple(role for entry in still for role in entry.split(","))
    held = filters.checked_still(() if roles == ("none",) else roles or STILL)
    table = filters.table(names.model(model))
    rows = [_row(row, held) for row in table.values()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    _print_table(rows)
    _print_summary(rows)


def _row(row: Any, held: tuple[str, ...]) -> dict[str, Any]:
    reason = "frozen" if row.frozen else f"still ({row.role})" if row.role in held else "moves"
    return {
        "tensor": row.name + (f" (tied: {', '.join(row.also)})" if row.also else ""),
        "shape": "×".join(map(str, row.shape)) or "1",
        "module": row.module,
        "filter": row.layout.rule + (" (default rule)" if row.default else ""),
        "filters": row.layout.count,
        "": reason,
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    columns = list(rows[0])
    widths = [
        max(len(str(row[column])) for row in [*rows, dict(zip(columns, columns, strict=True))]) for column in columns
    ]
    for row in [dict(zip(columns, columns, strict=True)), *rows]:
        cells = [
            str(row[column]).rjust(width) if column == "filters" else str(row[column]).ljust(width)
            for column, width in zip(columns, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _print_summary(rows: list[dict[str, Any]]) -> None:
    moving = [row for row in rows if row[""] == "moves"]
    filters = sum(row["filters"] for row in moving)
    default = sum("default rule" in row["filter"] for row in rows)
    click.echo(f"\n{len(rows)} tensors; {len(moving)} move, in {filters} filters", nl=False)
    click.echo(f"; {default} by the default rule" if default else "")
