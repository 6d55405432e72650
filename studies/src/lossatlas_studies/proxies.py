"""How could one know early which network will be good? Measures of landscapes, their rivals, and their costs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.errors import SpecError
from lossatlas.field.convexity import negative_share
from lossatlas_studies.measures import BEND
from lossatlas_studies.search_training import Split, Trial, clock
from lossatlas_studies.stages import Bench

When = Literal["landscape", "then", "before"]
WHEN: Mapping[When, str] = {
    "landscape": "landscape, after the early epochs",
    "then": "loss or error, after the early epochs",
    "before": "before training",
}
"""What kinds of predictors there are."""


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A number that may predict early how large the test error will be in the end.

    Attributes:
        name: its name in the rows.
        words: for tables and axes, with its unit.
        short: for the names of points.
        sign: 1 if more of it is said to mean a larger test error, -1 if it is said to mean a smaller one.
        when: at what time, and of what kind.
        costs: names of the times that add up to its cost.
    """

    name: str
    words: str
    short: str
    sign: int
    when: When
    costs: tuple[str, ...]


_EARLY = "early_seconds"
PREDICTORS = (
    Predictor(
        name="radius", words="filter-normalised radius", short="radius", sign=-1, when="landscape",
        costs=(_EARLY, "radius_seconds"),
    ),
    Predictor(
        name="rise", words="mean rise of the loss over the plane", short="rise", sign=1, when="landscape",
        costs=(_EARLY, "plane_seconds"),
    ),
    Predictor(
        name="bend", words="share of area that bends down", short="bends", sign=1, when="landscape",
        costs=(_EARLY, "plane_seconds"),
    ),
    Predictor(
        name="lambda_max", words="λmax of the Hessian", short="λmax", sign=1, when="landscape",
        costs=(_EARLY, "lambda_seconds"),
    ),
    Predictor(
        name="early_train_loss", words="training loss then", short="train", sign=1, when="then",
        costs=(_EARLY, "train_look_seconds"),
    ),
    Predictor(
        name="early_val_loss", words="validation loss then", short="val loss", sign=1, when="then",
        costs=(_EARLY, "val_look_seconds"),
    ),
    Predictor(
        name="early_val_error", words="validation error then", short="val error", sign=1, when="then",
        costs=(_EARLY, "val_look_seconds"),
    ),
    Predictor(
        name="parameters", words="number of parameters", short="size", sign=-1, when="before",
        costs=("build_seconds",),
    ),
    Predictor(
        name="gradient_norm", words="gradient norm before training", short="gradient", sign=-1, when="before",
        costs=("build_seconds", "gradient_seconds"),
    ),
    Predictor(
        name="synflow", words="log10 of synaptic flow", short="synflow", sign=-1, when="before",
        costs=("build_seconds", "synflow_seconds"),
    ),
)  # fmt: skip
"""All of them, the landscape's first. Signs are those of the sources: flat is good; large, or much flow, is good."""

BY_NAME: Mapping[str, Predictor] = {one.name: one for one in PREDICTORS}
LANDSCAPES = tuple(one.name for one in PREDICTORS if one.when == "landscape")
BASELINES = tuple(one.name for one in PREDICTORS if one.when != "landscape")


@dataclass(frozen=True, kw_only=True)
class Scan:
    """How a landscape is measured cheaply.

    Attributes:
        samples: training samples behind each value.
        rise: of the loss at which the radius ends.
        directions: random filter-normalised directions for the radius.
        points: along each axis of the plane.
        span: the plane goes from minus to plus this, in multiples of its directions.
        products: Hessian-vector products at most for λmax.
    """

    samples: int
    rise: float
    directions: int
    points: int
    span: float
    products: int = 30


def scanned(bench: Bench, trial: Trial, data: Split, scan: Scan) -> Mapping[str, Any]:
    """Every measure of the landscape after the early epochs, and the seconds it took; NaN where it has no value."""

    def work(folder: Path) -> Mapping[str, Any]:
        x, y = (part[: scan.samples] for part in data.train)
        here = la.Objective(trial.early(data.channels, bench.device), (x, y), loss=F.cross_entropy)
        now = clock(bench.device)
        found: dict[str, Any] = {}
        ways: dict[str, Callable[[], Mapping[str, float]]] = {
            "radius": lambda: _radius(here, scan),
            "plane": lambda: _plane(here, scan),
            "lambda": lambda: _lambda_max(here, scan),
        }
        finite = math.isfinite(here()["loss"])
        for name, way in ways.items():
            begun = now()
            found |= way() if finite else {}
            found[f"{name}_seconds"] = now() - begun
        return dict.fromkeys(LANDSCAPES, math.nan) | found

    key = {"trial": dict(trial.key), "scan": asdict(scan)}
    return bench.stage(f"scan no. {trial.design.number}, {trial.design.label}", key, work).result


