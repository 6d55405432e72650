"""`lossatlas draw`: pictures of results."""

from __future__ import annotations

from typing import Any

import click


@click.command("draw")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "-o", "--out", multiple=True, required=True, metavar="PICTURE", help="The file; its ending says what it is."
)
@click.option("--value", metavar="NAME", help="What is drawn: loss (default) or the name of a metric.")
@click.option("--kind", metavar="KIND", help="auto (default), line, contour, filled, heat, surface.")
@click.option("--scale", metavar="SCALE", help="auto (default), linear, log.")
@click.option("--clip", metavar="VALUE", help="Largest value shown: auto (default), none, or a number.")
@click.option("--levels", type=int, metavar="N", help="About how many contour lines (12).")
@click.option("--theme", metavar="THEME", help="light (default), dark, talk.")
@click.option("--title", metavar="TEXT", help="Heading of the picture.")
@click.option("--points", is_flag=True, default=None, help="Show which points were evaluated (after --adaptive).")
@click.option("--holes", is_flag=True, help="Leave what is not evaluated yet empty, instead of interpolating it.")
def draw_command(runs: tuple[str, ...], out: tuple[str, ...], clip: str | None, holes: bool, **fields: Any) -> None:
    """Draw one or more results: run folders, finished or not, or .nc files.

    Several results share axes, levels, colours and camera. Of a run that is not finished, the points to come are
    interpolated, and the caption says so: a grid is visited coarse to fine, so a picture exists after a few seconds.

    \b
    Examples:
      lossatlas draw runs/a -o a.png
      lossatlas draw runs/a -o a.html -o a.pdf
      lossatlas draw runs/a -o surface.svg --kind surface --scale log
      lossatlas draw runs/skip runs/noskip -o comparison.html
      lossatlas draw runs/a -o error.png --value error
      lossatlas draw runs/a -o a.glb          (Blender; .vtp and .vti for ParaView, .stl for printing)
    """
    import lossatlas as la
    from lossatlas.analysis.filling import preview
    from lossatlas.draw import check_path

    for path in out:
        check_path(path)
    view: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if clip is not None:
        view["clip"] = None if clip == "none" else clip if clip == "auto" else _number(clip)
    landscapes = [la.open(run) if holes else preview(la.open(run)) for run in runs]
    for path in out:
        click.echo(f"drawn: {la.draw(landscapes if len(landscapes) > 1 else landscapes[0], path, **view)}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}; expected a number, auto or none", param_hint="--clip") from None
