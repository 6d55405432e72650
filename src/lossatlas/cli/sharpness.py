"""`lossatlas sharpness`: how flat one or several trained networks are, by measures that state their own limits."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lossatlas.cli.needed import Need, check_late
from lossatlas.cli.numbers_kept import check_numbers, keep_numbers, own_settings, run_option
from lossatlas.cli.options import WHAT, Measuring, flags
from lossatlas.cli.second import Second, second_options
from lossatlas.errors import SpecError, unknown
from lossatlas.oneline import number_of

__all__ = ["QUICK", "Wish", "sharpness_command"]

QUICK = ("sam", "adaptive_worst", "adaptive_average", "fisher_rao", "trace", "input_margin")
"""What is measured where nothing is named: about 200 passes over the data in all."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be measured of flatness."""

    measure: tuple[str, ...]
    set: tuple[str, ...]
    against: str
    run: str
    report: str
    json: bool

    def __post_init__(self) -> None:
        if self.report and not self.report.endswith(".html"):
            raise SpecError(f"--report {self.report}: a report is one page; name a file that ends in .html")


_SEEDED = Need(
    words="measures that draw random numbers, but none of these does",
    met=lambda facts: bool(facts["seeded"]),
    so="leave it out",
    fact="seeded",
)


@click.command("sharpness", cls=Measuring, own="Which measures")
@flags((*(name for name in WHAT if name != "checkpoint"), "function"))
@click.option("--checkpoint", multiple=True, metavar="FILE", help="A trained network. Repeat it to compare several.")
@click.option(
    "--measure",
    multiple=True,
    metavar="NAME",
    help=f"Which measure, or all (except llc). Repeatable. Default: {', '.join(QUICK)}.",
)
@click.option(
    "--set", multiple=True, metavar="MEASURE.OPTION=VALUE", help="An option of a measure: radius.rise=0.5, sam.m=16."
)
@click.option(
    "--against",
    default="",
    metavar="NAME=V1,V2,…",
    help="Rank each measure against these numbers, one for each checkpoint in their order, such as "
    "test_error=0.05,0.08.",
)
@second_options(
    Need(
        words="critical sharpness",
        met=lambda told: {"critical", "all"} & set(told["measure"]) or told.get("function"),
        so="add --measure critical",
    )
)
@flags(("seed",), needs=_SEEDED)
@run_option()
@flags(("out", "title"))
@click.option(
    "--report", default="", metavar="PAGE", help="Write numbers, definitions, caveats and the picture to one page."
)
@click.option("--json", "json", is_flag=True, help="Print JSON.")
def sharpness_command(config: Path | None, **given: Any) -> None:
    """Measure how flat the loss is around one or several trained networks.

    Each number comes with its error, its cost, what leaves it unchanged, and its caveat. Most measures depend on the
    scale of the weights, which says nothing about the function: rescale two layers, and the same network has another
    sharpness (Dinh et al. 2017). None of them proves that a network generalises.

    \b
    Measures:
      epsilon_sharpness  the highest point of a box (Keskar et al. 2017)
      sam                the highest point of a ball, sam.m=16 for m-sharpness (Foret et al. 2021)
      adaptive_worst     the same relative to each weight: ASAM (Kwon et al. 2021)
      adaptive_average   the mean rise under noise relative to each weight (Andriushchenko et al. 2023)
      radius             how far until the loss has risen by radius.rise, along filter-normalised directions
      lpf                the loss smoothed by a Gaussian filter (Bisla et al. 2022)
      relative_flatness  of one layer (Petzka et al. 2021)
      fisher_rao         Fisher-Rao norm (Liang et al. 2019)
      trace, lambda_max  of the Hessian
      critical           2/η, η the step along the gradient at which the loss first rises: no second derivatives
      llc                local learning coefficient: thousands of steps, so neither a default nor part of all; the
                         command llc tells more (Lau et al. 2023)
      input_margin       distance of the data to the decision boundary, to first order
      spectral_margin    margins over the spectral complexity (Bartlett et al. 2017)

    \b
    Examples:
      One network, the quick measures:
        lossatlas sharpness --model train.py:make_model --data train.py:loader --checkpoint best.pt
      How far one may go before the loss has risen by 0.5:
        lossatlas sharpness --config scan.toml --measure radius --set radius.rise=0.5 --set radius.directions=20
      How close batches of 64 are to the edge of stability, to compare with 2 over the learning rate (arXiv 2601.16979):
        lossatlas sharpness --config scan.toml --measure critical --set critical.m=64
      How the loss of an earlier task curves along the gradient of the present one (relative critical sharpness):
        lossatlas sharpness --config scan.toml --measure critical --second-data train.py:earlier
      A function of NumPy or JAX arrays, from its values alone (make() in sim.py returns la.Function):
        lossatlas sharpness --function sim.py:make --measure critical
      Kept in a folder with its picture, beside other numbers of the network:
        lossatlas sharpness --config scan.toml --run runs/numbers
      Several networks against their test errors, on one page:
        lossatlas sharpness --model train.py:make_model --data train.py:loader \\
            --checkpoint a.pt --checkpoint b.pt --checkpoint c.pt --against test_error=0.05,0.08,0.07 --report flat.html

    Below eight networks no correlation is claimed, however strong: four columns in random order often agree. Compare
    only networks that were trained to similar losses on the same data, with the same settings of a measure.
    """
    from lossatlas.draw import check_path

    fields = Wish.__dataclass_fields__
    wish, second = Wish(**{name: given.pop(name) for name in tuple(given) if name in fields}), Second.taken(given)
    for path in given["out"]:
        check_path(path)
    checkpoints = given.pop("checkpoint")
    told = own_settings(config, given)
    names = _of_function(wish.measure) if told.get("function") else _measures(wish.measure)
    options = _options(wish.set, names, given["seed"])
    checkpoints = checkpoints or ((told["checkpoint"],) if told.get("checkpoint") else ("",))
    against, against_name = _against(wish.against, checkpoints)
    models, others = _models(told, checkpoints, second)
    if second:
        options["critical"]["second"] = others.__getitem__
    check_numbers(wish.run, models)
    found = _table(models, names, options, against, against_name, progress=not wish.json)
    _say(found, as_json=wish.json)
    _keep(found, models, wish)
    _draw(found, told.get("out", ()), wish)


