"""How others evaluate a point: the original code's method, an expert's loop, and the two packages on PyPI."""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import io
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import lossatlas as la
from benchmarks.cases import Case

AT = {"x": 0.1, "y": -0.05, "z": 0.02}
"""The point at which ways are timed; a plane has the first one or two of these axes, or all."""

STEP = 0.05
"""Distance of the points of a package's own grid, in multiples of our directions."""


@dataclass(frozen=True)
class Timed:
    """One way to evaluate points.

    Attributes:
        run: evaluates ``points`` points; of a loop, the one that it is given, or ``AT``.
        points: how many.
        value: the loss at ``AT``, or at another point of which ``truth`` is known.
        truth: what that loss should be; None for that of the expert's loop at ``AT``.
        note: what differs from the others.
    """

    run: Callable[..., Any]
    points: int
    value: Callable[[], float]
    truth: float | None = None
    note: str = ""


def original(case: Case, plane: la.Plane, device: torch.device) -> Timed:
    """The original code's method: weights set tensor by tensor, a DataLoader with two workers read anew, batch 128."""
    model = case.make().to(device).eval()
    loader = DataLoader(TensorDataset(*case.data), batch_size=128, num_workers=2)
    base = {name: p.detach().clone() for name, p in model.named_parameters()}
    directions = on(plane, device)

    def run(at: Mapping[str, float] = AT) -> float:
        for name, parameter in model.named_parameters():
            step = sum(at[a] * d[name] for a, d in directions.items() if name in d)
            parameter.data = base[name] + step
        total, correct = 0.0, 0
        with torch.no_grad():
            for x, y in loader:
                x, y = x.to(device), y.to(device)
                outputs = model(x)
                total += F.cross_entropy(outputs, y).item() * len(x)
                correct += outputs.argmax(1).eq(y).sum().item()
        return total / len(case.data[0])

    return Timed(run, 1, run)


def expert(case: Case, plane: la.Plane, device: torch.device) -> Timed:
    """What an expert writes in twenty minutes: data resident, inference mode, batch 250, weights copied in place."""
    model = case.make().to(device).eval().requires_grad_(False)
    base = {name: p.clone() for name, p in model.named_parameters()}
    directions = on(plane, device)
    moved = {name for d in directions.values() for name in d}
    measure = evaluation(case, device)

    def run(at: Mapping[str, float] = AT) -> float:
        with torch.inference_mode():
            for name, parameter in model.named_parameters():
                if name in moved:
                    parameter.copy_(base[name])
                    for axis, direction in directions.items():
                        if name in direction:
                            parameter.add_(direction[name], alpha=at[axis])
        return measure(model)

    return Timed(run, 1, run)


def evaluation(case: Case, device: torch.device) -> Callable[[Callable[[Tensor], Tensor]], float]:
    """The expert's evaluation function, which the packages get as well: loss and error over the resident data."""
    batches = list(zip(*(part.to(device).split(250) for part in case.data), strict=True))

    def measure(model: Callable[[Tensor], Tensor]) -> float:
        total, wrong = 0.0, 0
        with torch.inference_mode():
            for x, y in batches:
                outputs = model(x)
                total += F.cross_entropy(outputs, y, reduction="sum").item()
                wrong += outputs.argmax(1).ne(y).sum().item()
        return total / len(case.data[0])

    return measure


def loss_landscapes(case: Case, plane: la.Plane, device: torch.device, steps: int) -> Timed:
    """``planar_interpolation`` between corners of our plane; the first value of its grid lies at ``AT``.

    Its rows begin one step after the corner, so the corner is chosen one step before. It moves the model by adding
    step to step, which is why its values agree to a part in ten thousand only.
    """
    package, metrics = importlib.import_module("loss_landscapes"), importlib.import_module("loss_landscapes.metrics")
    measure = evaluation(case, device)
    corner = {"x": AT["x"], "y": AT["y"] - STEP}
    ends = [corner | {axis: corner[axis] + steps * STEP} for axis in ("x", "y")]
    models = [set_to(case.make().to(device).eval(), plane.at(point)) for point in (corner, *ends)]

    class Measured(metrics.Metric):  # type: ignore[name-defined, misc]
        def __call__(self, model: Any) -> float:
            return measure(model.forward)

    def run() -> np.ndarray:
        found: np.ndarray = package.planar_interpolation(*models, Measured(), steps=steps, deepcopy_model=True)
        return found

    return Timed(run, steps**2, lambda: float(run()[0, 0]), note="values by adding step to step")


def landscaper(case: Case, plane: la.Plane, device: torch.device, steps: int) -> Timed:
    """``compute_loss_landscape`` along our directions, which it scales tensor by tensor in its own way.

    So its points lie in a plane of its own. The value at one of them is compared with ours on that plane. Of the
    package only the module that evaluates is loaded: the others need libraries that play no part here.
    """
    compute, model = landscaper_module(), case.make().to(device).eval().requires_grad_(False)
    measure = evaluation(case, device)
    zero = torch.zeros((), device=device)
    directions = [
        [d.get(name, zero.expand_as(p)).clone() for name, p in model.named_parameters()]
        for d in on(plane, device).values()
    ]
    distance = 0.01 if steps > 2 else 0.02

    def run() -> np.ndarray:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            found, _ = compute.compute_loss_landscape(
                model, None, directions, lambda m, _: measure(m), steps, distance, 2, device.type
            )
        return np.asarray(found)

    at = (0, steps // 2)
    origin = [p.clone() for p in model.parameters()]
    step = compute.normalize_direction([t.clone() for t in directions[0]], origin)
    scale = compute.get_model_norm(origin) * distance / (steps / 2) / compute.get_model_norm(step)
    there = case.make().to(device).eval().requires_grad_(False)
    for parameter, along in zip(there.parameters(), step, strict=True):
        parameter.sub_(along * scale * (steps // 2))
    return Timed(run, steps**2, lambda: float(run()[at]), measure(there), note="a plane of its own")


def landscaper_module() -> Any:
    """The module ``landscaper.compute``, without the rest of its package."""
    if "landscaper" not in sys.modules:
        found = importlib.machinery.PathFinder.find_spec("landscaper")
        if found is None:
            raise ImportError("landscaper")
        sys.modules["landscaper"] = importlib.util.module_from_spec(found)
    return importlib.import_module("landscaper.compute")


def on(plane: la.Plane, device: torch.device) -> dict[str, dict[str, Tensor]]:
    """The directions of a plane, on a device."""
    return {axis: {name: t.to(device) for name, t in d.items()} for axis, d in plane.directions.items()}


def set_to(model: nn.Module, parameters: Any) -> nn.Module:
    """A model with other parameters."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in parameters:
                parameter.copy_(parameters[name])
    return model
