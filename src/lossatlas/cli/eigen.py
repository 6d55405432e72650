"""`lossatlas eigen`: how the loss of your own model curves."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from lossatlas.cli import Failure
from lossatlas.cli.curvature_said import along_numbers, end_numbers, say, say_map, say_rows, trace_numbers
from lossatlas.cli.needed import Need, flag, needing, unless
from lossatlas.cli.options import WHAT, Measuring, flags
from lossatlas.cli.random_axes import SEED, where
from lossatlas.cli.second import Second, second_options
from lossatlas.errors import SpecError, unknown

__all__ = ["SIDE", "WHERE", "Wish", "eigen_command"]

WHERE = ("x", "y", "seed", "normalize", "still", "orthogonal", "towards", "directions")
SIDE = 9


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Curvature."""

    k: int
    kind: str
    tensors: str
    tolerance: float | None
    probes: int
    by: str
    batches: bool
    how: str
    rows: int
    density: bool
    vectors: int
    map: bool
    critical: bool
    along: bool
    step: float
    save: str
    second: Second | None
    report: str
    json: bool

    def __post_init__(self) -> None:
        for name, good in (("kind", ("hessian", "ggn")), ("tensors", ("all", "weights"))):
            if getattr(self, name) not in good:
                raise SpecError(unknown(name, getattr(self, name), good))
        if self.how not in ("derivatives", "differences"):
            raise SpecError(unknown("how", self.how, ("derivatives", "differences")))
        if self.report and not self.report.endswith(".html"):
            raise SpecError(f"--report {self.report}: a report is one page; name a file that ends in .html")


def _whole(told: Mapping[str, Any]) -> bool:
    """Whether the question is about the point itself, not about a grid or single batches."""
    return not (told["map"] or told["batches"])


_ENDS = Need(words="eigenvalues at the point, but --map or --batches asks for others", met=_whole, so="leave it out")
_POINT = unless("map", words="the point itself, but --map is about a grid")
_DERIVED = unless("critical", words="the spectrum, but --critical does not compute one")
_TOGETHER = unless("by", "batches", words="the whole matrix, but --by or --batches asks for parts of it")
_CRITICAL = Need(words="critical sharpness", met=lambda told: told["critical"], so="add --map --critical")
_NEEDS: dict[str, Need | tuple[Need, ...]] = {
    **where(flag("map", "along")),
    "seed": Need(
        words="random numbers, but --critical uses none along these axes",
        met=lambda told: not told["critical"] or SEED.met(told),
        so="leave it out",
    ),
}