def _measures(given: Sequence[str]) -> tuple[Any, ...]:
    from lossatlas.flatness.door import known
    from lossatlas.flatness.table import MEASURES, SLOW

    if "all" in given:
        return (*(name for name in MEASURES if name not in SLOW), *(name for name in SLOW if name in given))
    for name in given:
        if name not in known():
            raise SpecError(unknown("measure", name, (*known(), "all")))
    return tuple(dict.fromkeys(given)) or QUICK


def _of_function(given: Sequence[str]) -> tuple[Any, ...]:
    """The measures of a function of arrays: the one that needs only values."""
    if wrong := [name for name in given if name != "critical"]:
        raise SpecError(
            f"--measure {wrong[0]} needs a torch model and its data; a function of arrays has only values: --measure "
            "critical"
        )
    return ("critical",)


def _options(texts: Sequence[str], names: Sequence[str], seed: int | None) -> dict[str, dict[str, Any]]:
    """Options by measure: the seed where a measure has one, and what --set says."""
    from lossatlas.flatness.table import measure_of

    good = {name: [*inspect.signature(measure_of(name)).parameters][2:] for name in names}
    check_late(seeded=any("seed" in options for options in good.values()))
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for name in names:
        if seed is not None and "seed" in good[name]:
            found[name]["seed"] = seed
    for text in texts:
        key, equals, value = text.partition("=")
        name, _, option = key.partition(".")
        if not equals or not option:
            raise SpecError(f"--set {text}; expected MEASURE.OPTION=VALUE, such as radius.rise=0.5")
        if name not in good:
            raise SpecError(unknown("--set: measure", name, tuple(names)))
        if option not in good[name]:
            raise SpecError(unknown(f"--set: option of {name}", option, tuple(good[name])))
        try:
            found[name][option] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name][option] = value  # a word, such as l2
    return found


