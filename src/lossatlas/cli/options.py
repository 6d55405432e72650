"""Which flags say what is measured and where? They are shared by every command that measures.

Their names are the fields of :class:`lossatlas.cli.scan.Scan`, and the keys of a TOML file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import click

from lossatlas.cli.beside import point_at_others
from lossatlas.cli.marking import parsed
from lossatlas.cli.needed import Need, Needing
from lossatlas.cli.sections import Sectioned
from lossatlas.evaluate.plans import NAMES, PRECISIONS
from lossatlas.objective.batchnorm import MODES
from lossatlas.space.normalize import WAYS

__all__ = ["BOUNDS", "FLAGS", "HOW", "INPUTS", "WHAT", "WHERE", "Measuring", "flags", "settings"]

_option = functools.partial(click.option, cls=Needing)
BOUNDS = click.Tuple([float, float, int])
_MODES = ", ".join(MODES) + " (default: the first; connect: the second)"


def _axis(axis: str) -> Callable[[Any], Any]:
    text = f"Range and number of points along {axis}."
    return _option(f"--{axis}", type=BOUNDS, metavar="LOW HIGH POINTS", help=text)


def _many(*flags: str, **options: Any) -> Callable[[Any], Any]:
    return _option(*flags, multiple=True, **options)


class _Samples(click.ParamType):  # type: ignore[type-arg]  # generic only in new versions of click
    """A number, or the word auto."""

    name = "samples"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn a number into one; anything else is checked later."""
        return int(value) if str(value).lstrip("-").isdigit() else value


def _loads(told: Mapping[str, Any]) -> bool:
    marks = [mark for mark in told.get("mark") or () if isinstance(parsed(mark)[1], str)]
    return bool(marks or any(told.get(name) for name in ("checkpoint", "towards", "to")))


_LOADED = Need(words="a checkpoint, but none is named", met=_loads, so="add --checkpoint FILE")
_CUT = Need(
    words="data that are not in batches yet, such as a pair of tensors, but these are",
    met=lambda facts: bool(facts["cut"]),
    so="leave it out",
    fact="cut",
)

