"""`lossatlas topology`: the shape of a sampled field."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from lossatlas.cli.as_json import echo_json
from lossatlas.cli.needed import Checked, flag, needing

__all__ = ["SHOWN", "topology_command"]

SHOWN = 20
"""Critical points of each kind that are printed; --json has all of them."""


@click.command("topology", cls=Checked)
@click.argument("run")
@click.option("--value", metavar="NAME", default="loss", help="Which value: loss (default) or the name of a metric.")
@click.option(
    "--threshold",
    metavar="HEIGHT",
    default="auto",
    help="Smallest persistence that counts; auto (default) takes it from the stated error of the values.",
)
@click.option("--out", multiple=True, metavar="PICTURE", help="Draw the map with its basins, minima and saddles.")
@click.option("--tree", multiple=True, metavar="PICTURE", help="Draw the merge tree and the persistence diagram.")
@needing(
    "--scale", needs=flag("out"), metavar="SCALE", default="auto", help="Scale of the map: auto (default), linear, log."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def topology_command(
    run: str, value: str, threshold: str, out: tuple[str, ...], tree: tuple[str, ...], scale: str, as_json: bool
) -> None:
    """Find the minima, saddles and basins of a RUN (a run folder or a .nc file), and how they are connected.

    A field with holes is refused, since a hole could hide a minimum or a pass.

    \b
    Examples:
      lossatlas topology runs/a
      lossatlas topology runs/a --out basins.png --tree tree.pdf
      lossatlas topology runs/a --threshold 0.1 --json
    """
    import lossatlas as la
    from lossatlas.draw import check_path
    from lossatlas.results.opening import landscape_at

    for path in (*out, *tree):
        check_path(path)
    landscape = landscape_at(run)
    found = la.topology(landscape, value, threshold=threshold if threshold == "auto" else _number(threshold))  # type: ignore[arg-type]
    if as_json:
        echo_json(_facts(found))
    else:
        _print(found)
    for path in out:
        overlays = found.overlay() if found.basins.ndim == 2 else ()
        click.echo(f"drawn: {la.draw(landscape, path, value=value, scale=scale, overlays=overlays)}", err=as_json)
    for path in tree:
        click.echo(f"drawn: {la.draw(found, path)}", err=as_json)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}; expected a number or auto", param_hint="--threshold") from None


def _facts(found: Any) -> dict[str, Any]:
    return {
        "value": found.value,
        "words": found.words,
        "caveat": found.caveat,
        "minima": [asdict(point) for point in found.minima],
        "saddles": [asdict(point) for point in found.saddles],
        "maxima": [asdict(point) for point in found.maxima],
        "merges": [
            {"ends": younger + 1, "goes on": elder + 1, "at": saddle.value} for younger, elder, saddle in found.merges
        ],
    }


def _print(found: Any) -> None:
    from lossatlas.figure.words import number

    click.echo(found.words)
    for kind in ("minima", "saddles", "maxima"):
        points = getattr(found, kind)
        if points:
            click.echo(f"\n{kind}:")
        for index, point in enumerate(points[:SHOWN], start=1):
            place = ", ".join(f"{axis} = {number(at)}" for axis, at in point.coordinates.items())
            edge = ", on the edge of the field" if point.boundary else ""
            stands = "" if point.persistence == float("inf") else f", persistence {number(point.persistence)}"
            click.echo(f"  {index}: {found.value} {number(point.value)} at {place}{stands}{edge}")
        if len(points) > SHOWN:
            click.echo(f"  … and {len(points) - SHOWN} more")
    for younger, elder, saddle in found.merges[:SHOWN]:
        click.echo(f"minimum {younger + 1} joins minimum {elder + 1} at {found.value} {number(saddle.value)}")
    click.echo(f"\n{found.caveat}")
