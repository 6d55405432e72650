"""`lossatlas info`: what a result is and how far it has got."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import click

from lossatlas.cli.as_json import echo_json
from lossatlas.figure.words import with_errors

__all__ = ["info_command"]


@click.command("info")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info_command(run: str, as_json: bool) -> None:
    """Show what a RUN is (a run folder or a .nc file): model, data, axes, centre, progress, failures.

    For a folder of `lossatlas connect` it shows the paths and the barrier on each; for a recorded path, its checkpoints
    and the variance that its components explain; for several seeds, their spread; for a .json of `lossatlas sharpness`,
    the measures.

    For a picture drawn by lossatlas (png, pdf, svg, jpg, webp, eps) it says what the picture shows and how it was made.

    \b
    Examples:
      lossatlas info runs/a
      lossatlas info a.nc --json
      lossatlas info runs/path
      lossatlas info figure.pdf
    """
    from lossatlas.cli.kinds import opened
    from lossatlas.draw import record

    if Path(run).suffix.lower() in record.PICTURES and Path(run).is_file():
        _say(_flat(record.read(run)), as_json=as_json)
        return
    _say(opened(run).facts(), as_json=as_json)


def _flat(found: dict[str, Any]) -> dict[str, Any]:
    """What a picture records about a single landscape is shown without a list around it."""
    shown = found.get("landscapes") or []
    words = " ".join(found["caption"]) if isinstance(found.get("caption"), list) else found.get("caption", "")
    rest = {name: value for name, value in found.items() if name not in ("landscapes", "caption")}
    if len(shown) == 1 and isinstance(shown[0], dict):
        return {**shown[0], **rest, "caption": words}
    return {**{f"landscape {index + 1}": one for index, one in enumerate(shown)}, **rest, "caption": words}


def _say(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        echo_json(facts)
    else:
        _print(facts)


def _print(facts: dict[str, Any], indent: str = "") -> None:
    """Print what is known, a line for each; what is empty or unknown is left out."""
    for name, value in facts.items():
        if isinstance(value, dict) and value.keys() == {"value", "unit", "caveat"}:
            click.echo(f"{indent}{name}: {_stated(**value)}")
        elif isinstance(value, dict):
            if any(map(_told, value.values())):
                click.echo(f"{indent}{name}:")
                _print(value, indent + "  ")
        elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            click.echo(f"{indent}{name}:")
            for row in with_errors(value):
                click.echo(f"{indent}  {', '.join(f'{word} {_short(one)}' for word, one in row.items())}")
        elif isinstance(value, str) and "\n" in value.strip():
            click.echo(f"{indent}{name}:")
            click.echo(textwrap.indent(value.strip(), indent + "  "))
        elif _told(value):
            click.echo(f"{indent}{name}: {_short(value)}")


def _stated(value: Any, unit: str, caveat: str) -> str:
    """A number with its unit, its error, and what it does not prove."""
    words = " ".join(filter(None, [_short(value), unit]))
    return f"{words} ({caveat})" if caveat else words


def _told(value: Any) -> bool:
    """Whether there is something to print."""
    if isinstance(value, dict):
        return any(map(_told, value.values()))
    return value is not None and value not in ([], "")


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
