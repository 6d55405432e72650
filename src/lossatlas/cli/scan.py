"""What is a scan on the command line? One record, filled by flags and TOML, and the objects it stands for."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import click
import tomli_w
import torch
from torch import nn

from lossatlas.cli import corpus as corpora
from lossatlas.cli import names, program
from lossatlas.cli.device import device_for
from lossatlas.cli.functions import check_function
from lossatlas.cli.given import given_directions, way_words
from lossatlas.cli.inputs import build_input_plane, check_inputs, usual
from lossatlas.cli.library_names import random_weights
from lossatlas.cli.marking import check_marks
from lossatlas.cli.needed import check_late
from lossatlas.cli.radius import reaching
from lossatlas.cli.samples import first_inputs, first_samples, in_format
from lossatlas.cli.seen import view_fields
from lossatlas.errors import SpecError, unknown
from lossatlas.evaluate.plans import NAMES, PRECISIONS
from lossatlas.expected import one_of
from lossatlas.objective import Objective, batchnorm
from lossatlas.objective.batches import batches_of
from lossatlas.objective.checkpoints import load_checkpoint
from lossatlas.objective.private import private_copy
from lossatlas.objective.wrappers import unwrapped
from lossatlas.sampling.workers.named import named
from lossatlas.space import directions as ways
from lossatlas.space.canonical import canonical
from lossatlas.space.charts import Plane, Recipe
from lossatlas.space.normalize import STILL, WAYS
from lossatlas.space.planefile import load_labels
from lossatlas.untrusted import printable, reading, text_of

__all__ = [
    "AXES",
    "DTYPES",
    "GIB",
    "MANY",
    "TOLERANCE",
    "Scan",
    "all_samples",
    "another",
    "build_model",
    "build_objective",
    "build_plane",
    "called",
    "load_into",
]

DTYPES = ("float16", "bfloat16", "float32", "float64")
GIB = 1024**3
TOLERANCE = 0.02
MOST_SETTINGS = 1024**2
AXES = ("x", "y", "z")


@dataclass(frozen=True, kw_only=True)
class Scan:
    """All settings of `lossatlas sample`. The same names are flags and TOML keys."""

    model: str = ""
    data: str = ""
    function: str = ""
    checkpoint: str = ""
    trust_pickle: bool = False
    key: str = ""
    prefix: str = ""
    partial: bool = False
    block: int = 0
    tokenizer: str = ""
    loss: str = "cross_entropy"
    forward: str = ""
    metric: tuple[str, ...] = ()
    samples: int | Literal["auto"] = 0
    batch_size: int = 100
    memory: float = 2.0
    device: str = ""
    dtype: str = ""
    batchnorm: batchnorm.Mode = "frozen"
    size: int = 0
    autograd: bool = False
    in_place: bool = False
    x: tuple[float, float, int] | None = None
    y: tuple[float, float, int] | None = None
    z: tuple[float, float, int] | None = None
    radius: str = ""
    seed: int = 0
    normalize: str = "filter"
    still: tuple[str, ...] = STILL
    only: tuple[str, ...] = ()
    orthogonal: bool = False
    rank: int = 0
    canonical: bool = False
    towards: tuple[str, ...] = ()
    directions: str = ""
    input_plane: str = ""
    examples: str = ""
    norm: str = ""
    clamp: str = ""
    layer: str = ""
    adaptive: float = 0.0
    plan: str = "auto"
    precision: str = "exact"
    standard_error: bool = False
    executor: str = ""
    shard: str = ""
    retry: bool = False
    strict: bool = False
    seeds: int = 0
    run: str = ""
    out: tuple[str, ...] = ()
    mark: tuple[str, ...] = ()
    title: str = ""
    view: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the settings before anything is loaded."""
        check_function(self)
        for needed, forms in () if self.function else (("model", names.FORMS), ("data", names.DATA)):
            if not getattr(self, needed):
                raise SpecError(f"--{needed} is missing: name it as {forms}")
        known = {"normalize": WAYS, "batchnorm": batchnorm.MODES, "plan": NAMES, "precision": PRECISIONS}
        for option, choices in known.items():
            if getattr(self, option) not in choices:
                raise SpecError(unknown(option, getattr(self, option), tuple(choices)))
        if not isinstance(self.samples, int) and self.samples != "auto":
            raise SpecError(f"--samples {self.samples}; expected a number, or 'auto' for a corrected subset")
        self._check_text()
        self._check_workers()
        if self.dtype and self.dtype not in DTYPES:
            raise SpecError(unknown("dtype", self.dtype, DTYPES))
        if self.only and (self.directions or len(self.towards) == len(self.axes)):
            raise SpecError("--only says which tensors random directions move, but no direction is random here")
        if self.canonical and (self.directions or self.towards or self.batchnorm != "frozen"):
            raise SpecError(
                "--canonical needs random directions and frozen BatchNorm: other directions belong to the model as it "
                "was, and a folded norm has no statistics of its own"
            )
        if self.directions and self.towards:
            raise SpecError("--directions and --towards both say where to go; give one of them")
        check_inputs(self)
        check_marks(self)
        self._check_uncertainty()
        if len(self.towards) > len(self.axes):
            raise SpecError(f"--towards is given {len(self.towards)} times for the axes {list(self.axes)}")

    def _check_workers(self) -> None:
        if self.retry and self.strict:
            raise SpecError("--retry goes on after a point fails, but --strict stops there: give one of them")
        if self.executor:
            named(self.executor)
        if self.shard and (not self.run or self.seeds):
            raise SpecError(f"--shard {self.shard} needs --run, the folder that all shards share, without --seeds")

    def _check_text(self) -> None:
        text = corpora.wanted(self.model, self.data)
        for option in ("block", "tokenizer"):
            if getattr(self, option) and not text:
                raise SpecError(
                    f"--{option} needs --model hf:FOLDER and --data text.txt, whose tokens it cuts into blocks"
                )
        if self.block < 0 or self.block == 1:
            raise SpecError(f"--block {self.block}; expected at least 2 tokens")
        if text and self.loss not in ("cross_entropy", "tokens", "own"):
            raise SpecError(
                f"--loss {self.loss} with a text: a language model is measured by token (--loss tokens), or by its own"
            )

    def _check_uncertainty(self) -> None:
        if self.seeds and (self.directions or self.towards or self.adaptive or self.samples == "auto"):
            raise SpecError(
                "--seeds needs random directions on a whole grid: leave out --directions, --towards, --adaptive and "
                "--samples auto"
            )
        if self.seeds and self.executor:
            raise SpecError("--executor is for a single plane: leave --seeds out, or start a run for each seed")
        if self.seeds < 0 or self.seeds == 1:
            raise SpecError(f"--seeds {self.seeds}; expected at least 2 random planes, preferably 5")
        if self.standard_error and (self.adaptive or self.samples == "auto"):
            raise SpecError("--standard-error needs a whole grid and all samples: leave out --adaptive, --samples auto")

    @property
    def axes(self) -> dict[str, tuple[float, float, int]]:
        """The axes asked for; none asked for means a square of 51 by 51, or a line towards a single other input."""
        given = {axis: getattr(self, axis) for axis in AXES if getattr(self, axis) is not None}
        return reaching(given or dict.fromkeys(usual(self), (-1.0, 1.0, 51)), self.radius)

    @classmethod
    def from_toml(cls, path: Path) -> dict[str, Any]:
        """The settings in a TOML file, checked by name and type.

        Returns:
            Values by the names of the fields.

        Raises:
            SpecError: the file is missing or damaged, or a key or value is wrong; all good keys are listed.
        """
        text = text_of(path, "TOML", most=MOST_SETTINGS)
        with reading(path, "TOML"):
            content = tomllib.loads(text)
        defaults = {entry.name: entry.default for entry in fields(cls)}
        settings = {}
        for key, value in content.items():
            name = key.replace("-", "_")
            if name not in defaults:
                raise SpecError(f"{path}: unknown key {key!r}; the valid keys are {', '.join(defaults)}")
            if name == "view":
                settings[name] = view_fields(path, value)
                continue
            settings[name] = _typed(path, key, value, defaults[name], many=name in MANY)
        return settings

    def to_toml(self) -> str:
        """The TOML file that says the same.

        Returns:
            Its text.

        Raises:
            SpecError: a file name is not Unicode text.
        """
        defaults = {entry.name: entry.default for entry in fields(self)}
        told = {name: getattr(self, name) for name in defaults if name != "view"}
        table: dict[str, Any] = {key: value for key, value in told.items() if value != defaults[key]}
        if self.view:
            table["view"] = {key: "none" if value is None else value for key, value in self.view.items()}
        text = tomli_w.dumps(table).rstrip("\n")
        if not text.isascii() and printable(text.replace("\n", "")) != text.replace("\n", ""):
            raise SpecError("a setting has a name that is not Unicode text, which a TOML file cannot hold; rename it")
        return text

    def to_python(self) -> str:
        """The Python program that does the same."""
        return program.to_python(self, TOLERANCE)

    @property
    def measured_by(self) -> str:
        """The loss by name; by token where a language model reads a text."""
        return "tokens" if self.loss == "cross_entropy" and corpora.wanted(self.model, self.data) else self.loss


