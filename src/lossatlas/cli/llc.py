"""`lossatlas llc`: how degenerate a minimum is, by its local learning coefficient, with chains that are checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from lossatlas.cli import Failure
from lossatlas.cli.as_json import echo_json
from lossatlas.cli.needed import flag, needing, unless
from lossatlas.cli.numbers_kept import check_numbers, keep_numbers, own_settings, run_option
from lossatlas.cli.options import WHAT, Measuring, flags

__all__ = ["Wish", "llc_command"]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be measured of the learning coefficient."""

    step: float | None
    nbeta: float | None
    gamma: float
    chains: int
    draws: int
    burn: int | None
    full: bool
    plain: bool
    scan: bool
    volume: bool
    heights: tuple[float, float] | None
    radius: float
    ways: int
    scaled: str
    run: str
    json: bool

    @property
    def chain(self) -> dict[str, Any]:
        """Options of the chains."""
        names = ("step", "nbeta", "gamma", "chains", "draws", "burn")
        options = {name: getattr(self, name) for name in names}
        return {**options, "gradient": "full" if self.full else "batch", "averaged": not self.plain}


_CHAINS = unless("volume", words="chains, but --volume runs none")


@click.command("llc", cls=Measuring, own="Chains and volumes")
@flags((*WHAT, "only", "seed"))
@needing(
    "--step",
    needs=_CHAINS,
    type=float,
    metavar="SIZE",
    help="Step size of the chains (default: set by the curvature they meet).",
)
@needing(
    "--nbeta", needs=_CHAINS, type=float, metavar="N", help="Inverse temperature (default: n / log n for n samples)."
)
@needing(
    "--gamma",
    needs=_CHAINS,
    type=float,
    default=100.0,
    show_default=True,
    metavar="G",
    help="Strength of the pull of every weight towards the point.",
)
@needing(
    "--chains", needs=_CHAINS, type=int, default=4, show_default=True, metavar="N", help="Number of chains, at least 2."
)
@needing(
    "--draws",
    needs=_CHAINS,
    type=int,
    default=1000,
    show_default=True,
    metavar="N",
    help="Steps of each chain that count.",
)
@needing(
    "--burn", needs=_CHAINS, type=int, metavar="N", help="Steps of each chain before those (default: half as many)."
)
@needing("--full", needs=_CHAINS, is_flag=True, help="At each step take the gradient over all data, not one batch.")
@needing(
    "--plain",
    needs=_CHAINS,
    is_flag=True,
    help="Plain SGLD, whose variance grows with the step size; for comparison with others.",
)
@needing(
    "--scan",
    needs=_CHAINS,
    is_flag=True,
    help="Vary step size, temperature and pull, to see what the estimate depends on.",
)
@click.option("--volume", is_flag=True, help="Measure volumes of low loss instead; for about ten parameters (--only).")
@needing(
    "--heights",
    needs=flag("volume"),
    type=click.Tuple([float, float]),
    metavar="LOW HIGH",
    help="For --volume: heights (default: 1e-6 1e-2).",
)
@needing(
    "--radius",
    needs=flag("volume"),
    type=float,
    default=1.0,
    show_default=True,
    metavar="R",
    help="For --volume: radius of the ball.",
)
@needing(
    "--ways",
    needs=flag("volume"),
    type=int,
    default=200,
    show_default=True,
    metavar="N",
    help="For --volume: random directions.",
)
@needing(
    "--scaled",
    needs=flag("volume"),
    default="none",
    show_default=True,
    metavar="BY",
    help="For --volume: none, or hessian (up to 300 weights).",
)
@run_option()
@flags(("out", "title"))
@click.option("--json", "json", is_flag=True, help="Print JSON.")
def llc_command(config: Path | None, **given: Any) -> None:
    """Measure how degenerate the loss is at a trained network: its local learning coefficient λ̂.

    λ̂ says how fast the volume of parameters with low loss shrinks around the point: it is d/2 at a regular minimum of
    d parameters, and less where directions are flat or valleys cross. Chains walk around the point (SGLD; Lau et al.
    2023, arXiv 2308.12108) and are checked: they must agree (R-hat), amount to enough independent draws, stay near, and
    find no lower loss. If they fail, the estimate is refused, the reason and the remedy are printed, and the exit code
    is 1.

    \b
    Examples:
      A trained network, and its chains as a picture:
        lossatlas llc --model train.py:make_model --data train.py:loader --checkpoint best.pt --out chains.png
      One layer, all others fixed:
        lossatlas llc --config scan.toml --only "layer3.*"
      Does it depend on step size, temperature or pull? (twelve further estimates)
        lossatlas llc --config scan.toml --draws 500 --scan --out scan.png
      Kept in a folder with its picture, beside other numbers of the network:
        lossatlas llc --config scan.toml --run runs/numbers
        lossatlas report runs/numbers -o numbers.html
      A few parameters, from the volume itself, with the multiplicity:
        lossatlas llc --config scan.toml --only "head.bias" --volume --scaled hessian --out volume.png

    The point must be a minimum of this loss on these data: train to convergence, without weight decay or noise. A
    direction that curves by less than gamma/nbeta counts as flat, so compare numbers only at the same settings and
    samples. A step costs a forward and a backward pass of one batch; λ̂ is not a bound on generalisation.
    """
    from lossatlas.cli.scan import Scan, all_samples, build_model, build_objective
    from lossatlas.draw import check_path

    fields = Wish.__dataclass_fields__
    wish = Wish(**{name: given.pop(name) for name in tuple(given) if name in fields})
    scan = all_samples(Scan(**own_settings(config, given)), "the learning coefficient")
    for path in scan.out:
        check_path(path)
    objective = build_objective(scan, build_model(scan))
    models = {objective.name: objective}
    check_numbers(wish.run, models)
    found, content, refused = _measured(objective, wish, {"only": scan.only, "seed": scan.seed})
    if wish.json:
        echo_json(content)
    else:
        for sentence in found.words:
            click.echo(sentence)
    keep_numbers(wish.run, f"Degeneracy of {objective.name}", models, _section(found, wish, scan.only), quiet=wish.json)
    _draw(found, scan.out, quiet=wish.json)
    if refused:
        raise Failure(f"the estimate is refused: {refused}")


