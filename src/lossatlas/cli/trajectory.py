"""`lossatlas trajectory`: which way a training run went, and what the surface shows of it."""

from __future__ import annotations

import shlex
import warnings
from pathlib import Path
from typing import Any

import click

from lossatlas.cli.filming import grown, lengths
from lossatlas.cli.needed import Need, flag, needing
from lossatlas.cli.numbers_kept import own_run
from lossatlas.cli.options import WHAT, Measuring, flags, settings
from lossatlas.cli.printed import named
from lossatlas.errors import SpecError
from lossatlas.oneline import number_of

__all__ = ["trajectory_command"]


_SURFACE = flag("model", "config", words="the surface under the path, which needs --model and --data")


@click.command("trajectory", cls=Measuring, own="The path")
@click.argument("folders", nargs=-1, metavar="[FOLDER]...")
@click.option("--folder", "more", multiple=True, metavar="FOLDER", help="The same as FOLDER. Repeatable.")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=FOLDER", help="A folder and what to call it. Repeatable."
)
@flags(("config", "model"))
@flags((name for name in WHAT if name not in ("config", "model", "prefix")), needs=_SURFACE)
@flags(("metric", "x", "y", "plan", "precision", "run", "title"), needs=_SURFACE)
@needing(
    "--grid",
    needs=(
        _SURFACE,
        Need(
            words="axes that enclose the path, but --x and --y say where both end",
            met=lambda told: not (told["x"] and told["y"]),
            so="leave it out",
        ),
    ),
    type=int,
    metavar="N",
    default=31,
    show_default=True,
    help="Points along each axis; the axes enclose the path.",
)
@click.option(
    "--centre",
    default="mean",
    show_default=True,
    metavar="WHICH",
    help="Take the variance about the mean or the last checkpoint.",
)
@click.option("--tensors", default="all", show_default=True, metavar="WHICH", help="all, or weights as in the paper.")
@click.option(
    "--prefix",
    default="",
    metavar="TEXT",
    help="What the parameter names in the checkpoints begin with, such as 'net.'.",
)
@needing("--out", needs=_SURFACE, multiple=True, metavar="PICTURE", help="Draw the path on the surface. Repeatable.")
@click.option("--variance", metavar="PICTURE", help="Draw the explained variance beside that of a random walk.")
@needing(
    "--losses",
    needs=_SURFACE,
    metavar="PICTURE",
    help="Draw the loss of the networks, that of the surface below them, and their distance from it.",
)
@needing(
    "--film",
    needs=_SURFACE,
    metavar="FILM",
    help="Film the path as it grows over the surface: .mp4, .gif, .webp, or a folder.",
)
@lengths(flag("film"))
@needing("--report", needs=_SURFACE, metavar="PAGE", help="Everything on one html page.")
def trajectory_command(
    folders: tuple[str, ...], more: tuple[str, ...], labels: tuple[str, ...], config: Path | None,
    grid: int, centre: str, tensors: str, prefix: str,
    out: tuple[str, ...], variance: str | None, losses: str | None, film: str | None, report: str | None,
    seconds: float, rate: int, width: int, **given: Any,
) -> None:  # fmt: skip
    """Show the path of a training run: its explained variance beside a random walk's, and its course on the surface.

    A FOLDER is what a lossatlas.Recorder wrote, or one of checkpoints; several are several runs in one plane.

    Without --model and --data it prints what the checkpoints say on their own. The surface lies in the principal plane
    through the last checkpoint; the model takes its weights and BatchNorm statistics.

    \b
    Examples:
      Only the explained variance:
        lossatlas trajectory runs/path
      The path on the surface, and the loss of the networks beside that of the surface:
        lossatlas trajectory runs/path --model train.py:make_model --data train.py:loader \\
            --grid 31 --run runs/plane --out path.png --losses losses.png
      Two optimisers on one surface:
        lossatlas trajectory --label SGD=runs/sgd --label Adam=runs/adam --model train.py:make_model \\
            --data train.py:loader --out both.png
    """
    import lossatlas as la
    from lossatlas.figure.words import number

    _check([*out, *(picture for picture in (variance, losses) if picture)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what was left out is printed
        path = la.Trajectory.open(_source((*folders, *more), labels), tensors=tensors, prefix=prefix)
    found = path.principal(centre=centre)  # type: ignore[arg-type]  # checked there
    _print_path(path, found)
    if variance:
        click.echo(f"drawn: {la.draw(found, variance)}")
    if not given.get("model") and not config:
        return
    told = settings(config, given)
    told["run"] = own_run(told, given["run"], ())
    overlays, landscape, along = _measured(path, told, grid, centre)
    click.echo(along.words)
    for name in [name for name in along.own if name != "loss"]:
        first, last = (number(float(along.own[name][at])) for at in (0, -1))
        click.echo(f"{name} of the networks: {first} at the first checkpoint, {last} at the last")
    for picture in out:
        click.echo(f"drawn: {la.draw(landscape, picture, overlays=overlays)}")
    if losses:
        click.echo(f"drawn: {la.draw(along, losses)}")
    if film:
        grown(landscape, film, overlays, seconds=seconds, rate=rate, width=width)
    if report:
        click.echo(f"written: {_page(report, found, path, landscape, overlays, along)}")
    if run := told.get("run"):
        click.echo(f"kept: {run} (lossatlas draw {shlex.quote(run)} -o picture.html)")


def _source(folders: tuple[str, ...], labels: tuple[str, ...]) -> str | dict[str, str]:
    """One folder, or several by name; those without a name get just enough of their path to tell them apart.

    Returns:
        What a Trajectory opens.

    Raises:
        SpecError: none, or two of one name.
    """
    from lossatlas.paths.several import run_names

    every, names = named(folders, labels, "a folder of checkpoints", "NAME=FOLDER")
    if len(every) == 1:
        return every[0]
    own = run_names([Path(one) for one in every])
    called = [name or short for name, short in zip(names or [""] * len(every), own, strict=True)]
    if twice := next((name for name in called if called.count(name) > 1), ""):
        raise SpecError(f"two runs are called {twice!r}; name each with --label NAME=FOLDER")
    return dict(zip(called, every, strict=True))


def _print_path(path: Any, found: Any) -> None:
    from lossatlas.paths.findings import CAVEAT

    if len(path.runs) > 1:
        each = [f"{name} ({number_of(count, 'checkpoint')})" for name, count in zip(path.names, path.runs, strict=True)]
        click.echo(f"runs: {', '.join(each)}")
    click.echo(f"path: {path.words}")
    if path.left_out:
        click.echo(f"left out: {', '.join(path.left_out)}")
    click.echo(f"{'component':>9} {'variance':>9} {'random walk':>12} {'90 % of walks':>18}")
    null = found.null
    for i, share in enumerate(found.shares):
        spread = f"{100 * null.low[i]:.1f} to {100 * null.high[i]:.1f} %"
        click.echo(f"{i + 1:>9} {100 * share:>7.1f} % {100 * null.shares[i]:>10.1f} % {spread:>18}")
    click.echo(found.words)
    click.echo(CAVEAT)
    click.echo(path.contrast().words)


def _measured(path: Any, told: dict[str, Any], grid: int, centre: str) -> tuple[Any, Any, Any]:
    """The surface, the path over it, and the losses along it."""
    import lossatlas as la
    from lossatlas.cli.scan import Scan, all_samples, build_model, build_objective
    from lossatlas.figure.kept import keep
    from lossatlas.results.asked import check_points

    scan = all_samples(Scan(**told), "the losses along a path")
    if scan.run:
        points = {axis: (getattr(scan, axis) or (0, 0, grid))[2] for axis in "xy"}
        check_points(Path(scan.run), points, "--x or --y" if scan.x or scan.y else f"--grid {grid}")
    model = build_model(scan)
    path.load(model)
    objective = build_objective(scan, model)
    plane = path.plane(centre=centre)
    along = path.losses(objective, plane)
    axes = along.projected.bounds(grid) | {axis: getattr(scan, axis) for axis in "xy" if getattr(scan, axis)}
    options: dict[str, Any] = {"run": scan.run or None, "plan": scan.plan, "precision": scan.precision}
    landscape = la.sample(objective, plane, la.Grid(**axes), **options)
    if scan.run:
        keep(scan.run, along.overlays())
    return along.overlays(), landscape, along


def _page(target: str, found: Any, path: Any, landscape: Any, overlays: Any, along: Any) -> Path:
    from lossatlas.draw.report import report
    from lossatlas.figure.parts import Heading, Picture
    from lossatlas.paths.page import parts

    surface = Picture(landscape, words=along.words, view={"overlays": overlays})
    said = [*parts(path, found), Heading("The path on the surface"), surface, along]
    return report(target, "Which way did training go?", said)


def _check(pictures: list[str]) -> None:
    from lossatlas.draw import check_path

    for picture in pictures:
        check_path(picture)
