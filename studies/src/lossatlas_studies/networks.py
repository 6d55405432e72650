"""How does a study get and measure its networks? Data by words, training, landscapes and eigenvalues as stages."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import zoo
from lossatlas.atomic import replacing
from lossatlas.curvature.map import curvature_map
from lossatlas.curvature.spectrum import eigenvalues
from lossatlas.errors import SpecError
from lossatlas.objective import Objective
from lossatlas.objective.batches import fingerprint
from lossatlas.objective.batchnorm import Mode
from lossatlas.results import landscape as schema
from lossatlas.zoo import cifar
from lossatlas.zoo.train import TrainRecipe, train
from lossatlas_studies.stages import Bench

Pair = tuple[Tensor, Tensor]
WEIGHTS = "weights.pt"
LANDSCAPE = "landscape.nc"
PATH = "path"
DATA = "digits, cifar10:FOLDER or npz:TRAIN.npz,TEST.npz"
STAND_IN = "noise"
STAND_IN_SAMPLES = 200
CIFAR10 = "https://www.cs.toronto.edu/~kriz/cifar.html"


@dataclass(frozen=True, kw_only=True)
class Data:
    """Training and test data.

    Attributes:
        name: for pictures and pages.
        train: inputs [N, ...] and classes [N].
        test: the same, held out.
    """

    name: str
    train: Pair
    test: Pair

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return int(self.train[0].shape[1])

    @functools.cached_property
    def key(self) -> str:
        """What distinguishes these data from others."""
        return f"{fingerprint(list(self.train)).hex()}-{fingerprint(list(self.test)).hex()}"


def load(words: str, *, samples: int = 0, device: str = "cpu") -> Data:
    """Data by words.

    Args:
        words: ``digits``, ``cifar10:FOLDER`` or ``npz:TRAIN.npz,TEST.npz``; or ``noise``, made-up images of the shape
            of CIFAR-10's with random classes, for dry runs.
        samples: training samples, from the first on; 0 is all. Test data are cut to the same number.
        device: where the tensors are to be.

    Raises:
        SpecError: other words, or files that are missing.

    Example:
        >>> load("digits", samples=100).train[0].shape
        torch.Size([100, 1, 8, 8])
    """
    name, _, rest = words.partition(":")
    if name == "digits" and not rest:
        parts = [zoo.data("digits", split=split) for split in ("train", "test")]
    elif words == STAND_IN:
        parts = [_noise(samples or STAND_IN_SAMPLES, seed) for seed in (0, 1)]
    elif name == "cifar10" and rest:
        if not cifar.present(Path(rest)):
            raise SpecError(
                f"data={words}: there is no CIFAR-10 in {rest}. Get it from {CIFAR10} (binary or Python version), "
                "unpack it, and name the folder: --set data=cifar10:FOLDER; or --set data=npz:TRAIN.npz,TEST.npz for "
                "other images. --dry-run needs no data"
            )
        parts = [zoo.data("cifar10", split=split, root=rest) for split in ("train", "test")]
    elif name == "npz" and rest.count(",") == 1:
        parts = [zoo.data("npz", path=path) for path in rest.split(",")]
    else:
        raise SpecError(f"data={words!r} is unknown; expected {DATA}")
    cut = [tuple(part[: samples or None].to(device) for part in pair) for pair in parts]
    return Data(name=name, train=(cut[0][0], cut[0][1]), test=(cut[1][0], cut[1][1]))


def absent(words: str) -> bool:
    """Whether words ask for CIFAR-10 where there is none."""
    name, _, rest = words.partition(":")
    return name == "cifar10" and bool(rest) and not cifar.present(Path(rest))


def _noise(samples: int, seed: int) -> Pair:
    """Images float32 [N, 3, 32, 32] without any meaning, and classes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, 3, 32, 32, generator=generator), torch.randint(10, (samples,), generator=generator)


