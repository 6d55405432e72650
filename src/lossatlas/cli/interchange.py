"""`lossatlas import` and `lossatlas export`: files of the original code."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["export_command", "import_command"]


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The file to write; left out, next to the source.")
@click.option("--model", metavar="NAME", help="For directions: the model whose parameters they belong to.")
def import_command(source: Path, out: Path | None, model: str | None) -> None:
    """Read a surface (to .nc) or directions (to .safetensors) of the original code from SOURCE, an .h5 file.

    \b
    Examples:
      lossatlas import surface.h5 -o surface.nc       then: lossatlas draw surface.nc -o surface.html
      lossatlas import directions.h5 --model zoo:resnet56 -o directions.safetensors
    """
    from lossatlas.results import interchange, landscape

    if not interchange.is_directions(source):
        surface = interchange.read_surface(source)
        click.echo(f"written: {landscape.save(surface, out or source.with_suffix('.nc'))}")
        return
    if model is None:
        raise click.UsageError(f"{source} holds directions without names; --model NAME says whose they are")
    _import_directions(source, out or source.with_suffix(".safetensors"), model)


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


@click.command("export")
@click.argument("run")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--directions", type=click.Path(path_type=Path), help="Write the run's directions too, to this .h5 file.")
@click.option("--model", metavar="NAME", help="With --directions: the model, for the order of its parameters.")
def export_command(run: str, target: Path, directions: Path | None, model: str | None) -> None:
    """Write a RUN to TARGET, an .h5 file that scripts made for the original code can read.

    \b
    Examples:
      lossatlas export runs/a surface.h5
      lossatlas export runs/a surface.h5 --directions directions.h5 --model zoo:resnet56
    """
    import lossatlas as la
    from lossatlas.results import interchange

    landscape = la.open(run)
    if directions is not None:
        if model is None:
            raise click.UsageError("--directions needs --model NAME: the layout has no names, only the model's order")
        _export_directions(Path(run), directions, model)
    click.echo(f"written: {interchange.write_surface(landscape, target, direction_file=directions)}")


def _export_directions(run: Path, target: Path, model: str) -> None:
    from lossatlas.cli import names
    from lossatlas.results import interchange
    from lossatlas.space.planefile import load_directions

    shapes = {name: tuple(tensor.shape) for name, tensor in names.model(model).named_parameters()}
    found = load_directions(run / "directions.safetensors")
    arrays = {axis: {name: tensor.numpy() for name, tensor in d.items()} for axis, d in found.items()}
    click.echo(f"written: {interchange.write_directions(target, arrays, shapes)}")