def _measured(objective: Any, wish: Wish, options: dict[str, Any]) -> tuple[Any, dict[str, Any], str]:
    """What was found, its JSON, and why it is refused."""
    from lossatlas.flatness.degeneracy import llc, local_volume, scan

    if wish.volume:
        heights = wish.heights or (1e-6, 1e-2)
        volume = local_volume(
            objective,
            heights=heights,
            radius=wish.radius,
            directions=wish.ways,
            scaled=wish.scaled,  # type: ignore[arg-type]
            **options,
        )
        content = {
            "coefficient": volume.coefficient, "multiplicity": volume.multiplicity,
            "joint": volume.joint, "heights": volume.heights.tolist(),
            "log volumes": volume.log_volumes.tolist(), "parameters": volume.parameters,
            "evaluations": volume.evaluations, "problem": volume.problem,
        }  # fmt: skip
        return volume, content, volume.problem.partition(":")[0]
    if wish.scan:
        varied = scan(objective, **wish.chain, **options)
        rows = {name: [{"value": value, **_facts(one)} for value, one in some] for name, some in varied.found.items()}
        return varied, {"scan": rows, "slope": varied.slope, "words": list(varied.words)}, ""
    one = llc(objective, **wish.chain, **options)
    return one, _facts(one), ", ".join(problem.kind for problem in one.problems)


def _facts(one: Any) -> dict[str, Any]:
    return {
        "coefficient": one.value, "refused estimate": None if one.trusted else one.raw,
        "error": one.error, "r_hat": one.r_hat, "effective": one.effective,
        "held": one.held, "parameters": one.parameters, "samples": one.samples,
        "settings": {name: list(v) if isinstance(v, tuple) else v for name, v in one.settings.items()},
        "gradients": one.gradients, "problems": [asdict(problem) for problem in one.problems],
    }  # fmt: skip


def _section(found: Any, wish: Wish, only: tuple[str, ...]) -> dict[str, Any]:
    """The answer by its name, as it is kept; for some parameters the question is not the same as for all."""
    from lossatlas.figure.stored import Section

    name = "volume" if wish.volume else "llc, scan" if wish.scan else "llc"
    which = ", ".join(only)
    plot, rows = found.plot(), [] if wish.volume or not wish.scan else _rows(found)
    about = f"{plot.title}, of {which}." if which else f"{plot.title}."
    section = Section(about=about, plot=plot, numbers=_numbers(found, wish), rows=rows, caveats=found.words)
    return {f"{name} of {which}" if which else name: section}


def _rows(varied: Any) -> list[dict[str, float | str]]:
    return [
        {"varied": name, "value": value, "λ̂": one.value, "standard error": one.error, "R-hat": one.r_hat}
        for name, some in varied.found.items()
        for value, one in some
    ]


def _numbers(found: Any, wish: Wish) -> tuple[Any, ...]:
    """What was found, each number with what it does not prove; a refused estimate is left out."""
    from lossatlas.figure.parts import Number

    if wish.volume:
        why = found.problem or "of the volume within the ball"
        return (
            Number("λ̂", found.coefficient, why),
            Number("λ̂ of the fit with both", found.joint, why),
            Number("m̂", found.multiplicity, why),
        )
    one = found.centre if wish.scan else found
    why = "; ".join(problem.words for problem in one.problems)
    return (
        Number(
            "λ̂", f"{one.raw:.4g} ± {one.error:.2g}" if one.trusted else "refused", why or "± covers the chains only"
        ),
        Number("R-hat", one.r_hat, "1 if the chains agree; agreement does not prove that they have seen everything"),
        Number("effective draws", one.effective, f"of {one.trace.size}"),
    )


def _draw(found: Any, out: tuple[str, ...], *, quiet: bool) -> None:
    import lossatlas as la

    for path in out:
        click.echo(f"drawn: {la.draw(found, path)}", err=quiet)
