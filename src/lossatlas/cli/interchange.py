"""`lossatlas import` and `lossatlas export`: numbers from other programs, and files of the original code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lossatlas.cli.needed import Checked, Need, check_late, flag, needing, unless

__all__ = ["export_command", "import_command"]


_SUFFIXES = (".h5", ".hdf5", ".npz", ".csv", ".tsv", ".txt")


def _source(words: str, *holds: str) -> Need:
    """The need for a source of a certain content."""
    return Need(words=words, met=lambda facts: facts["holds"] in holds, so="leave it out", fact="holds")


_TABLE = _source("tables and arrays; an .h5 file names its axes itself", "table")
_VALUES = _source("values, but directions have none", "table", "surface")
_DIRECTIONS = _source("directions, but this source has none", "directions")


@click.command("import", cls=Checked)
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The file to write (default: next to the source).")
@needing(
    "--model", needs=_DIRECTIONS, metavar="NAME", help="For directions: the model to whose parameters they belong."
)
@needing(
    "--axis",
    "axes",
    needs=_TABLE,
    multiple=True,
    metavar="COLUMN",
    help="A column of coordinates, if not x, y, …. Repeatable.",
)
@needing(
    "--label",
    "labels",
    needs=_TABLE,
    multiple=True,
    metavar="COLUMN=TEXT",
    help="Which direction a column is, if not called x, y, …: sharp='sharpest direction'. Repeatable.",
)
@needing(
    "--title", needs=_VALUES, metavar="TEXT", help="Name of the model in pictures (default: the name of the file)."
)
@needing("--data", needs=_VALUES, metavar="TEXT", help="Where the data come from, for captions.")
@needing(
    "--samples",
    needs=_VALUES,
    type=click.IntRange(min=1),
    metavar="N",
    help="Samples behind each mean, if you know the number.",
)
def import_command(source: Path, out: Path | None, model: str | None, **about: Any) -> None:
    """Read SOURCE, numbers from another program: a table, arrays, or a file of the original code.

    \b
    .csv .tsv .txt   a row for each point: coordinates, loss, other values; names in the first row
    .npz             arrays x, y, loss, …: a grid (loss[i, j] at x[i], y[j]) or a table
    .h5 .hdf5        a surface of the original code, or its directions (with --model)

    Surfaces become a .nc file, directions a .safetensors file. What the source does not say, such as the length of a
    direction or the number of samples, stays unknown. A column called step or lr is drawn, and not taken for a
    direction.

    \b
    Examples:
      lossatlas import surface.h5 -o surface.nc       then: lossatlas draw surface.nc -o surface.html
      lossatlas import table.csv --axis alpha --axis beta --samples 10000
      lossatlas import directions.h5 --model zoo:resnet56 -o directions.safetensors
    """
    from lossatlas.results import arrays, interchange, landscape

    if source.suffix.lower() not in _SUFFIXES:
        raise click.UsageError(f"{source}: unknown suffix; expected one of {', '.join(_SUFFIXES)}")
    given: dict[str, Any] = {name: value for name, value in about.items() if value}
    is_table = source.suffix.lower() not in (".h5", ".hdf5")
    holds = "table" if is_table else "directions" if interchange.is_directions(source) else "surface"
    check_late(holds=holds)
    if holds == "table":
        if wrong := [one for one in given.get("labels", ()) if "=" not in one]:
            raise click.UsageError(f"--label {wrong[0]}: expected COLUMN=TEXT, such as sharp='sharpest direction'")
        labels = dict(one.split("=", 1) for one in given.pop("labels", ()))
        found = arrays.read_table(source, **given, labels=labels)
    elif holds == "surface":
        found = interchange.read_surface(source).assign_attrs(given)
    elif model is None:
        raise click.UsageError(f"{source} holds directions without names; --model NAME says whose they are")
    else:
        _import_directions(source, out or source.with_suffix(".safetensors"), model)
        return
    click.echo(f"written: {landscape.save(found, out or source.with_suffix('.nc'))}")


def _import_directions(source: Path, out: Path, model: str) -> None:
    import torch

    from lossatlas.cli import names
    from lossatlas.results import interchange
    from lossatlas.space.charts import Plane
    from lossatlas.space.planefile import save_directions

    origin = {name: tensor.detach() for name, tensor in names.model(model).named_parameters()}
    shapes = {name: tuple(tensor.shape) for name, tensor in origin.items()}
    directions = {
        axis: {name: torch.from_numpy(array) for name, array in interchange.match(arrays, shapes).items()}
        for axis, arrays in interchange.read_directions(source).items()
    }
    if out.exists():
        raise click.UsageError(f"{out} exists; choose another file")
    click.echo(f"written: {save_directions(Plane(origin, directions), out)}")


@click.command("export", cls=Checked)
@click.argument("run")
@click.argument("target", type=click.Path(path_type=Path))
@needing(
    "--directions",
    needs=unless("lora", words="an .h5 surface, but --lora writes only the directions"),
    type=click.Path(path_type=Path),
    help="Write the run's directions too, to this .h5 file.",
)
@needing(
    "--model",
    needs=flag("directions", "lora"),
    metavar="NAME",
    help="With --directions or --lora: the model to whose parameters they belong.",
)
@click.option("--lora", is_flag=True, help="Write the run's directions to the folder TARGET as LoRA adapters (peft).")
@needing(
    "--lora-rank",
    needs=flag("lora"),
    default=64,
    show_default=True,
    metavar="N",
    help="Largest rank of an adapter.",
)
def export_command(
    run: str, target: Path, directions: Path | None, model: str | None, lora: bool, lora_rank: int
) -> None:
    """Write a RUN to TARGET: an .h5 file that scripts for the original code can read, or LoRA adapters.

    With --lora, TARGET becomes a folder with an adapter for each axis. The network at (a, b) is the base model with the
    adapters x and y scaled by a and b, so an inference engine that serves adapters can evaluate many points at once.

    \b
    Examples:
      lossatlas export runs/a surface.h5
      lossatlas export runs/a surface.h5 --directions directions.h5 --model zoo:resnet56
      lossatlas sample --model hf:openai-community/gpt2 --data text.txt --rank 4 --run runs/lm
      lossatlas export runs/lm adapters --lora --model hf:openai-community/gpt2
    """
    from lossatlas.results import interchange
    from lossatlas.results.opening import landscape_at

    if lora:
        _export_adapters(Path(run), target, model, lora_rank)
        return
    landscape = landscape_at(run)
    if directions is not None:
        if model is None:
            raise click.UsageError("--directions needs --model NAME: the file stores no names, only the model's order")
        _export_directions(Path(run), directions, model)
    click.echo(f"written: {interchange.write_surface(landscape, target, direction_file=directions)}")


def _export_adapters(run: Path, target: Path, model: str | None, rank: int) -> None:
    from lossatlas.cli import names
    from lossatlas.space.adapterfiles import save_adapters
    from lossatlas.space.planefile import load_directions

    if model is None:
        raise click.UsageError(
            "--lora needs --model NAME, which says what is a linear layer, an embedding or a convolution"
        )
    found = load_directions(run / "directions.safetensors")
    base = model.removeprefix("hf:") if model.startswith("hf:") else ""
    for folder in save_adapters(found, names.model(model), target, rank=rank, base=base):
        click.echo(f"written: {folder}")


def _export_directions(run: Path, target: Path, model: str) -> None:
    from lossatlas.cli import names
    from lossatlas.results import interchange
    from lossatlas.space.planefile import load_directions

    shapes = {name: tuple(tensor.shape) for name, tensor in names.model(model).named_parameters()}
    found = load_directions(run / "directions.safetensors")
    arrays = {axis: {name: tensor.numpy() for name, tensor in d.items()} for axis, d in found.items()}
    click.echo(f"written: {interchange.write_directions(target, arrays, shapes)}")