MANY = ("metric", "still", "only", "towards", "out", "mark")


def _typed(path: Path, key: str, value: Any, default: Any, *, many: bool) -> Any:
    """A TOML value in the type of its field; one text stands for a list of one."""
    if many:
        entries = [value] if isinstance(value, str) else value
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise SpecError(f"{path}: {key} = {value!r}; expected a text, or a list of texts")
        return tuple(entries)
    if key == "samples" and value == "auto":
        return value
    if key in AXES:
        good = isinstance(value, list) and len(value) == 3 and type(value[2]) is int
        if not good or not all(type(bound) in (int, float) for bound in value[:2]):
            raise SpecError(f"{path}: {key} = {value!r}; expected {key} = [low, high, points]")
        return tuple(value)
    if (wanted := type(default)) is float and isinstance(value, int):
        return float(value)
    if isinstance(value, wanted) and isinstance(value, bool) is (wanted is bool):
        return value
    raise SpecError(f"{path}: {key} = {value!r} is {one_of(type(value))}; expected {one_of(wanted)}")


def all_samples(scan: Scan, what: str) -> Scan:
    """The scan on all samples, if it asks for few: only the loss on a subset can be corrected."""
    if scan.samples != "auto":
        return scan
    click.echo(f"samples: all of them; a subset, as 'auto' takes for a loss, is not enough for {what}", err=True)
    return replace(scan, samples=0)