FLAGS: dict[str, Callable[[Any], Any]] = {
    "config": _option(
        "--config",
        type=click.Path(path_type=Path),
        help="Read settings from a TOML file with the same names; flags take precedence.",
    ),
    "model": _option(
        "--model",
        metavar="NAME",
        help="The network: file.py:callable, package.module:callable, torchvision:NAME, "
        "timm:NAME, hf:FOLDER, hf:OWNER/NAME or zoo:NAME.",
    ),
    "checkpoint": _option(
        "--checkpoint", metavar="FILE", help="Its weights: a state dict, safetensors, a Lightning checkpoint, …"
    ),
    "trust_pickle": _option(
        "--trust-pickle",
        needs=_LOADED,
        is_flag=True,
        default=None,
        help="Allow pickled code in the checkpoint to run. Only for files you trust.",
    ),
    "key": _option(
        "--key", needs=_LOADED, metavar="KEY", help="Which dictionary in the checkpoint to use, if several match."
    ),
    "prefix": _option(
        "--prefix",
        needs=_LOADED,
        metavar="TEXT",
        help="What precedes the model's parameter names in the checkpoint.",
    ),
    "partial": _option(
        "--partial",
        needs=_LOADED,
        is_flag=True,
        default=None,
        help="Load whatever matches in the checkpoint and leave the rest unchanged.",
    ),
    "data": _option(
        "--data",
        metavar="NAME",
        help="The samples: file.py:callable, package.module:callable, zoo:NAME, images.npz, text.txt or sentences.tsv.",
    ),
    "function": _option(
        "--function",
        metavar="NAME",
        help="Instead of a model and its data: a lossatlas.Function of arrays (NumPy, JAX, …), or a callable that "
        "returns one, as file.py:callable or package.module:callable.",
    ),
    "loss": _option(
        "--loss",
        metavar="NAME",
        help="cross_entropy (default), mse, l1, nll, bce_with_logits, tokens (mean over "
        "tokens), own (the model's), or a callable.",
    ),
    "forward": _option(
        "--forward",
        metavar="NAME",
        help="How a batch goes through the model: file.py:callable of (model, batch) that returns (outputs, targets). "
        "Default: inputs first, targets last, dictionaries by name.",
    ),
    "metric": _many(
        "--metric",
        metavar="NAME",
        help="Also measure this: error, accuracy, token_error, token_accuracy, perplexity or "
        "file.py:callable. Repeatable.",
    ),
    "block": _option(
        "--block",
        type=int,
        metavar="N",
        help="Tokens in each block of text.txt, for hf: models (default: the model's context length).",
    ),
    "tokenizer": _option(
        "--tokenizer", metavar="FOLDER", help="Folder of the tokenizer for text.txt, if it is not the model's."
    ),
    "samples": _option(
        "--samples",
        type=_Samples(),
        metavar="N|auto",
        help="Use only the first N samples; or 'auto': evaluate a small subset at every point and correct it to all "
        "samples, to within --adaptive's tolerance or 2 % of the range shown, with a stated error.",
    ),
    "batch_size": _option(
        "--batch-size",
        needs=_CUT,
        type=int,
        metavar="N",
        help="Samples in a batch, if the data are a pair of tensors (default: 100).",
    ),
    "memory": _option(
        "--memory",
        type=float,
        metavar="GIB",
        help="Keep this much data on the device and read the rest again at every point (default: 2).",
    ),
    "device": _option("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps or auto (default: the best available)."),
    "dtype": _option("--dtype", metavar="NAME", help="float16, bfloat16, float32 or float64 (default: the model's)."),
    "size": _option(
        "--size", type=int, metavar="N", help="Samples per batch, if neither targets nor losses reveal it."
    ),
    "autograd": _option(
        "--autograd",
        is_flag=True,
        default=None,
        help="Let the model or the loss itself differentiate, with respect to inputs (a PINN) or weights (MAML).",
    ),
    "in_place": _option(
        "--in-place",
        is_flag=True,
        default=None,
        help="Move the model itself instead of a copy, if there is no memory for two.",
    ),
    "batchnorm": _option("--batchnorm", metavar="MODE", help=f"Statistics away from the centre: {_MODES}."),
    "x": _axis("x"),
    "y": _axis("y"),
    "z": _axis("z"),
    "radius": _option(
        "--radius",
        metavar="R|auto",
        help="Look from -R to R along every axis (--x, --y and --z then give only the numbers of points); 'auto' finds "
        "an R at which the basin is half as wide as the picture.",
    ),
    "seed": _option("--seed", type=int, metavar="N", help="Seed of whatever is drawn at random (default: 0)."),
    "normalize": _option(
        "--normalize", metavar="WAY", help=f"How to scale random directions: {', '.join(WAYS)} (default: the first)."
    ),
    "still": _many(
        "--still",
        metavar="ROLE",
        help="Do not move these: bias, norm, weight, or none (default: bias and norm). Repeatable.",
    ),
    "only": _many(
        "--only",
        metavar="PATTERN",
        help='Move only tensors with matching names, such as "layer3.*" or "*attn*". Repeatable.',
    ),
    "canonical": _option(
        "--canonical",
        is_flag=True,
        default=None,
        help="First bring the model into canonical form, which is the same for all rescalings of its units.",
    ),
    "orthogonal": _option("--orthogonal", is_flag=True, default=None, help="Make the directions orthogonal."),
    "rank": _option(
        "--rank",
        type=click.IntRange(min=1),
        metavar="N",
        help="Use random directions whose matrices have this rank: fast for language models; can be exported as LoRA.",
    ),
    "towards": _many(
        "--towards",
        metavar="FILE",
        help="Move towards another checkpoint: 0 is --checkpoint, 1 is this one. Repeatable.",
    ),
    "directions": _option(
        "--directions", metavar="FILE", help="Read the directions from a .safetensors file or the original code's .h5."
    ),
    "input_plane": _option(
        "--input-plane",
        metavar="WHICH",
        help="Move the inputs instead of the weights: adversarial (x up the gradient, y random), random, "
        "towards:N[,N] (to other samples, 1 is the sample) or token:POSITION:N[,N] (to the embeddings of other "
        "tokens, with --layer).",
    ),
    "examples": _option(
        "--examples", metavar="N,…", help="Which samples move, counted from 0: 0,3,7 or 0-9 (default: all)."
    ),
    "norm": _option("--norm", metavar="NAME", help="Norm of the inputs' directions: inf (signs, the default) or 2."),
    "clamp": _option("--clamp", metavar="LOW,HIGH", help="Keep moved inputs within their valid range, such as 0,1."),
    "layer": _option(
        "--layer", metavar="NAME", help="Move the output of this module instead, such as a token embedding."
    ),
    "adaptive": _option(
        "--adaptive",
        type=float,
        metavar="TOLERANCE",
        help="Evaluate only as many points as this tolerance requires and interpolate the rest; a fraction of the "
        "range shown, such as 0.02.",
    ),
    "plan": _option(
        "--plan", metavar="NAME", help=f"How to evaluate a point: {', '.join(NAMES)} (default: the first)."
    ),
    "precision": _option(
        "--precision",
        metavar="NAME",
        help=f"{', '.join(PRECISIONS)} (default: the first; the error of the others is measured).",
    ),
    "standard_error": _option(
        "--standard-error",
        is_flag=True,
        default=None,
        help="Add the standard error over samples to every mean (loss_se); requires the plain plan.",
    ),
    "executor": _option(
        "--executor",
        metavar="NAME",
        help="What evaluates the points: processes:4, devices, dask:4, dask://host:8786, mpi, "
        "torchrun:2, submitit:slurm.toml (default: this process).",
    ),
    "shard": _option(
        "--shard",
        metavar="K/N",
        help="Evaluate share K of N of the grid, into a journal of its own in --run: for array jobs.",
    ),
    "retry": _option(
        "--retry",
        is_flag=True,
        default=None,
        help="At the end, try failed points once more (they are tried again whenever a run resumes, too).",
    ),
    "strict": _option(
        "--strict",
        is_flag=True,
        default=None,
        help="Stop at the first point that fails, instead of recording it and going on.",
    ),
    "seeds": _option(
        "--seeds",
        type=int,
        metavar="K",
        help="Sample K random planes, with seeds counting from --seed, each in a folder below --run; report median and "
        "spread.",
    ),
    "run": _option(
        "--run", metavar="FOLDER", help="Keep the results here; the same command resumes an interrupted run."
    ),
    "out": _many(
        "--out", metavar="PICTURE", help="Draw the result as png, pdf, svg, html, vtp, vti, glb or stl. Repeatable."
    ),
    "mark": _many(
        "--mark",
        metavar="NAME=FILE",
        help="Mark another checkpoint at the nearest point of the plane, with its distance from the plane; or a place, "
        "as NAME=X,Y. Repeatable.",
    ),
    "title": _option("--title", metavar="TEXT", help="Name of the model in pictures."),
}
"""Every flag, by its name in Python."""