@click.command("eigen", cls=Measuring, own="Curvature")
@flags((*WHAT, "function", *WHERE, "out", "title"), needs=_NEEDS)
@click.option(
    "--run",
    metavar="FOLDER",
    help="Keep the results here, for draw, info and report: a new folder, or a run of `lossatlas sample` on the same "
    "model and data, whose pictures then show λmin. With --map the same command resumes.",
)
@needing("--k", needs=_ENDS, default=1, show_default=True, metavar="N", help="Number of eigenvalues at each end.")
@needing(
    "--kind",
    needs=_DERIVED,
    default="hessian",
    show_default=True,
    metavar="KIND",
    help="hessian, or ggn (Gauss-Newton).",
)
@needing(
    "--tensors",
    needs=_DERIVED,
    default="all",
    show_default=True,
    metavar="WHICH",
    help="all, or weights as in the paper.",
)
@click.option(
    "--tolerance",
    type=float,
    metavar="SHARE",
    help="Residual allowed, as a fraction of each eigenvalue (0.01; map 0.1).",
)
@needing(
    "--probes",
    needs=_ENDS,
    default=10,
    show_default=True,
    metavar="N",
    help="Random vectors for the trace; 0: no trace.",
)
@needing(
    "--by",
    needs=unless("batches", words="blocks, but --batches is another question"),
    default="",
    metavar="BLOCK",
    help="By layer, block, or pattern such as 'layers.*.mlp'.",
)
@click.option("--batches", is_flag=True, help="Both ends for each batch (--batch-size), a histogram with --out.")
@needing(
    "--how",
    needs=_POINT,
    default="derivatives",
    show_default=True,
    metavar="WAY",
    help="derivatives, or differences of gradients.",
)
@needing(
    "--rows",
    needs=_ENDS,
    default=0,
    metavar="N",
    help="Samples differentiated at once, to save memory; 0: a whole batch.",
)
@needing("--density", needs=_ENDS, is_flag=True, help="The density of all eigenvalues, drawn with --out.")
@needing(
    "--vectors",
    needs=flag("density"),
    default=5,
    show_default=True,
    metavar="N",
    help="Random vectors for the density.",
)
@needing(
    "--map",
    needs=_TOGETHER,
    is_flag=True,
    help="Map |λmin/λmax| on a grid (--x, --y; 9 by 9), drawn with --out, kept with --run.",
)
@needing(
    "--critical",
    needs=Need(
        words="--map",
        met=lambda told: told["map"],
        so="add that; for a single point use lossatlas sharpness --measure critical",
    ),
    is_flag=True,
    help="With --map: critical sharpness instead, from a gradient and a few evaluations at each point.",
)
@second_options(_CRITICAL)
@needing(
    "--along",
    needs=(_POINT, _TOGETHER),
    is_flag=True,
    help="Curvature along the axes, by derivatives and by differences.",
)
@needing(
    "--step", needs=flag("along"), default=0.01, show_default=True, metavar="SHARE", help="Step of these differences."
)
@needing(
    "--save",
    needs=(_POINT, _TOGETHER),
    default="",
    metavar="FILE",
    help="Keep the eigenvectors (.safetensors) for sample --directions.",
)
@click.option("--report", default="", metavar="PAGE", help="Everything on one page (.html), with the slice of --run.")
@click.option("--json", "json", is_flag=True, help="Print JSON.")
def eigen_command(config: Path | None, **given: Any) -> None:
    """Measure how the loss curves at the trained network, in all directions rather than in a slice only.

    Eigenvalues of the Hessian at both ends with their residuals, the trace with its standard error, and the ratio
    |λmin/λmax|: a slice may look convex while λmin is negative. Each number comes with what it does not prove.

    \b
    Examples:
      Both ends and the trace, kept with a run, whose pictures then show λmin:
        lossatlas eigen --model train.py:make_model --data train.py:loader --checkpoint best.pt --run runs/best
      The density of all eigenvalues, kept in a folder and drawn from there:
        lossatlas eigen --config scan.toml --density --run runs/curvature
        lossatlas draw runs/curvature --value density -o density.pdf --width column
      The paper's map (figure 7), resumable:
        lossatlas eigen --config scan.toml --tensors weights --map --x -1 1 9 --y -1 1 9 --run runs/map --out map.png
      The same without second derivatives (2/η, η the step along the gradient at which the loss first rises):
        lossatlas eigen --config scan.toml --map --critical --run runs/critical --out critical.png
      … for a function of NumPy or JAX arrays:
        lossatlas eigen --function sim.py:make --map --critical --out sim.png
      Which layers bend most, and how the trace and the extremes are spread over them:
        lossatlas eigen --config scan.toml --by layer --probes 20 --out layers.png
      How much λmax varies from batch to batch, as training sees it:
        lossatlas eigen --config scan.toml --batches --batch-size 64 --out batches.png
      A model that just fits into memory:
        lossatlas eigen --config scan.toml --rows 1 --how differences --probes 0
      The slice along the extreme eigenvectors:
        lossatlas eigen --config scan.toml --save ends.safetensors
        lossatlas sample --config scan.toml --directions ends.safetensors --out ends.png
      What derivatives miss (kinks of ReLU), along random directions:
        lossatlas eigen --config scan.toml --along --step 0.05

    A product with the Hessian costs about nine evaluations of the loss, six where first derivatives are kept. Both ends
    take some 20 to 60 of them, a trace as many as --probes, a point of the map about 10. --run names a new folder, or
    one of `lossatlas sample` on the same model and data; with --map it is the folder of the map, and the same command
    resumes.
    """
    from lossatlas.cli.curvature_kept import beside_a_run
    from lossatlas.cli.numbers_kept import own_run, own_settings
    from lossatlas.cli.scan import Scan, all_samples

    fields = Wish.__dataclass_fields__
    given["second"] = Second.taken(given)
    wish = Wish(**{name: given.pop(name) for name in tuple(given) if name in fields})
    told = own_settings(config, given)
    parts = bool(wish.by or wish.batches)
    joined = ("curvature map",) if wish.map else () if parts else ("landscape",)
    scan = Scan(**told | {"run": own_run(told, given["run"], joined)})
    if scan.run and not wish.map:
        beside_a_run(scan.run, parts=parts)
    scan = all_samples(scan, "curvature")
    if scan.precision != "exact":
        raise SpecError(f"precision = {scan.precision!r}: curvature is computed in full precision; leave it out")
    measure = _by if wish.by else _batches if wish.batches else _map if wish.map else _centre
    try:
        measure(scan, wish)
    except KeyboardInterrupt:
        from lossatlas.cli.sample import stopped

        raise Failure(stopped(scan.run if wish.map else "")) from None


