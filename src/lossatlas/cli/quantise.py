"""`lossatlas quantise`: what rounding the weights to a few bits costs, beside what the curvature forecasts."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from lossatlas.cli.as_json import echo_json
from lossatlas.cli.needed import needing, says
from lossatlas.cli.numbers_kept import check_numbers, keep_numbers, own_settings, run_option
from lossatlas.cli.options import WHAT, Measuring, flags
from lossatlas.errors import SpecError

__all__ = ["quantise_command"]


@click.command("quantise", cls=Measuring, own="How it is rounded")
@flags((*WHAT, "metric"))
@click.option("--bits", default="8,6,4,3", show_default=True, metavar="N,…", help="Bits per weight.")
@click.option(
    "--by",
    default="channel",
    show_default=True,
    metavar="WHAT",
    help="What gets a scale of its own: channel, tensor or group.",
)
@needing(
    "--group",
    needs=says("by", "group"),
    default=128,
    show_default=True,
    metavar="N",
    help="Weights per group, with --by group.",
)
@click.option("--affine", is_flag=True, help="Use levels from the smallest weight to the largest, not centred on 0.")
@click.option("--only", multiple=True, metavar="PATTERN", help='Round only these, such as "layer3.*". Repeatable.')
@click.option("--skip", multiple=True, metavar="PATTERN", help='Leave these unrounded, such as "*embed*". Repeatable.')
@click.option(
    "--points", default=6, show_default=True, metavar="N", help="Points on the line from W to the rounded weights."
)
@click.option(
    "--layers",
    default="auto",
    metavar="N|none",
    help="Bits at which each layer is also rounded on its own (default: 4, or the fewest).",
)
@click.option("--no-forecast", is_flag=True, help="Skip the second-order forecast, so that no derivatives are needed.")
@run_option()
@flags(("out", "title"))
@click.option("--json", "json", is_flag=True, help="Print JSON.")
def quantise_command(config: Path | None, **given: Any) -> None:
    """Measure loss and metrics as the weights are rounded to a few bits, beside the second-order forecast.

    Weights are rounded to the nearest value; activations, biases and normalising layers stay in floating point.
    Rounding layer by layer shows where the loss comes from: give the costliest layers more bits.

    \b
    Examples:
      A trained network, its loss, and a metric that must not suffer:
        lossatlas quantise --model train.py:make_model --data train.py:loader --checkpoint best.pt --metric error
      Groups of 64 weights, the head left unrounded, with a picture:
        lossatlas quantise --config scan.toml --by group --group 64 --skip "head*" --out bits.png
      Kept in a folder with its picture, beside other numbers of the network:
        lossatlas quantise --config scan.toml --run runs/numbers
        lossatlas draw runs/numbers --value quantise -o bits.pdf --width column
      Numbers for a script:
        lossatlas quantise --config scan.toml --bits 4,3,2 --layers none --json
    """
    import lossatlas as la
    from lossatlas.cli.scan import Scan, all_samples, build_model, build_objective
    from lossatlas.draw import check_path

    for path in given["out"]:
        check_path(path)
    own = ("bits", "by", "group", "affine", "skip", "points", "layers", "no_forecast", "run", "json")
    wish = {name: given.pop(name) for name in own}
    bits, layers = _bits(wish["bits"]), _layers(wish["layers"])
    scan = all_samples(Scan(**own_settings(config, given)), "what rounding costs")
    objective = build_objective(scan, build_model(scan))
    models = {objective.name: objective}
    check_numbers(wish["run"], models)
    found = la.quantise(
        objective,
        bits,
        by=wish["by"],
        group=wish["group"],
        symmetric=not wish["affine"],
        only=scan.only,
        skip=wish["skip"],
        points=wish["points"],
        layers=layers,
        forecast=not wish["no_forecast"],
        progress=False if wish["json"] else None,
    )
    echo_json(_facts(found)) if wish["json"] else click.echo(_said(found))
    sections = _sections(found, wish, scan.only)
    keep_numbers(wish["run"], f"Rounding of {objective.name}", models, sections, quiet=wish["json"])
    for path in scan.out:
        click.echo(f"drawn: {la.draw(found, path)}", err=wish["json"])


def _bits(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise SpecError(f"--bits {text}; expected numbers such as 8,6,4,3") from None


def _layers(text: str) -> Any:
    if text in ("none", "auto"):
        return None if text == "none" else text
    if not text.isdigit():
        raise SpecError(f"--layers {text}; expected a number of bits, such as 4, auto or none")
    return int(text)


def _said(found: Any) -> str:
    from lossatlas.figure.words import number

    lines = [f"data: {found.about}", *found.words, found.moves]
    for step in found.steps:
        costly = sorted(step.layers, key=lambda layer: -layer.rise)
        lines += [f"\neach on its own at {step.rounding.bits} bits, the costliest first:"] if costly else []
        for layer in costly:
            told = f", forecast {number(layer.forecast)}" if layer.forecast == layer.forecast else ""
            lines.append(f"  {layer.name}: rise {number(layer.rise)}{told}")
    return "\n".join([*lines, f"\n{found.caveat}"])


def _sections(found: Any, wish: dict[str, Any], only: tuple[str, ...]) -> dict[str, Any]:
    """The answers by name, as they are kept; another way of rounding, or other tensors, is another question."""
    from lossatlas.figure.stored import Section

    others = [] if wish["by"] == "channel" else [f"by {wish['by']}" + f" of {wish['group']}" * (wish["by"] == "group")]
    others += ["affine"] if wish["affine"] else []
    others += [f"only {', '.join(only)}"] if only else []
    others += [f"without {', '.join(wish['skip'])}"] if wish["skip"] else []
    plot, about = found.plot(), f"{found.about}. {found.moves}"
    kept = {"quantise": Section(about=about, plot=plot, rows=found.rows(), caveats=(found.caveat,))}
    for step in found.steps:
        if rows := [asdict(layer) for layer in step.layers]:
            words = f"Each layer on its own at {step.rounding.bits} bits. {about}"
            alone = replace(plot, panels=plot.panels[-1:])
            kept["quantise, layers"] = Section(about=words, plot=alone, rows=rows, caveats=(found.caveat,))
    return {", ".join([name, *others]): section for name, section in kept.items()}


def _facts(found: Any) -> dict[str, Any]:
    """All numbers; unknown ones are null."""
    steps = [
        _known(row)
        | {"rounding": asdict(step.rounding), "layers": [_known(asdict(layer)) for layer in step.layers]}
        | {"t": step.t.tolist(), "along": {name: values.tolist() for name, values in step.values.items()}}
        for row, step in zip(found.rows(), found.steps, strict=True)
    ]
    return {"model": found.title, "data": found.about, "moves": found.moves, "caveat": found.caveat, "steps": steps}


def _known(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value != value else value for name, value in row.items()}
