"""`lossatlas connect`: the barrier between two networks, alignment, and a trained way round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lossatlas.cli.options import WHAT, flags, settings
from lossatlas.errors import SpecError, unknown

CURVES = ("none", "bezier", "polygon")


@click.command("connect")
@flags(WHAT)
@flags(("metric", "seed", "title"))
@click.option("--to", required=True, metavar="FILE", help="Checkpoint of the second network.")
@click.option("--align", is_flag=True, help="Permute the units of the second network to match the first.")
@click.option("--curve", default="none", show_default=True, metavar="KIND", help="Train a way: bezier or polygon.")
@click.option("--bends", type=int, default=1, show_default=True, help="Points of the curve that are trained.")
@click.option("--epochs", type=int, default=60, show_default=True, help="Passes over the data, to train the curve.")
@click.option("--lr", type=float, default=0.05, show_default=True, help="Learning rate, to train the curve.")
@click.option("--steps", type=int, default=25, show_default=True, help="Points along each way.")
@click.option("--out", multiple=True, metavar="PICTURE", help="The loss along the ways. May be repeated.")
@click.option("--plane", metavar="PICTURE", help="The surface through both networks and the bend, with the curve.")
@click.option("--grid", type=int, default=31, show_default=True, help="Points along each axis of --plane.")
@click.option("--report", metavar="PAGE", help="All of it on one html page.")
def connect_command(
    config: Path | None, to: str, align: bool, curve: str, bends: int, epochs: int, lr: float, steps: int,
    out: tuple[str, ...], plane: str | None, grid: int, report: str | None, **given: Any,
) -> None:  # fmt: skip
    """Measure the barrier on the line between two networks; align them; train a low way round.

    BatchNorm statistics are measured again at every point unless --batchnorm says otherwise: on the way nobody else
    knows them. The curve is trained on --data.

    \b
    Examples:
      The barrier before and after alignment:
        lossatlas connect --model zoo:mlp --data zoo:digits --checkpoint a.pt --to b.pt --align
      A curve, the loss along it, and the plane that holds it:
        lossatlas connect --model zoo:resnet20 --data train.py:loader --checkpoint a.pt --to b.pt \\
            --curve bezier --out ways.png --plane plane.png
    """
    if curve not in CURVES:
        raise unknown("curve", curve, CURVES)
    if plane and curve == "none":
        raise SpecError("--plane needs a curve: the plane goes through its bend; add --curve bezier")
    _check([*out, *([plane] if plane else [])])
    objective, ends = _ends({"batchnorm": "recalibrated"} | settings(config, given), to)
    found = _Found(objective, ends, steps)
    if align:
        found.align()
    if curve != "none":
        found.connect(curve, bends, epochs, lr, seed=given.get("seed") or 0)
    found.write(out, plane, grid, report)


def _ends(told: dict[str, Any], to: str) -> tuple[Any, list[Any]]:
    """The objective, and the two networks."""
    from lossatlas.cli.scan import Scan, another, build_model, build_objective

    scan = Scan(**told)
    model = build_model(scan)
    objective = build_objective(scan, model)
    return objective, [model, another(scan, objective, to)]


class _Found:
    """What is found, printed as it is."""

    def __init__(self, objective: Any, ends: list[Any], steps: int) -> None:
        from lossatlas.analysis.barriers import CAVEAT, barrier

        self.objective, self.ends, self.steps = objective, ends, steps
        self.first, way = barrier(objective, *ends, steps=steps)
        self.ways, self.lines = {"straight line": way}, [("straight line", self.first)]
        self.connection: Any = None
        mode = way.attrs["batchnorm"]
        click.echo(f"data: {objective.data_name}, {objective.samples} samples{f'; BatchNorm {mode}' if mode else ''}")
        click.echo(f"straight line: {self.first.words}")
        click.echo(CAVEAT)

    def align(self) -> None:
        import lossatlas as la
        from lossatlas.analysis.barriers import barrier

        aligned = la.align(self.objective, self.ends[1])
        click.echo(f"alignment: {aligned.words}")
        for reason in aligned.reasons[:5]:
            click.echo(f"note: held still: {reason}", err=True)
        found, way = barrier(self.objective, self.ends[0], aligned, steps=self.steps)
        click.echo(f"straight line after alignment: {found.words}")
        click.echo("Weight matching finds a local optimum: another start may find permutations that match better.")
        self.ends[1] = aligned
        self.ways["straight line after alignment"] = way
        self.lines.append(("straight line after alignment", found))

    def connect(self, kind: str, bends: int, epochs: int, lr: float, *, seed: int) -> None:
        import lossatlas as la
        from lossatlas.analysis.connectivity import Training

        training = Training(epochs=epochs, lr=lr, seed=seed)
        options: dict[str, Any] = {"kind": kind, "bends": bends, "steps": self.steps, "training": training}
        self.connection = la.connect(self.objective, *self.ends, progress=True, **options)
        name = f"trained {'Bézier curve' if kind == 'bezier' else 'chain of lines'}"
        self.ways[name] = self.connection.landscape
        self.lines.append((name, self.connection.barrier))
        longer = self.connection.curve.length / self.connection.line["x"].attrs["length"]
        click.echo(f"{name}, {longer:.2f} times as long: {self.connection.barrier.words}")
        click.echo("The curve is low on the data that it was trained on; measure it on other data too.")

    def plot(self) -> Any:
        from lossatlas.analysis.barriers import CAVEAT, plot

        words = tuple(f"{name[0].upper()}{name[1:]}: {found.words}." for name, found in self.lines)
        return plot(self.ways, title="Between two networks", caption=(*words, CAVEAT))

    def write(self, out: tuple[str, ...], plane: str | None, grid: int, page: str | None) -> None:
        import lossatlas as la
        from lossatlas.analysis.barriers import CAVEAT
        from lossatlas.draw.report import Heading, Number, Picture, report

        for picture in out:
            click.echo(f"drawn: {la.draw(self.plot(), picture)}")
        surface = None
        if self.connection is not None and (plane or page):
            found = self.connection
            surface = la.sample(self.objective, found.plane(), la.Grid(**found.bounds(grid)))
        if plane and surface is not None:
            click.echo(f"drawn: {la.draw(surface, plane, overlays=self.connection.overlay())}")
        if page:
            parts: list[Any] = [Number(f"barrier, {name}", found.words, caveat=CAVEAT) for name, found in self.lines]
            parts += [Heading("Loss along the ways"), self.plot()]
            if surface is not None:
                shown = Picture(surface, view={"overlays": self.connection.overlay()})
                parts += [Heading("The plane through both networks and the bend"), shown]
            click.echo(f"written: {report(page, 'Between two networks', parts)}")


def _check(pictures: list[str]) -> None:
    from lossatlas.draw import check_path

    for picture in pictures:
        check_path(picture)