def build_model(scan: Scan) -> nn.Module:
    """The model, with its checkpoint loaded and in the format asked for."""
    if scan.function:
        raise SpecError(
            f"function {scan.function!r} has only values, for lossatlas sample, sharpness, and eigen --map --critical; "
            "this command needs a PyTorch model: --model"
        )
    model = names.model(scan.model, checkpoint=scan.checkpoint, trust_pickle=scan.trust_pickle)
    if scan.checkpoint:
        load_into(scan, model, scan.checkpoint)
    return model.to(getattr(torch, scan.dtype)) if scan.dtype else model


def load_into(scan: Scan, model: nn.Module, path: str) -> None:
    """Load a checkpoint into a model, and say which parts were not taken as they stand."""
    options: dict[str, Any] = {"key": scan.key, "prefix": scan.prefix, "partial": scan.partial}
    loaded = load_checkpoint(model, path, trust_pickle=scan.trust_pickle, **options)
    if loaded.key or loaded.prefix or loaded.by or loaded.ignored or loaded.absent or loaded.packed:
        click.echo(f"{path}: {loaded.words()}", err=True)


def build_objective(scan: Scan, model: nn.Module) -> Objective:
    """The objective: model, data, loss and metrics."""
    loss, text = scan.measured_by, None
    if corpora.wanted(scan.model, scan.data):
        options: dict[str, Any] = {"block": scan.block, "tokenizer": scan.tokenizer, "rows": scan.batch_size}
        text = corpora.corpus(model, names.folder(scan.model), scan.data, own=loss == "own", **options)
        click.echo(f"text:    {text.words}", err=True)
    data = names.data(scan.data) if text is None else text.batches
    cut = batches_of(data, scan.batch_size)
    check_late(cut=text is not None or cut is not data)
    if not isinstance(data, (tuple, list)):
        data = cut
    if scan.samples:
        data = first_samples(data, scan.samples) if scan.samples != "auto" else data
    if scan.dtype:
        data = in_format(data, getattr(torch, scan.dtype))
    if scan.canonical:
        model = canonical(model, first_inputs(data)).model
    return Objective(
        model,
        data,
        loss=names.loss(loss),
        metrics=dict(names.metric(text) for text in scan.metric),
        forward=_forward(scan, loss, text),
        batchnorm=scan.batchnorm,
        size=scan.size or None,
        autograd=scan.autograd,
        in_place=scan.in_place,
        device=device_for(scan.device, model, in_place=scan.in_place),
        memory=int(scan.memory * GIB),
        batch_size=scan.batch_size,
        name=scan.title or called(scan, model) + (", canonical form" if scan.canonical else ""),
        data_name=_short(scan.data),
    )


