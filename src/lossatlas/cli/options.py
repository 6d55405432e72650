"""Which flags say what is measured and where: shared by every command that measures.

Their names are the fields of :class:`lossatlas.cli.scan.Scan`, and the keys of a TOML file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from lossatlas.evaluate.plans import NAMES, PRECISIONS
from lossatlas.objective.batchnorm import MODES
from lossatlas.space.normalize import WAYS

__all__ = ["BOUNDS", "FLAGS", "WHAT", "WHERE", "flags", "settings"]

BOUNDS = click.Tuple([float, float, int])


def _axis(axis: str) -> Callable[[Any], Any]:
    text = f"Range and number of points along {axis}. Without any axis: -1 1 51 along x and y; --x alone is a line."
    return click.option(f"--{axis}", type=BOUNDS, metavar="LOW HIGH POINTS", help=text)


def _many(*flags: str, **options: Any) -> Callable[[Any], Any]:
    return click.option(*flags, multiple=True, **options)


class _Samples(click.ParamType):  # type: ignore[type-arg]  # generic only in new versions of click
    """A number, or the word auto."""

    name = "samples"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A number where it is one; whatever else there is, is checked later."""
        return int(value) if str(value).lstrip("-").isdigit() else value


FLAGS: dict[str, Callable[[Any], Any]] = {
    "config": click.option(
        "--config", type=click.Path(path_type=Path), help="TOML file with the same names; flags win over it."
    ),
    "model": click.option(
        "--model", metavar="NAME", help="file.py:callable, package.module:callable, torchvision:, timm:, hf:, zoo:"
    ),
    "checkpoint": click.option("--checkpoint", metavar="FILE", help="State dict, safetensors, Lightning checkpoint, …"),
    "trust_pickle": click.option(
        "--trust-pickle", is_flag=True, default=None, help="Run code in the checkpoint. Only for your own files."
    ),
    "key": click.option("--key", metavar="KEY", help="The dictionary within the checkpoint, where several fit."),
    "prefix": click.option("--prefix", metavar="TEXT", help="What stands before the model's names in the checkpoint."),
    "partial": click.option(
        "--partial", is_flag=True, default=None, help="Load what fits of the checkpoint, and leave the rest as it is."
    ),
    "data": click.option(
        "--data", metavar="NAME", help="file.py:callable, package.module:callable, zoo:NAME, images.npz, text.txt"
    ),
    "loss": click.option(
        "--loss",
        metavar="NAME",
        help="cross_entropy (default), mse, l1, nll, bce_with_logits, tokens (by token), own, or a callable",
    ),
    "metric": _many(
        "--metric",
        metavar="NAME",
        help="error, accuracy, token_error, token_accuracy, perplexity or file.py:callable; may be repeated.",
    ),
    "block": click.option(
        "--block",
        type=int,
        metavar="N",
        help="Tokens in a block of text.txt, for a model of hf: (the model's own length).",
    ),
    "tokenizer": click.option(
        "--tokenizer", metavar="FOLDER", help="Where the tokenizer for text.txt is, if not in the folder of hf:."
    ),
    "samples": click.option(
        "--samples",
        type=_Samples(),
        metavar="N|auto",
        help="Only the first N samples; or 'auto': a small part of them at every point, corrected to all of them "
        "to within --adaptive's tolerance, or 2 % of the range shown, with a stated error.",
    ),
    "batch_size": click.option(
        "--batch-size", type=int, metavar="N", help="Rows at once, where the data is a pair of tensors (100)."
    ),
    "memory": click.option(
        "--memory", type=float, metavar="GIB", help="Data kept on the device; beyond it is read again (2)."
    ),
    "device": click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps; left out, where the model is."),
    "dtype": click.option(
        "--dtype", metavar="NAME", help="float16, bfloat16, float32 or float64; left out, that of the model."
    ),
    "size": click.option(
        "--size", type=int, metavar="N", help="Samples in every batch, where neither targets nor losses tell it."
    ),
    "autograd": click.option(
        "--autograd",
        is_flag=True,
        default=None,
        help="Let the model or the loss take derivatives, by inputs (a PINN) or by weights (MAML).",
    ),
    "in_place": click.option(
        "--in-place",
        is_flag=True,
        default=None,
        help="Move the model itself instead of a copy, for one that fits into memory only once.",
    ),
    "batchnorm": click.option("--batchnorm", metavar="MODE", help=f"{', '.join(MODES)} (first is the default)."),
    "x": _axis("x"),
    "y": _axis("y"),
    "z": _axis("z"),
    "seed": click.option("--seed", type=int, metavar="N", help="Seed of the random directions (0)."),
    "normalize": click.option("--normalize", metavar="WAY", help=f"{', '.join(WAYS)} (first is the default)."),
    "still": _many(
        "--still", metavar="ROLE", help="Roles that stay: bias, norm, weight, or none (default: bias and norm)."
    ),
    "only": _many(
        "--only",
        metavar="PATTERN",
        help='Move only tensors with such names: "layer3.*", "*attn*"; may be repeated. Left out, all.',
    ),
    "canonical": click.option(
        "--canonical",
        is_flag=True,
        default=None,
        help="First bring the model into the form that networks computing the same function share.",
    ),
    "orthogonal": click.option(
        "--orthogonal", is_flag=True, default=None, help="Turn the directions until they are orthogonal."
    ),
    "towards": _many(
        "--towards", metavar="FILE", help="Go to another checkpoint: 0 is --checkpoint, 1 this one. May be repeated."
    ),
    "directions": click.option(
        "--directions", metavar="FILE", help="Directions from a .safetensors file or the original code's .h5."
    ),
    "adaptive": click.option(
        "--adaptive",
        type=float,
        metavar="TOLERANCE",
        help="Evaluate only the points needed for this error, a share of the shown range (0.02), and interpolate.",
    ),
    "plan": click.option(
        "--plan", metavar="NAME", help=f"How a point is evaluated: {', '.join(NAMES)} (first is the default)."
    ),
    "precision": click.option(
        "--precision", metavar="NAME", help=f"{', '.join(PRECISIONS)} (first is the default; the others are measured)."
    ),
    "standard_error": click.option(
        "--standard-error",
        is_flag=True,
        default=None,
        help="Put the standard error over the samples beside every mean (loss_se); takes the plain plan.",
    ),
    "executor": click.option(
        "--executor",
        metavar="NAME",
        help="Who evaluates: processes:4, devices, dask:4, dask://host:8786, mpi, submitit:slurm.toml (this process).",
    ),
    "seeds": click.option(
        "--seeds",
        type=int,
        metavar="K",
        help="K random planes, seeds 0 to K - 1 (from --seed on), each in a folder below --run: median and spread.",
    ),
    "run": click.option("--run", metavar="FOLDER", help="Keep every finished block here; the same command resumes."),
    "out": _many(
        "--out", metavar="PICTURE", help="Draw the result: png, pdf, svg, html, vtp, vti, glb, stl. May be repeated."
    ),
    "title": click.option("--title", metavar="TEXT", help="What to call the model in pictures."),
}
"""Every flag, by its name in Python."""