def _against(text: str, checkpoints: Sequence[str]) -> tuple[list[float] | None, str]:
    """The column to rank against, in the order of the checkpoints, and its name."""
    if not text:
        return None, ""
    name, _, values = text.partition("=")
    try:
        numbers = [float(value) for value in values.split(",")]
    except ValueError:
        raise SpecError(f"--against {text}; expected NAME=V1,V2,… such as test_error=0.05,0.08") from None
    if len(numbers) != len(checkpoints):
        raise SpecError(
            f"--against has {number_of(len(numbers), 'value')} for {number_of(len(checkpoints), 'checkpoint')}; "
            "give one for each"
        )
    return numbers, name.replace("_", " ") or "given column"


def _models(
    told: dict[str, Any], checkpoints: Sequence[str], second: Second | None
) -> tuple[dict[str, Any], dict[Any, Any]]:
    """The objective of each checkpoint, by its title; and by objective the second loss, where there is one."""
    from lossatlas.cli.functions import build_function
    from lossatlas.cli.scan import Scan, all_samples, build_model, build_objective

    models: dict[str, Any] = {}
    others: dict[Any, Any] = {}
    for title, checkpoint in zip(_titles(checkpoints), checkpoints, strict=True):
        scan = all_samples(Scan(**told | {"checkpoint": checkpoint}), "flatness")
        model = None if scan.function else build_model(scan)
        objective: Any = build_function(scan) if model is None else build_objective(scan, model)
        models[title or objective.name] = objective
        if second:
            others[objective] = second.objective(scan, model)
    return models, others


def _table(
    models: dict[str, Any],
    names: Sequence[Any],
    options: dict[str, dict[str, Any]],
    against: list[float] | None,
    against_name: str,
    *,
    progress: bool,
) -> Any:
    from lossatlas import flatness as sharpness

    column = None if against is None else dict(zip(models, against, strict=True))
    return sharpness.table(
        models,
        names,
        against=column,
        against_name=against_name or "test error",
        options=options,
        progress=None if progress else False,
    )


def _titles(checkpoints: Sequence[str]) -> list[str]:
    """Short names of files, all different.

    Returns:
        A name for each file, in their order.

    Raises:
        SpecError: the same file twice.

    Example:
        >>> _titles(["runs/a/best.pt", "runs/b/best.pt"]), _titles(["a.pt", "b.pt"])
        (['runs/a/best.pt', 'runs/b/best.pt'], ['a', 'b'])
    """
    if twice := [path for path in checkpoints if list(checkpoints).count(path) > 1]:
        raise SpecError(f"--checkpoint {twice[0]} is given twice; name each network once")
    short = [Path(path).stem for path in checkpoints]
    return short if len(set(short)) == len(short) else list(checkpoints)


def _say(found: Any, *, as_json: bool) -> None:
    from lossatlas.flatness.door import definition_of
    from lossatlas.flatness.stored import lines, text

    if as_json:
        click.echo(text(found))
        return
    width = max(len(model) for model in found.models)
    for name, row in zip(found.results, found.rows(), strict=True):
        click.echo(f"\n{definition_of(name).title} ({name}; flatter is {definition_of(name).flatter})")
        for model in found.models:
            click.echo(f"  {model:{width}}  {row[model]}")
        for head, words in lines(found, name):
            click.echo(f"  {head}: {words}")
    click.echo(f"\n{found.words[-1]}")


def _keep(found: Any, models: dict[str, Any], wish: Wish) -> None:
    from lossatlas.figure.stored import Section

    title = (
        f"Flatness of {', '.join(found.models)}" if len(found.models) < 4 else f"Flatness of {len(found.models)} models"
    )
    section = Section(about=f"{title}.", plot=found.plot(), rows=found.rows(), caveats=found.words)
    keep_numbers(wish.run, title, models, {"flatness": section}, quiet=wish.json)


def _draw(found: Any, out: Sequence[str], wish: Wish) -> None:
    import lossatlas as la
    from lossatlas.draw.report import report
    from lossatlas.flatness.page import parts

    for path in out:
        click.echo(f"drawn: {la.draw(found, path)}", err=wish.json)
    if wish.report:
        number = len(found.models)
        title = f"Flatness of {found.models[0] if number == 1 else f'{number} models'}"
        click.echo(f"written: {report(wish.report, title, parts(found))}", err=wish.json)