def _forward(scan: Scan, loss: str, text: Any) -> Any:
    """How a batch goes through the model: as --forward says, as a text requires, or as the loss does."""
    by_token = text is not None and loss == "tokens" and not scan.forward
    return text.forward if by_token else names.forward(loss, scan.forward)


def called(scan: Scan, model: nn.Module) -> str:
    """What a model is called in pictures; where no checkpoint was loaded, with the origin of its weights."""
    name = names.folder(scan.model) if (own := scan.model.startswith("hf:")) else _short(scan.model)
    if scan.checkpoint:
        return f"{type(unwrapped(model)).__name__} of {name}" if own else name
    whose = "random" if random_weights(scan.model) else "pretrained" if own else ""
    return f"{whose} weights of {name}" if whose else name


def _short(name: str) -> str:
    """A name for pictures: what stands behind the colon, or a file's stem."""
    return Path(name).stem if name.endswith((".npz", ".txt", ".tsv")) else name.partition("(")[0].rpartition(":")[2]


def build_plane(scan: Scan, objective: Objective) -> Any:
    """The plane: random, towards other checkpoints, from a file, or of inputs."""
    if scan.input_plane:
        return build_input_plane(scan, objective)
    axes = tuple(scan.axes)
    if scan.directions:
        given = given_directions(scan.directions, objective, axes)
        known = load_labels(scan.directions) if Path(scan.directions).suffix == ".safetensors" else {}
        labels = {axis: known.get(axis) or f"{axis} of {Path(scan.directions).name}" for axis in axes}
        return Plane(objective.origin, given, Recipe(labels=labels))
    options: dict[str, Any] = {"by": scan.normalize, "still": scan.still, "only": scan.only}
    if not scan.towards:
        options["orthogonal"] = scan.orthogonal
        return Plane.random(objective, seed=scan.seed, axes=axes, rank=scan.rank or None, **options)
    if scan.rank:
        raise SpecError("--rank is about random directions; leave --towards out")
    found, labels = {}, {}
    for axis, path in itertools.zip_longest(axes, scan.towards):
        if path is None:
            found[axis] = ways.random(objective, seed=scan.seed, stream=axis, **options)
            labels[axis] = "random direction"
        else:
            found[axis] = ways.towards(objective, another(scan, objective, path))
            labels[axis] = way_words(scan, path)
    recipe = Recipe(
        labels=labels,
        seed=scan.seed if len(axes) > len(scan.towards) else None,
        by=scan.normalize if len(axes) > len(scan.towards) else "none",
    )
    return Plane(objective.origin, found, recipe)


def another(scan: Scan, objective: Objective, path: str) -> nn.Module:
    """The same network with the weights of another checkpoint."""
    other = private_copy(objective.model, device=torch.device("cpu"), training=False)
    for mine, own in zip(other.parameters(), objective.model.parameters(), strict=True):
        mine.requires_grad_(own.requires_grad)
    load_into(scan, other, path)
    return other