def _radius(here: la.Objective, scan: Scan) -> Mapping[str, float]:
    return {"radius": la.sharpness.radius(here, rise=scan.rise, directions=scan.directions).value}


def _plane(here: la.Objective, scan: Scan) -> Mapping[str, float]:
    ends = (-scan.span, scan.span, scan.points)
    plane = la.sample(here, la.Plane.random(here, seed=0), la.Grid(x=ends, y=ends), plan="plain", progress=False)
    loss = plane["loss"].values
    if not bool(torch.isfinite(torch.from_numpy(loss)).all()):
        return {}
    return {"rise": float(loss.mean() - here()["loss"]), "bend": negative_share(plane, threshold=BEND)}


def _lambda_max(here: la.Objective, scan: Scan) -> Mapping[str, float]:
    try:
        return {"lambda_max": la.sharpness.lambda_max(here, tolerance=0.05, most=scan.products).value}
    except SpecError:  # derivatives may overflow although the loss does not
        return {}


def before_training(bench: Bench, trial: Trial, data: Split, batch_size: int) -> Mapping[str, Any]:
    """The proxies that need no training, and the seconds each took."""

    def work(folder: Path) -> Mapping[str, Any]:
        now = clock(bench.device)
        model = trial.design.fresh(data.channels).to(bench.device)
        x, y = (part[:batch_size] for part in data.train)
        times = [now()]
        norm = gradient_norm(model, x, y)
        times.append(now())
        flow = synflow(model, x)
        times.append(now())
        seconds = {"gradient_seconds": times[1] - times[0], "synflow_seconds": times[2] - times[1]}
        return {"gradient_norm": norm, "synflow": flow, **seconds}

    key = {"design": asdict(trial.design), "data": data.key, "batch": batch_size}
    return bench.stage(f"proxies of no. {trial.design.number}, {trial.design.label}", key, work).result


def gradient_norm(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Sum over tensors of the norm of the gradient on one batch, in training mode (Abdelfattah et al. 2021).

    Example:
        >>> model = nn.Linear(1, 2, bias=False)
        >>> _ = nn.init.zeros_(model.weight)
        >>> round(gradient_norm(model, torch.ones(1, 1), torch.tensor([0])), 4)  # gradient (-1/2, 1/2)
        0.7071
    """
    model = copy.deepcopy(model).train()
    gradients = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
    return float(sum(gradient.norm() for gradient in gradients))


def synflow(model: nn.Module, x: Tensor) -> float:
    r"""log10 of the synaptic flow (Tanaka et al. 2020, summed over the network by Abdelfattah et al. 2021).

    .. math:: \sum_θ θ \, ∂R/∂θ, \qquad R = \sum_k f_k(1; |θ|)

    of the network with the size of each weight, without normalisations and, as here, without activations, for an input
    of ones; in float64, since it is a product over layers. It knows neither the data nor the activation.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 1, bias=False), nn.Tanh(), nn.Linear(1, 1, bias=False))
        >>> for weight in model.parameters():
        ...     _ = nn.init.constant_(weight, -1.0)
        >>> round(10 ** synflow(model, torch.zeros(1, 3)), 6)  # two layers, each with the whole of R = 3
        6.0
    """
    linear = copy.deepcopy(model).double().eval()
    for module in list(linear.modules()):
        for name, child in list(module.named_children()):
            if not isinstance(child, nn.Conv2d | nn.Linear) and not list(child.children()):
                setattr(module, name, nn.Identity())
    weights = list(linear.parameters())
    with torch.no_grad():
        for weight in weights:
            weight.abs_()
    total = linear(torch.ones_like(x[:1], dtype=torch.float64)).sum()
    flows = torch.autograd.grad(total, weights)
    return math.log10(float(sum((weight.detach() * flow).sum() for weight, flow in zip(weights, flows, strict=True))))