@dataclass(frozen=True, kw_only=True)
class Net:
    """A network to be trained.

    Attributes:
        label: for pictures and tables.
        model: its name in the zoo.
        options: of the network.
        seed: of its initial weights and of the order of its samples.
        recipe: how it is trained.
    """

    label: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    recipe: TrainRecipe = field(default_factory=TrainRecipe)

    def fresh(self) -> nn.Module:
        """The network before training."""
        return zoo.model(self.model, seed=self.seed, **self.options)

    @property
    def key(self) -> dict[str, Any]:
        """All that its weights depend on besides the data."""
        recipe = dataclasses.replace(self.recipe, seed=self.seed).identity
        return {"model": self.model, "options": dict(self.options), "seed": self.seed, "recipe": recipe}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A trained network.

    Attributes:
        net: its specification.
        model: the network, in evaluation mode.
        scores: ``train_loss``, ``train_error``, ``test_loss``, ``test_error``, ``epochs``, ``parameters``.
        key: what distinguishes it from others.
        seconds: what training took.
    """

    net: Net
    model: nn.Module = field(repr=False)
    scores: Mapping[str, float]
    key: Mapping[str, Any]
    seconds: float

    @property
    def diverged(self) -> bool:
        """Whether training diverged: there is no loss, and nothing to measure."""
        return not math.isfinite(self.scores["train_loss"])

    @property
    def reached(self) -> bool:
        """Whether it was trained to the loss that was asked for."""
        return self.net.recipe.until == 0 or self.scores["train_loss"] < self.net.recipe.until


def trained(bench: Bench, net: Net, data: Data) -> Case:
    """Train a network, or find it; an interrupted training goes on after its last whole epoch."""
    return _trained(bench, net, data, path=False)[0]


def recorded(bench: Bench, net: Net, data: Data) -> tuple[Case, Path]:
    """The same with a checkpoint before the first and after every epoch, and the folder that holds these."""
    case, folder = _trained(bench, net, data, path=True)
    return case, folder / PATH


def _trained(bench: Bench, net: Net, data: Data, *, path: bool) -> tuple[Case, Path]:
    key = {**net.key, "data": data.key, **({"recorded": True} if path else {})}

    def work(folder: Path) -> Mapping[str, Any]:
        model = net.fresh().to(bench.device)
        recipe = dataclasses.replace(net.recipe, seed=net.seed)
        watch = _recording(folder / PATH, recipe) if path else None
        found = train(
            model, data.train, recipe, test=data.test, folder=folder, progress=False, name=net.label, watch=watch
        )
        with replacing(folder / WEIGHTS) as scratch:
            torch.save(model.state_dict(), scratch)
        assert found.test is not None
        return {
            "train_loss": found.train.loss, "train_error": found.train.error,
            "test_loss": found.test.loss, "test_error": found.test.error,
            "epochs": found.epochs, "losses": list(found.losses),
            "parameters": sum(p.numel() for p in model.parameters()),
        }  # fmt: skip

    done = bench.stage(f"{'record' if path else 'train'} {net.label} seed {net.seed}", key, work)
    model = net.fresh().to(bench.device)
    model.load_state_dict(torch.load(done.folder / WEIGHTS, weights_only=True, map_location=bench.device))
    return Case(net=net, model=model.eval(), scores=done.result, key=key, seconds=done.seconds), done.folder


def _recording(folder: Path, recipe: TrainRecipe) -> Callable[[int, nn.Module], None]:
    """Keeps the network after every epoch; when a training is resumed, so is its path."""
    recorder = la.Recorder(folder)

    def watch(epochs: int, model: nn.Module) -> None:
        if not recorder.step(model, step=epochs, epoch=epochs, lr=recipe.lr_at(max(epochs - 1, 0))):
            raise OSError(f"{folder}: epoch {epochs} was not recorded, and the study needs every epoch")

    return watch


def objective(case: Case, data: Data, *, samples: int, batchnorm: Mode = "frozen", split: str = "train") -> Objective:
    """Cross entropy and error of a network on the first samples of some data."""
    x, y = data.train if split == "train" else data.test
    return Objective(
        case.model,
        (x[:samples], y[:samples]),
        loss=F.cross_entropy,
        metrics={"error": la.metrics.error},
        batchnorm=batchnorm,
        name=case.net.label,
        data_name=f"{data.name} ({'training' if split == 'train' else 'test'})",
    )


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a landscape is measured around a network.

    Attributes:
        points: along each axis.
        span: the axis goes from minus to plus this, in multiples of the direction.
        samples: training samples behind each value.
        seed: of the directions.
        axes: ``("x",)`` for a line, ``("x", "y")`` for a plane.
        by: normalisation of the directions: "filter" as in the paper, "layer", "none", …
        batchnorm: statistics: "frozen" as in the paper, or "recalibrated".
    """

    points: int
    samples: int
    span: float = 1.0
    seed: int = 0
    axes: tuple[str, ...] = ("x", "y")
    by: Any = "filter"
    batchnorm: Mode = "frozen"