def _map(scan: Any, wish: Wish) -> None:
    import lossatlas as la
    from lossatlas.cli.functions import build_function, build_function_plane
    from lossatlas.cli.radius import grid_of
    from lossatlas.cli.scan import build_model, build_objective, build_plane
    from lossatlas.draw.report import report
    from lossatlas.draw.statement import statement

    _check_pictures(scan.out)
    if scan.x is None and scan.y is None:
        scan = replace(scan, x=(-1.0, 1.0, SIDE), y=(-1.0, 1.0, SIDE))
    if scan.function and wish.critical:  # from values alone
        model = None
        objective: Any = build_function(scan)
        plane: Any = build_function_plane(scan, objective)
    else:
        model = build_model(scan)
        objective = build_objective(scan, model)
        plane = build_plane(scan, objective)
    grid = grid_of(scan, objective, plane)
    if wish.critical:
        told: dict[str, Any] = {} if wish.tolerance is None else {"tolerance": wish.tolerance}
        told["second"] = wish.second and wish.second.objective(scan, model)
        found, value = la.sharpness.critical_map(objective, plane, grid, run=scan.run or None, **told), "critical"
    else:
        options: dict[str, Any] = {"kind": wish.kind, "tensors": wish.tensors, "seed": scan.seed}
        if wish.tolerance is not None:
            options["tolerance"] = wish.tolerance
        found, value = la.curvature_map(objective, plane, grid, run=scan.run or None, **options), "ratio"
    parts = statement(found)
    say_map(wish, found, value, [part for part in parts if isinstance(part, str)])
    for path in scan.out:
        click.echo(f"drawn: {la.draw(found, path, value=value)}", err=wish.json)
    if wish.report:
        page = report(wish.report, f"Curvature of {objective.name}", parts)
        click.echo(f"written: {page}", err=wish.json)
    if scan.run:
        again = f"lossatlas draw {shlex.quote(scan.run)} --value {value} -o picture.html"
        click.echo(f"kept: {scan.run} ({again})", err=wish.json)


def _check_pictures(paths: tuple[str, ...]) -> None:
    from lossatlas.draw import check_path

    for path in paths:
        check_path(path)


def _centre(scan: Any, wish: Wish) -> None:
    from tqdm import tqdm

    import lossatlas as la
    from lossatlas.cli.curvature_kept import beside_a_run, check, keep_centre
    from lossatlas.cli.curvature_said import bar_of
    from lossatlas.cli.scan import build_model, build_objective
    from lossatlas.curvature.density import density_of
    from lossatlas.curvature.products import Matrix
    from lossatlas.curvature.spectrum import ends_of
    from lossatlas.draw.report import report
    from lossatlas.draw.statement import statement

    _check_pictures(scan.out)
    objective = build_objective(scan, build_model(scan))
    check(scan.run, objective)
    with tqdm(**bar_of(wish), delay=2.0, leave=False) as bar:
        matrix = Matrix(objective, told=bar.update, **_matrix_options(wish))
        ends = ends_of(matrix, k=wish.k, tolerance=wish.tolerance or 0.01, seed=scan.seed, vectors=bool(wish.save))
        numbers = [
            *end_numbers(ends),
            *trace_numbers(matrix, wish, scan.seed),
            *along_numbers(scan, wish, objective, also=bool(ends.subject.surrogates)),
        ]
        density = density_of(matrix, probes=wish.vectors, seed=scan.seed) if wish.density else None
    say(wish, ends, numbers)
    kept = keep_centre(scan, wish, objective, ends, numbers, density)
    for path in scan.out:
        click.echo(f"drawn: {la.draw(density or ends, path)}", err=wish.json)
    if wish.report:
        pictures = [ends, *([density] if density else [])]
        parts = [ends.subject.words, *numbers, " ".join(ends.caveats), *pictures, *kept]
        slice_parts = statement(la.open(scan.run)) if scan.run and beside_a_run(scan.run) else []
        page = report(wish.report, f"Curvature of {objective.name}", [*parts, *slice_parts])
        click.echo(f"written: {page}", err=wish.json)


