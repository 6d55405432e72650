"""`lossatlas sample`: measure the landscape of your own model."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import click

from lossatlas.cli import Failure
from lossatlas.cli.inputs import said
from lossatlas.cli.needed import needing, settled, unless
from lossatlas.cli.options import FLAGS, Measuring, flags, settings
from lossatlas.cli.random_axes import NEEDS
from lossatlas.errors import SpecError
from lossatlas.oneline import number_of

__all__ = ["sample_command", "stopped"]


@click.command("sample", cls=Measuring)
@flags(FLAGS, needs=NEEDS)
@click.option("--print-config", is_flag=True, help="Print a TOML file with these settings, and stop.")
@needing(
    "--print-python",
    needs=unless("print_config", words="a command without --print-config, which stops earlier"),
    is_flag=True,
    help="Print a Python program that does the same, and stop.",
)
@click.pass_context
def sample_command(
    ctx: click.Context, /, config: Path | None, print_config: bool, print_python: bool, **given: Any
) -> None:
    """Measure loss and metrics of a model on a line, a plane or a volume of its parameters, or of its inputs.

    \b
    Examples:
      A trained network on its own data, with a 3-D picture:
        lossatlas sample --model train.py:make_model --data train.py:loader --checkpoint best.pt \\
            --metric error --run runs/best --out best.html
      A line between two checkpoints:
        lossatlas sample --model zoo:resnet20 --data zoo:digits --checkpoint a.pt --towards b.pt \\
            --batchnorm recalibrated --x -0.5 1.5 61
      The plane of the original code:
        lossatlas sample --model zoo:resnet56 --checkpoint resnet56.pt --data images.npz --directions dir.h5
      From a file, with another seed:
        lossatlas sample --config scan.toml --seed 1
      Five random lines, with their median and spread:
        lossatlas sample --config scan.toml --x -1 1 51 --seeds 5 --run runs/line --out band.png
      Four processes, each with its share of the cores:
        lossatlas sample --config scan.toml --executor processes:4
      Four GPUs, two of which hold the model together (model.py makes it, spread over both):
        torchrun --nproc-per-node=4 -m -- lossatlas sample --config scan.toml --executor torchrun:2
      The third of eight jobs of an array, which need not know about each other:
        lossatlas sample --config scan.toml --run runs/a --shard 3/8
      Two more checkpoints of the same network on its surface, with their distances from the plane:
        lossatlas sample --config scan.toml --mark "Adam=a.pt" --mark "SWA=b.pt" --out marked.png
      Ten inputs moved up their gradients, the weights fixed:
        lossatlas sample --config scan.toml --input-plane adversarial --examples 0-9 --clamp 0,1 --x -0.1 0.1 41
      The plane through one input and two others:
        lossatlas sample --config scan.toml --input-plane towards:7,12 --examples 3 --x -0.5 1.5 41 --y -0.5 1.5 41
      The third word of a sentence, moved towards another word of the vocabulary:
        lossatlas sample --model words.py:Sentence --data words.py:pair --input-plane token:2:17 --layer embedding
      A function of NumPy or JAX arrays; make() in sim.py returns la.Function(loss, parameters):
        lossatlas sample --function sim.py:make --x -1 1 51 --y -1 1 51 --out sim.png
      The standard error of every mean over samples:
        lossatlas sample --config scan.toml --standard-error --run runs/sure

    Without --x, --y or --z the plane is -1 1 51 along x and y; --x alone is a line. After Ctrl-C the same command
    resumes, provided it has --run.
    """
    from lossatlas.cli.scan import Scan
    from lossatlas.sampling.provenance import repeated_by

    scan = Scan(**settled(ctx, config, settings(config, given)))
    if print_config or print_python:
        click.echo(scan.to_toml() if print_config else scan.to_python())
        return
    with repeated_by(scan.to_python()):
        _measure(scan)


def _measure(scan: Any) -> None:
    import lossatlas as la
    from lossatlas.cli.functions import build_function, build_function_plane
    from lossatlas.cli.marking import marked, upon
    from lossatlas.cli.radius import grid_of
    from lossatlas.cli.scan import another, build_model, build_objective, build_plane
    from lossatlas.figure.kept import keep

    _check_pictures(scan.out)
    silent = scan.executor.partition(":")[0] == "torchrun" and not _speaks()
    objective: Any = build_function(scan) if scan.function else build_objective(scan, build_model(scan))
    if scan.seeds:
        _over_seeds(scan, objective)
        return
    plane = build_function_plane(scan, objective) if scan.function else build_plane(scan, objective)
    overlays = upon(scan, plane, lambda path: another(scan, objective, path))
    try:
        grid: Any = grid_of(scan, objective, plane)
        if scan.adaptive:
            grid = la.Adaptive.of(grid, tolerance=scan.adaptive)
        _announce(scan, objective, plane, grid, silent=silent)
        before, began = _done(scan.run), time.perf_counter()
        landscape = _sampled(scan, objective, plane, grid)
        spent = "" if before is None else _spent(_done(scan.run) or 0, before, time.perf_counter() - began)
    except KeyboardInterrupt:
        raise (SystemExit(1) if silent else Failure(stopped(scan.run))) from None
    moved = said(scan, objective, plane, landscape) if scan.input_plane and not scan.shard else ()
    if silent:
        return
    _report(scan, landscape, spent)
    if moved:
        click.echo("\n".join(moved))
    for line in marked(overlays):
        click.echo(line)
    if overlays and scan.run:
        keep(scan.run, overlays)
    for path in scan.out:
        click.echo(f"drawn: {la.draw(landscape, path, overlays=overlays, **scan.view)}")


def _speaks() -> bool:
    """Whether this process of ``torchrun`` is the one that prints and draws; each takes the GPU of its own number."""
    import torch

    local = os.environ.get("LOCAL_RANK", "0")
    if torch.cuda.is_available() and local.isdigit():
        torch.cuda.set_device(int(local) % torch.cuda.device_count())
    return os.environ.get("RANK", "0") == "0"


def _over_seeds(scan: Any, objective: Any) -> None:
    import lossatlas as la
    from lossatlas.cli.radius import grid_of_seeds

    options: dict[str, Any] = {"plan": scan.plan, "precision": scan.precision, "standard_error": scan.standard_error}
    options |= {"by": scan.normalize, "still": scan.still, "only": scan.only, "orthogonal": scan.orthogonal}
    options |= {"retry": scan.retry, "strict": scan.strict}
    if scan.rank:
        raise SpecError("--rank with --seeds: low-rank planes are sampled one at a time; leave --seeds out")
    wanted = range(scan.seed, scan.seed + scan.seeds)
    try:
        grid = grid_of_seeds(scan, objective, wanted)
        found = la.seeds(objective, grid, wanted, run=scan.run or None, **options)
    except KeyboardInterrupt:
        again = shlex.join(["lossatlas", *sys.argv[1:]])
        safe = scan.run and Path(scan.run).exists()
        kept = f"finished points are safe below {scan.run}. To continue: {again}" if safe else "nothing was kept"
        raise Failure(f"stopped; {kept}") from None
    for name in objective.names:
        click.echo(found.words(name))
    click.echo(found.caveat)
    for path in scan.out:
        if len(grid.shape) == 1:
            click.echo(f"drawn: {la.draw(found.runs, path, **scan.view)} (median and band)")
            continue
        beside = Path(path).with_stem(f"{Path(path).stem}-spread")
        click.echo(f"drawn: {la.draw(found.landscape, path, **scan.view)} (median)")
        click.echo(f"drawn: {la.draw(found.landscape, beside, value='loss_spread')} (standard deviation over seeds)")
    if scan.run:
        click.echo(f"kept: {scan.run}/seed-* (lossatlas compare {shlex.quote(scan.run)} OTHER)")


def _sampled(scan: Any, objective: Any, plane: Any, grid: Any) -> Any:
    import lossatlas as la
    from lossatlas.cli.scan import TOLERANCE

    options: dict[str, Any] = {"run": scan.run or None, "plan": scan.plan, "precision": scan.precision}
    options |= {"executor": scan.executor or "serial", "shard": scan.shard or None}
    options |= {"retry": scan.retry, "strict": scan.strict}
    if scan.samples == "auto":
        subset = la.Subset(tolerance=scan.adaptive or TOLERANCE)
        return la.sample(objective, plane, grid, samples=subset, **options)
    return la.sample(objective, plane, grid, standard_error=scan.standard_error, **options)


def _check_pictures(paths: tuple[str, ...]) -> None:
    """Refuse a picture that cannot be drawn before the run rather than after it."""
    from lossatlas.draw import check_path

    for path in paths:
        check_path(path)


def _announce(scan: Any, objective: Any, plane: Any, grid: Any, *, silent: bool) -> None:
    """Print what will be measured; silent ranks still do the evaluations it takes, since they may take all ranks."""
    lines = {
        **_measured(scan, objective),
        "grid": " × ".join(map(str, grid.shape)) + f" = {_product(grid.shape)} points",
        "cosine": ", ".join(f"{pair} {value:+.4f}" for pair, value in plane.cosines.items()),
        "run": scan.run or "not kept; --run FOLDER would keep it",
    }
    for name, text in lines.items():
        if text and not silent:
            click.echo(f"{name + ':':8} {text}", err=True)
    if scan.towards and not scan.function and not silent and objective.batchnorm_words == "frozen":
        click.echo(
            "note: BatchNorm keeps the statistics of --checkpoint along the whole line, so the other end is not the "
            "network you "
            "trained; --batchnorm recalibrated measures them at every point",
            err=True,
        )


def _measured(scan: Any, objective: Any) -> dict[str, str]:
    """What is measured: a function of arrays, or a model on its data."""
    if scan.function:
        return {"function": f"{scan.function}, a {objective.kind}"}
    return {
        "model": f"{scan.model} from {scan.checkpoint}" if scan.checkpoint else _initial(scan.model, objective.name),
        "data": f"{scan.data}, {number_of(objective.samples, 'sample')}{_which(scan.samples)}",
    }


def _initial(model: str, name: str) -> str:
    """A model without a checkpoint; the name of one of Hugging Face says whose weights it has."""
    from lossatlas.cli.names import SEED

    return name if model.startswith("hf:") else f"{model} with its initial weights (seed {SEED}, if they are random)"


def _which(samples: int | str) -> str:
    if samples == "auto":
        return ", a subset of them at each point"
    return " (the first ones)" if samples else ""


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for length in shape:
        result *= length
    return result


def stopped(run: str) -> str:
    """What an interrupted run says: how much is safe, and how to continue."""
    if not run:
        return "stopped; nothing was kept, since no --run folder was named"
    from lossatlas.results import reading

    try:
        progress = reading.progress(run)
    except SpecError:
        return "stopped before the first point"
    command = shlex.join(["lossatlas", *sys.argv[1:]])
    return f"stopped; {progress.done} of {progress.total} points are safe in {run}. To continue: {command}"


def _plan_in_words(how: dict[str, Any]) -> str:
    """The plan, with its time if known: a plan chosen by rule is not timed."""
    seconds = how["seconds per point"].get(how["in words"])
    return how["in words"] if seconds is None else f"{how['in words']}, {seconds:.3g} s for each point"


def _done(run: str) -> int | None:
    """How many points a run has so far; none if it has not begun."""
    from lossatlas.results import reading

    with contextlib.suppress(SpecError):
        return reading.progress(run).done if run else None
    return None


def _spent(done: int, before: int, seconds: float) -> str:
    """What a resumed run took itself: the time per point that it keeps is from when it began."""
    left = done - before
    took = f"{number_of(left, 'point')} in {seconds:.3g} s now" if left else "no point was left"
    return f" when the run began; {took}"


def _report(scan: Any, landscape: Any, spent: str) -> None:
    from lossatlas.figure.words import means_over
    from lossatlas.results.landscape import structured, value_names

    centre = structured(landscape, "centre")
    for name in value_names(landscape):
        values = landscape[name]
        click.echo(f"{name}: {centre[name]:.6g} at the centre, {float(values.min()):.6g} to {float(values.max()):.6g}")
    if words := means_over(structured(landscape, "counts"), samples=False):
        click.echo(words)
    counts = {int(flag): int((landscape["status"] == flag).sum()) for flag in (2, 3)}
    if any(counts.values()):
        click.echo(f"{number_of(counts[2], 'point')} not finite, {counts[3]} failed: lossatlas info says why", err=True)
    if verdict := structured(landscape, "sampling").get("verdict"):
        click.echo(f"points: {verdict}")
    how = structured(landscape, "evaluation")
    click.echo(f"plan: {_plan_in_words(how)}{spent}", err=True)
    for name, error in how["error"].items():
        size = f"{error['largest relative']:.2g} relative, {error['largest absolute']:.2g} absolute"
        click.echo(
            f"{name}: {scan.precision} deviates by at most {size} at {how['check points']} check points", err=True
        )
    if scan.run:
        click.echo(f"kept: {scan.run} (lossatlas draw {shlex.quote(scan.run)} -o picture.html)")