WHAT = (
    "config", "model", "checkpoint", "trust_pickle", "key", "prefix", "partial", "data", "block", "tokenizer", "loss",
    "forward", "samples", "batch_size", "memory", "device",
    "dtype", "batchnorm", "size", "autograd", "in_place",
)  # fmt: skip
"""The names of the flags that say what is measured: ``@flags(WHAT)``."""

WHERE = (
    "x", "y", "z", "radius", "seed", "normalize", "still", "only", "orthogonal", "rank", "canonical", "towards",
    "directions",
)  # fmt: skip
"""The names of the flags that say where."""


INPUTS = ("input_plane", "examples", "norm", "clamp", "layer")
"""The names of the flags that move the inputs instead of the weights."""

HOW = ("adaptive", "plan", "precision", "standard_error", "seeds", "executor", "shard", "retry", "strict")
"""The names of the flags that say how."""


class Measuring(Sectioned):
    """A command that measures: its help has the sections what, where, how, the command's own, and out.

    Args:
        own: the heading of the flags that only this command has.
    """

    sections: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "What is measured": (*WHAT, "function", "metric"),
        "Where": WHERE,
        "Inputs instead of weights": INPUTS,
        "How": HOW,
        "Out": ("run", "out", "mark", "report", "title", "view", "print_config", "print_python", "json"),
    }

    def settings(self, config: Path) -> dict[str, Any]:
        """What a settings file says about a scan."""
        from lossatlas.cli.scan import Scan

        return Scan.from_toml(config)


Needs = Need | tuple[Need, ...]


def flags(
    names: Iterable[str], needs: Needs | Mapping[str, Needs] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that gives a command these flags, in this order; none has a default of its own.

    Args:
        names: of the flags.
        needs: what they need in this command, besides what they need everywhere: for all of them, or by name.

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
            own = needs.get(name, ()) if isinstance(needs, Mapping) else needs
            option: Any = command.__click_params__[-1]  # type: ignore[attr-defined]  # the flag just added
            option.needs = (*((own,) if isinstance(own, Need) else own), *option.needs)
        return command

    return decorate


def settings(config: Path | None, given: dict[str, Any]) -> dict[str, Any]:
    """The values of a :class:`~lossatlas.cli.scan.Scan`: those of the file, overruled by the flags that were given.

    Returns:
        Values by the names of a Scan's fields, without those that were not given.

    Raises:
        SpecError: the file is missing or damaged, or has an unknown key.
    """
    from lossatlas.cli.scan import Scan

    found = Scan.from_toml(config) if config else {}
    if config:
        point_at_others(config, found)
    found |= {name: value for name, value in given.items() if value not in (None, ())}
    if "still" in found:
        roles = tuple(role for entry in found["still"] for role in entry.split(","))
        found["still"] = () if roles == ("none",) else roles
    return found