WHAT = (
    "config", "model", "checkpoint", "trust_pickle", "key", "prefix", "partial", "data", "block", "tokenizer", "loss",
    "samples", "batch_size", "memory", "device",
    "dtype", "batchnorm", "size", "autograd", "in_place",
)  # fmt: skip
"""The names of the flags that say what is measured: ``@flags(WHAT)``."""

WHERE = ("x", "y", "z", "seed", "normalize", "still", "only", "orthogonal", "canonical", "towards", "directions")
"""The names of the flags that say where."""


def flags(names: Iterable[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that gives a command these flags, in this order; none has a default of its own.

    Returns:
        The decorator.

    Example:
        >>> @click.command()
        ... @flags(("model", "data"))
        ... def command(**given):
        ...     ...
        >>> [parameter.name for parameter in command.params]
        ['model', 'data']
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(tuple(names)):
            command = FLAGS[name](command)
        return command

    return decorate


def settings(config: Path | None, given: dict[str, Any]) -> dict[str, Any]:
    """What a :class:`~lossatlas.cli.scan.Scan` is told: what the file says, overruled by the flags that were given.

    Returns:
        Values by the names of a Scan's fields, none for those that nobody gave.

    Raises:
        SpecError: the file is missing or damaged, or has an unknown key.
    """
    from lossatlas.cli.scan import Scan

    found = Scan.from_toml(config) if config else {}
    found |= {name: value for name, value in given.items() if value not in (None, ())}
    if "still" in found:
        roles = tuple(role for entry in found["still"] for role in entry.split(","))
        found["still"] = () if roles == ("none",) else roles
    return found