def surface(bench: Bench, case: Case, data: Data, look: Look) -> xr.Dataset:
    """The landscape around a trained network along random directions; resumable point by point."""

    def work(folder: Path) -> Mapping[str, Any]:
        here = objective(case, data, samples=look.samples, batchnorm=look.batchnorm)
        plane = la.Plane.random(here, seed=look.seed, axes=look.axes, by=look.by)
        grid = la.Grid(**dict.fromkeys(look.axes, (-look.span, look.span, look.points)))
        found = la.sample(here, plane, grid, run=folder / "run", progress=False)
        schema.save(found, folder / LANDSCAPE)
        return {}

    key = {"case": dict(case.key), "look": dataclasses.asdict(look)}
    how = "" if look.by == "filter" else f" by {look.by}"
    how += "" if look.batchnorm == "frozen" else f" {look.batchnorm}"
    done = bench.stage(f"measure {case.net.label} seed {case.net.seed} directions {look.seed}{how}", key, work)
    return schema.load(done.folder / LANDSCAPE)


def extremes(
    bench: Bench, case: Case, data: Data, *, samples: int, tolerance: float = 1e-3, most: int = 200
) -> dict[str, Any]:
    """Smallest and largest eigenvalue of the Hessian at a trained network: ``low``, ``high`` and ``converged``."""

    def work(folder: Path) -> Mapping[str, Any]:
        found = eigenvalues(objective(case, data, samples=samples), tolerance=tolerance, most=most)
        return {
            "low": float(found.values[0]), "high": float(found.values[-1]),
            "converged": bool(found.converged.all()), "residual": float(found.residuals.max()),
        }  # fmt: skip

    key = {"case": dict(case.key), "samples": samples, "tolerance": tolerance, "most": most}
    return bench.stage(f"eigenvalues of {case.net.label} seed {case.net.seed}", key, work).result


def ratios(bench: Bench, case: Case, data: Data, look: Look, *, most: int = 80) -> xr.Dataset:
    """The map of the ratio of extreme eigenvalues over a plane; resumable point by point."""

    def work(folder: Path) -> Mapping[str, Any]:
        here = objective(case, data, samples=look.samples)
        plane = la.Plane.random(here, seed=look.seed, axes=look.axes, by=look.by)
        grid = la.Grid(**dict.fromkeys(look.axes, (-look.span, look.span, look.points)))
        found = curvature_map(here, plane, grid, tolerance=0.02, most=most, run=folder / "run", progress=False)
        schema.save(found, folder / LANDSCAPE)
        return {}

    key = {"case": dict(case.key), "look": dataclasses.asdict(look), "most": most}
    done = bench.stage(f"map curvature of {case.net.label} seed {case.net.seed}", key, work)
    return schema.load(done.folder / LANDSCAPE)