def _matrix_options(wish: Wish) -> dict[str, Any]:
    return {"kind": wish.kind, "tensors": wish.tensors, "how": wish.how, "rows": wish.rows or None}


def _by(scan: Any, wish: Wish) -> None:
    """Both ends, trace or density of each diagonal block."""
    from tqdm import tqdm

    from lossatlas.cli.curvature_kept import check, keep, section
    from lossatlas.cli.curvature_said import bar_of, block_rows, density_rows, errors_are, most_products
    from lossatlas.cli.scan import build_model, build_objective
    from lossatlas.curvature.blocks import blocks_of
    from lossatlas.curvature.density import densities_of
    from lossatlas.curvature.products import Matrix
    from lossatlas.curvature.spectrum import ends_by
    from lossatlas.curvature.trace import traces_of

    _check_pictures(scan.out)
    objective = build_objective(scan, build_model(scan))
    check(scan.run, objective)
    with tqdm(**bar_of(wish), delay=2.0, leave=False) as bar:
        matrix = Matrix(objective, told=bar.update, **_matrix_options(wish))
        bar.total = most_products(wish, [block.size for block in blocks_of(matrix, wish.by)])
        told: dict[str, Any] = {"by": wish.by, "seed": scan.seed}
        ends = ends_by(matrix, k=wish.k, tolerance=wish.tolerance or 0.01, vectors=False, **told)
        traces = traces_of(matrix, probes=wish.probes, **told) if wish.probes else None
        density = densities_of(matrix, probes=wish.vectors, **told) if wish.density else None
    rows, about = block_rows(ends, traces), f"{ends.subject.words} {errors_are(wish)}"
    say_rows(wish, about, rows, ends.caveats)
    shown = ends.plot(beside=traces)
    if scan.run:
        seen = density_rows(density)
        also = {f"density by {wish.by}": section(density, rows=seen, caveats=density.caveats)} if density else {}
        kept = section(ends, rows=rows, caveats=ends.caveats, about=about, plot=shown)
        keep(scan.run, objective, {f"by {wish.by}": kept, **also}, wish)
    _draw(scan, wish, density.plot() if density else shown, ends.caveats, f"Curvature of {objective.name} by {wish.by}")


def _batches(scan: Any, wish: Wish) -> None:
    """Both ends of each batch."""
    from lossatlas.cli.curvature_kept import check, keep, section
    from lossatlas.cli.curvature_said import batch_rows, errors_are
    from lossatlas.cli.scan import build_model, build_objective
    from lossatlas.curvature.minibatches import batch_eigenvalues

    _check_pictures(scan.out)
    objective = build_objective(scan, build_model(scan))
    check(scan.run, objective)
    told: dict[str, Any] = {"kind": wish.kind, "tensors": wish.tensors, "how": wish.how}
    found = batch_eigenvalues(objective, tolerance=wish.tolerance or 0.05, seed=scan.seed, **told)
    rows, about = batch_rows(found), f"{found.subject.words} {errors_are()}"
    say_rows(wish, about, rows, found.caveats)
    if scan.run:
        keep(scan.run, objective, {"batches": section(found, rows=rows, caveats=found.caveats, about=about)}, wish)
    _draw(scan, wish, found.plot(), found.caveats, f"Curvature of {objective.name} by batch")


def _draw(scan: Any, wish: Wish, found: Any, caveats: tuple[str, ...], title: str) -> None:
    import lossatlas as la
    from lossatlas.draw.report import report

    for path in scan.out:
        click.echo(f"drawn: {la.draw(found, path)}", err=wish.json)
    if wish.report:
        click.echo(f"written: {report(wish.report, title, [found, ' '.join(caveats)])}", err=wish.json)
