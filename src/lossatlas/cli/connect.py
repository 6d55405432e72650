"""`lossatlas connect`: the barrier between two networks, alignment, and a trained path around the barrier."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import click

from lossatlas.cli import Failure
from lossatlas.cli.needed import Need, flag, needing
from lossatlas.cli.numbers_kept import own_run
from lossatlas.cli.options import WHAT, Measuring, flags, settings
from lossatlas.errors import SpecError, unknown

__all__ = ["CURVES", "connect_command"]

CURVES = ("none", "bezier", "polygon")
UNFINISHED = "The curve is not finished: the same lossatlas connect command continues it."


_CURVE = Need(words="a curve", met=lambda told: told["curve"] != "none", so="add --curve bezier or polygon")


@click.command("connect", cls=Measuring, own="Second network and curve")
@flags(WHAT)
@flags(("metric", "seed", "title", "run"), needs={"seed": _CURVE})
@click.option("--to", required=True, metavar="FILE", help="Checkpoint of the second network.")
@click.option("--align", is_flag=True, help="Permute the units of the second network to match the first.")
@click.option("--curve", default="none", show_default=True, metavar="KIND", help="Train a curve: bezier or polygon.")
@needing(
    "--bends", needs=_CURVE, type=int, default=1, show_default=True, metavar="N", help="Trained points on the curve."
)
@needing(
    "--epochs",
    needs=_CURVE,
    type=int,
    default=60,
    show_default=True,
    metavar="N",
    help="Epochs of training for the curve.",
)
@needing(
    "--lr",
    needs=_CURVE,
    type=float,
    default=0.05,
    show_default=True,
    metavar="RATE",
    help="Learning rate for training the curve.",
)
@click.option("--steps", type=int, default=25, show_default=True, metavar="N", help="Points along each path.")
@click.option("--out", multiple=True, metavar="PICTURE", help="Draw the loss along the paths. Repeatable.")
@needing(
    "--scale",
    needs=flag("out", "plane", "report"),
    default="auto",
    show_default=True,
    metavar="SCALE",
    help="Scale of the pictures: auto (linear along the paths), linear, log.",
)
@needing(
    "--plane",
    needs=_CURVE,
    metavar="PICTURE",
    help="Draw the surface through both networks and the bend, with the curve on it.",
)
@needing(
    "--grid",
    needs=(_CURVE, flag("plane", "report")),
    type=int,
    metavar="N",
    default=31,
    show_default=True,
    help="Points along each axis of --plane.",
)
@click.option("--report", metavar="PAGE", help="Everything on one html page.")
def connect_command(
    config: Path | None, to: str, align: bool, curve: str, bends: int, epochs: int, lr: float, steps: int,
    out: tuple[str, ...], scale: str, plane: str | None, grid: int, report: str | None, **given: Any,
) -> None:  # fmt: skip
    """Measure the barrier on the line between two networks, align them, and train a low-loss curve around it.

    BatchNorm statistics are measured afresh at every point unless --batchnorm says otherwise, since neither network's
    own statistics fit in between. The curve is trained on --data. With --run, paths, curve and surface are kept in a
    folder, with the state of training saved every few seconds; the same command resumes there, and `lossatlas draw` and
    `info` read it.

    \b
    Examples:
      The barrier before and after alignment:
        lossatlas connect --model zoo:mlp --data zoo:digits --checkpoint a.pt --to b.pt --align
      A curve, the loss along it, and the plane that contains it:
        lossatlas connect --model zoo:resnet20 --data train.py:loader --checkpoint a.pt --to b.pt \\
            --curve bezier --out ways.png --plane plane.png --run runs/ways
      Draw what was kept, with no need for the model:
        lossatlas draw runs/ways -o ways.pdf --scale log
        lossatlas draw runs/ways/plane -o plane.html
    """
    from lossatlas.draw.view import ScaleOption

    if curve not in CURVES:
        raise SpecError(unknown("curve", curve, CURVES))
    if scale not in get_args(ScaleOption):
        raise SpecError(unknown("scale", scale, get_args(ScaleOption)))
    _check([*out, *([plane] if plane else [])])
    told = {"batchnorm": "recalibrated"} | settings(config, given)
    folder = own_run(told, given["run"], ("connection",))
    told.pop("run", None)
    recipe = {"epochs": epochs, "lr": lr, "seed": told.get("seed") or 0}
    trained = None if curve == "none" else (curve, bends, recipe)
    if folder:
        _check_kept(Path(folder), steps, trained, grid if plane or report else 0, aligned=align)
    objective, ends = _ends(told, to)
    found = _Found(objective, ends, steps, folder, trains=trained is not None)
    try:
        found.line(aligned=align)
        if trained is not None:
            found.connect(*trained)
        found.write(out, plane, grid, report, scale)
    except KeyboardInterrupt:
        raise Failure(_stopped(folder)) from None


def _check_kept(folder: Path, steps: int, trained: Any, grid: int, *, aligned: bool) -> None:
    """Check, before anything is loaded, that what a folder keeps is what is asked for."""
    from lossatlas.connect.connections import PLANE
    from lossatlas.connect.curve_training import Training, check_kept
    from lossatlas.results.asked import check_points

    for name in ("line", *(["line-before-alignment"] if aligned else []), *(["curve"] if trained else [])):
        check_points(folder / name, {"x": steps}, f"--steps {steps}")
    if trained:
        kind, bends, recipe = trained
        check_kept(folder, kind, bends, Training(**recipe))
    if grid:
        check_points(folder / PLANE, {"x": grid, "y": grid}, f"--grid {grid}")


def _ends(told: dict[str, Any], to: str) -> tuple[Any, list[Any]]:
    """The objective, and the two networks."""
    from lossatlas.cli.scan import Scan, all_samples, another, build_model, build_objective

    scan = all_samples(Scan(**told), "a path between networks")
    model = build_model(scan)
    objective = build_objective(scan, model)
    return objective, [model, another(scan, objective, to)]


class _Found:
    """What is found: printed as it comes, and kept if a folder is named."""

    def __init__(self, objective: Any, ends: list[Any], steps: int, run: str, *, trains: bool) -> None:
        from lossatlas.connect.connections import folder_for

        self.objective, self.ends, self.steps, self.trains = objective, ends, steps, trains
        self.folder = folder_for(run) if run else None
        self.ways: dict[str, Any] = {}
        self.lines: list[tuple[str, Any]] = []
        self.names: dict[str, str] = {}
        self.notes: list[str] = []
        self.connection: Any = None
        self.earlier = _earlier(self.folder)

    def line(self, *, aligned: bool) -> None:
        import lossatlas as la
        from lossatlas.connect.barriers import CAVEAT
        from lossatlas.objective.described import samples_words

        objective = self.objective
        alignment = la.align(objective, self.ends[1]) if aligned else None
        first = "line-before-alignment" if alignment is not None and alignment.moved else "line"
        found, way = self._barrier(first)
        mode = way.attrs["batchnorm"]
        click.echo(f"data: {objective.data_name}, {samples_words(objective)}{f'; BatchNorm {mode}' if mode else ''}")
        self._say("straight line", found, way, first)
        click.echo(CAVEAT)
        if alignment is not None:
            self._align(alignment)

    def _align(self, aligned: Any) -> None:
        click.echo(f"alignment: {aligned.words}")
        for reason in aligned.reasons[:5]:
            click.echo(f"note: held still: {reason}", err=True)
        if aligned.moved:
            self.ends[1] = aligned
            self._say("straight line after alignment", *self._barrier("line"), "line")
        else:
            self.notes.append("Alignment permuted no units: the line after it is the straight line itself.")
            click.echo(self.notes[-1])
        click.echo(
            "Weight matching finds a local optimum: another start may find permutations that match better still."
        )

    def _barrier(self, name: str) -> tuple[Any, Any]:
        from lossatlas.connect.barriers import barrier

        return barrier(self.objective, *self.ends, steps=self.steps, run=self.folder and self.folder / name)

    def _say(self, words: str, found: Any, way: Any, name: str) -> None:
        self.ways[words], self.names[name] = way, words
        self.lines.append((words, found))
        self.keep(training=self.trains)
        click.echo(f"{words}: {found.words}")
        _metrics(way)

    def connect(self, kind: str, bends: int, recipe: dict[str, Any]) -> None:
        import lossatlas as la
        from lossatlas.connect.curve import TRAINED
        from lossatlas.connect.curve_training import Training

        options: dict[str, Any] = {"kind": kind, "bends": bends, "steps": self.steps, "training": Training(**recipe)}
        self.connection = la.connect(self.objective, *self.ends, run=self.folder, progress=True, **options)
        name = TRAINED[kind]
        self.ways[name], self.names["curve"] = self.connection.landscape, name
        self.lines.append((name, self.connection.barrier))
        self.keep()
        longer = self.connection.curve.length / self.connection.line["x"].attrs["length"]
        click.echo(f"{name}, {longer:.2f} times as long: {self.connection.barrier.words}")
        _metrics(self.connection.landscape)
        click.echo("The curve is low on the data it was trained on; measure it on held-out data too.")

    def plot(self, scale: Any) -> Any:
        from lossatlas.connect.connections import plot
        from lossatlas.connect.curve import TITLE

        told = [(name, found, found.words) for name, found in self.lines]
        return plot(self.ways, title=TITLE, caption=self._caption(told, self.notes), scale=scale)

    def _caption(self, told: Sequence[tuple[str, Any, str]], notes: Sequence[str]) -> tuple[str, ...]:
        """The text below a picture of paths: their words, their barriers, and these in a sentence."""
        from lossatlas.connect.barriers import heights
        from lossatlas.connect.connections import caption
        from lossatlas.figure.words import capital

        each = [f"{capital(words)}: {said}." for words, _, said in told]
        return caption(heights([found for _, found, _ in told]), each, list(self.ways.values()), notes)

    def keep(self, upon: Sequence[Any] | None = None, *, training: bool = False) -> None:
        """Record in the folder what its paths are, with those of an earlier call, and what is drawn on its surface.

        Args:
            upon: what is drawn there; by default what the folder has so far.
            training: a curve is about to be trained, which a picture of the others must say.
        """
        from lossatlas.connect.connections import note
        from lossatlas.connect.curve import TITLE

        if self.folder is None:
            return
        there = {name: words for name, words in self.names.items() if (self.folder / name).is_dir()}
        told = [(words, found, found.words) for words, found in self.lines]
        for name, words, found, said in self.earlier:
            if name not in there and words not in self.ways:
                there[name] = words
                told.append((words, found, said))
        notes = [*self.notes, *([UNFINISHED] if training and "curve" not in there else [])]
        barriers = {words: said for words, _, said in told}
        note(self.folder, there, title=TITLE, caption=self._caption(told, notes), barriers=barriers, upon=upon)

    def write(self, out: tuple[str, ...], plane: str | None, grid: int, page: str | None, scale: str) -> None:
        import lossatlas as la
        from lossatlas.connect.barriers import CAVEAT
        from lossatlas.connect.connections import PLANE
        from lossatlas.draw.report import report
        from lossatlas.figure.parts import Heading, Number, Picture

        for picture in out:
            click.echo(f"drawn: {la.draw(self.plot(scale), picture)}")
        surface = None
        if self.connection is not None and (plane or page):
            found = self.connection
            kept = self.folder and self.folder / PLANE
            self.keep(found.overlay())  # first, so that an unfinished surface has its curve
            surface = la.sample(self.objective, found.plane(), la.Grid(**found.bounds(grid)), run=kept)
        if plane and surface is not None:
            click.echo(f"drawn: {la.draw(surface, plane, overlays=self.connection.overlay(), scale=scale)}")
        if page:
            parts: list[Any] = [Number(f"barrier, {name}", found.words, caveat=CAVEAT) for name, found in self.lines]
            parts += [Heading("Loss along the ways"), self.plot(scale)]
            if surface is not None:
                shown = Picture(surface, view={"overlays": self.connection.overlay(), "scale": scale})
                parts += [Heading("The plane through both networks and the bend"), shown]
            click.echo(f"written: {report(page, 'Between two networks', parts)}")
        if self.folder is not None:
            click.echo(f"kept: {self.folder} (lossatlas draw {shlex.quote(str(self.folder))} -o picture.html)")


def _earlier(folder: Path | None) -> list[tuple[str, str, Any, str]]:
    """The paths that a folder has from earlier calls: name, words, barrier and its words; none that is damaged."""
    from lossatlas.connect.barriers import height
    from lossatlas.connect.connections import CONNECTION, opened

    if folder is None or not (folder / CONNECTION).exists():
        return []
    with contextlib.suppress(SpecError):
        ways = opened(folder)
        return [
            (place.name, words, height(ways.landscapes[words]), ways.barriers[words])
            for words, place in ways.folders.items()
        ]
    return []


def _metrics(way: Any) -> None:
    """Print the metrics along a path."""
    from lossatlas.figure.words import number
    from lossatlas.results.landscape import value_names

    for name in value_names(way)[1:]:
        values = way[name].values
        ends, between = (" and ".join(map(number, pair)) for pair in (values[[0, -1]], (values.min(), values.max())))
        click.echo(f"  {name}: ends {ends}; between {between} along the path")


def _stopped(folder: str) -> str:
    if not folder:
        return "stopped; nothing was kept, since no --run folder was named"
    return f"stopped; the work done so far is safe in {folder}. To continue: {shlex.join(['lossatlas', *sys.argv[1:]])}"


def _check(pictures: list[str]) -> None:
    from lossatlas.draw import check_path

    for picture in pictures:
        check_path(picture)
