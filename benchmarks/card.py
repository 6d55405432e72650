"""What a card can do: rows that are each written as soon as they are measured, so that a cut run keeps what it has.

``benchmarks/gpu.sh`` runs it on a bare machine. ``--size toy`` makes every row small, to see on any machine that all of
them work; its times mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import json
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lossatlas as la
from benchmarks import clock, limit
from benchmarks.cases import Attentive, Case, Recurrent, for_large_images
from lossatlas.curvature.products import Matrix
from lossatlas.evaluate.choice import Ways
from lossatlas.evaluate.graph.trace import UntraceableError
from lossatlas.evaluate.plans import Plan
from lossatlas.objective.language import cross_entropy
from lossatlas.sampling.workers.processes import Processes

POINTS = np.array([[0.0, 0.0], [0.25, -0.5], [-0.5, 0.5], [0.5, 0.25]])

NOT_HERE = (UntraceableError, RuntimeError)
"""There is no graph, no rule for an operation, no kernel for a format, or not enough memory: other ways may do."""


@dataclass(frozen=True)
class Size:
    """How large the rows are."""

    images: int
    large_images: int
    pixels: int
    decoder: dict[str, int]
    small_decoder: dict[str, int]
    side: int
    matrix: int
    compile: bool
    small_network: str
    large_network: str


SIZES = {
    "full": Size(
        images=10_000,
        large_images=512,
        pixels=224,
        decoder={"vocabulary": 32_000, "dim": 2048, "layers": 18, "heads": 16},
        small_decoder={"vocabulary": 32_000, "dim": 768, "layers": 12, "heads": 12},
        side=51,
        matrix=8192,
        compile=True,
        small_network="resnet56",
        large_network="resnet50",
    ),
    "toy": Size(
        images=16,
        large_images=2,
        pixels=64,
        decoder={"vocabulary": 64, "dim": 32, "layers": 2, "heads": 2},
        small_decoder={"vocabulary": 64, "dim": 32, "layers": 2, "heads": 2},
        side=3,
        matrix=64,
        compile=False,
        small_network="resnet20",
        large_network="resnet18",
    ),
}


class Sheet:
    """Rows on disk: JSON and a table, both whole after each row.

    Args:
        folder: where ``card.json`` and ``card.md`` go.
        device: what is measured.
        size: name of the size.
        budget: seconds after which no further row begins.
    """

    def __init__(self, folder: Path, device: torch.device, size: str, budget: float) -> None:
        self.folder = folder
        self.start = time.perf_counter()
        self.budget = budget
        self.found: dict[str, Any] = {"environment": clock.environment(device), "size": size, "rows": []}
        folder.mkdir(parents=True, exist_ok=True)
        self.write()

    def row(self, name: str, measure: Callable[[], Iterator[dict[str, Any]]]) -> None:
        """Measure the rows of one question; one that fails says why, and the next one follows."""
        if time.perf_counter() - self.start > self.budget:
            self.add({"question": name, "left out": f"the {self.budget:.0f} seconds were over"})
            return
        begun = time.perf_counter()
        try:
            for one in measure():
                self.add({"question": name, **one})
        except Exception as fault:  # whatever a card or a driver raises is a result
            words = f"{type(fault).__name__}: {str(fault).splitlines()[0] if str(fault) else ''}"
            self.add({"question": name, "failed": words, "where": traceback.format_exc().splitlines()[-3:]})
        self.add({"question": name, "seconds in all": round(time.perf_counter() - begun, 1)})
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def add(self, row: dict[str, Any]) -> None:
        """Put down a row."""
        self.found["rows"].append(row)
        print(" | ".join(f"{key} {_shown(value)}" for key, value in row.items() if key != "where"), flush=True)
        self.write()

    def write(self) -> None:
        """Write both files, each replaced as a whole."""
        lines = [f"# What this card can do\n\n{json.dumps(self.found['environment'])}\n"]
        question = None
        for row in self.found["rows"]:
            if row["question"] != question:
                question = row["question"]
                lines.append(f"\n## {question}\n")
            lines.append("- " + "; ".join(f"{key} {_shown(v)}" for key, v in row.items() if key != "question"))
        for name, text in (("card.json", json.dumps(self.found, indent=1)), ("card.md", "\n".join(lines) + "\n")):
            scratch = self.folder / f".{name}"
            scratch.write_text(text, encoding="utf-8")
            scratch.replace(self.folder / name)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def rates(device: torch.device, side: int) -> dict[str, float]:
    """The best measured rate of a matrix product or convolution in each format, operations a second."""
    found = {}
    for name in ("exact", "tf32", "bf16") if device.type == "cuda" else ("exact", "bf16"):
        with allowed_tf32(name == "tf32"):
            found[name] = limit.best_rate(device, torch.bfloat16 if name == "bf16" else torch.float32, side)
    return found


@contextlib.contextmanager
def allowed_tf32(allowed: bool) -> Iterator[None]:
    """Whether products in single precision may be in TF32 inside."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def images(number: int, pixels: int, classes: int) -> tuple[Tensor, Tensor]:
    """Random images; time does not depend on what they show."""
    random = torch.Generator().manual_seed(1)
    x = torch.randn(number, 3, pixels, pixels, generator=random)
    return x, torch.randint(0, classes, (number,), generator=random)


def objective_of(model: nn.Module, data: tuple[Tensor, Tensor], device: torch.device, batch: int = 250) -> la.Objective:
    """Loss and error of a classifier."""
    metrics = {"error": la.metrics.error}
    return la.Objective(model.eval(), data, F.cross_entropy, metrics=metrics, batch_size=batch, device=device)


def plans(device: torch.device, *, compiled: bool) -> Iterator[Plan]:
    """Plans of each kind, in each precision that the device has."""
    precisions = ("exact", "tf32", "bf16", "fp16") if device.type == "cuda" else ("exact", "bf16")
    for precision in precisions:
        yield Plan(name="graph", precision=precision)
        yield Plan(name="stacked", points=4, precision=precision)
        if device.type == "cuda":
            yield Plan(name="graph", precision=precision, captured=True)
            yield Plan(name="stacked", points=4, precision=precision, captured=True)
        if compiled:
            yield Plan(name="compiled", points=4, precision=precision)


def agreement(device: torch.device, size: Size) -> Iterator[dict[str, Any]]:
    """Every plan and precision against double precision on the CPU."""
    random = torch.Generator().manual_seed(0)
    small = torch.randn(24, 1, 8, 8, generator=random), torch.randint(0, 10, (24,), generator=random)
    makes: dict[str, Callable[[], nn.Module]] = {
        "ResNet-20": lambda: la.zoo.model("resnet20", channels=1, seed=0),
        "transformer": Attentive,
        "LSTM": Recurrent,
    }
    for name, make in makes.items():
        torch.manual_seed(0)
        model = make().eval()
        exact = objective_of(_double(make, model), (small[0].double(), small[1]), torch.device("cpu"))
        plane = la.Plane.random(objective_of(model, small, device), seed=0)
        truth = np.array([_loss_in_double(exact, plane.at(dict(zip("xy", at, strict=True)))) for at in POINTS])
        objective = objective_of(model, small, device)
        for plan in (Plan(), *plans(device, compiled=size.compile)):
            yield {"network": name, "plan": str(plan), **_off(objective, plane, plan, truth)}


def _double(make: Callable[[], nn.Module], model: nn.Module) -> nn.Module:
    twin = make().double()
    twin.load_state_dict({key: t.double() if t.is_floating_point() else t for key, t in model.state_dict().items()})
    return twin


def _loss_in_double(exact: la.Objective, point: dict[str, Tensor]) -> float:
    return float(exact({name: tensor.double().cpu() for name, tensor in point.items()})["loss"])


def _not_here(fault: Exception) -> dict[str, Any]:
    return {"not here": (str(fault).splitlines() or [type(fault).__name__])[0]}


def _off(objective: la.Objective, plane: la.Plane, plan: Plan, truth: np.ndarray) -> dict[str, Any]:
    try:
        way = Ways(objective, plane).way(plan)
        found = way.values(POINTS)[:, 0]
        way.close()
    except NOT_HERE as fault:
        return _not_here(fault)
    return {"relative difference from float64": float(np.max(np.abs(found - truth) / np.abs(truth)))}


def network(
    name: str, make: Callable[[], nn.Module], data: tuple[Tensor, Tensor], device: torch.device, size: Size
) -> Iterator[dict[str, Any]]:
    """Seconds a point of each precision, against an expert's loop and ``torch.compile`` of it."""
    model, batch = make().eval(), min(1000 if data[0].shape[-1] < 100 else 64, len(data[0]))
    objective = objective_of(model, data, device, batch)
    plane = la.Plane.random(objective, seed=0)
    work = limit.flops(Case(name, make, (data[0][:2], data[1][:2]))) * len(data[0])
    best = rates(device, size.matrix)
    yield {"best rate in operations a second": {key: float(f"{rate:.3g}") for key, rate in best.items()}}
    loops = [("expert's loop", False)] + ([("expert's loop, torch.compile", True)] if size.compile else [])
    for words, compiled in loops:
        for precision in best:
            with allowed_tf32(precision == "tf32"):
                run = _expert(model, data, plane, device, batch, bf16=precision == "bf16", compiled=compiled)
                yield _timed(f"{words}, {precision}", run, device, work, best[precision])
    for precision in best:
        plan = Plan(name="graph", micro=batch, precision=precision, captured=device.type == "cuda")
        try:
            way = Ways(objective, plane).way(plan)
        except NOT_HERE as fault:
            yield {"way": str(plan), **_not_here(fault)}
            continue
        yield _timed(str(plan), lambda way=way: way.values(POINTS[:1]), device, work, best[precision])
        way.close()


def _timed(words: str, run: Callable[[], Any], device: torch.device, work: float, rate: float) -> dict[str, Any]:
    try:
        run()
    except NOT_HERE as fault:
        return {"way": words, **_not_here(fault)}
    taken = [clock.seconds(run, device) for _ in range(3)]
    middle = statistics.median(taken)
    busy = clock.utilisation(run, 1.0) if device.type == "cuda" else None
    return {
        "way": words,
        "seconds a point": middle,
        "share of the best rate": work / middle / rate,
        **({"utilisation in per cent": busy} if busy is not None else {}),
    }


def _expert(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    plane: la.Plane,
    device: torch.device,
    batch: int,
    *,
    bf16: bool,
    compiled: bool,
) -> Callable[[], float]:
    """What an expert writes in twenty minutes: data resident, weights set in place, no host synchronisation inside."""
    import copy

    own = copy.deepcopy(model).to(device=device, memory_format=torch.channels_last)
    places = dict(own.named_parameters())
    base = {name: tensor.detach().clone() for name, tensor in places.items()}
    x, y = (part.to(device) for part in data)
    steps = [{n: t.to(device) for n, t in direction.items()} for direction in plane.directions.values()]
    call = torch.compile(own) if compiled else own

    def run() -> float:
        with torch.inference_mode():
            for name, place in places.items():
                place.copy_(base[name])
                for number, step in zip((0.3, -0.2), steps, strict=True):
                    if name in step:
                        place.add_(step[name], alpha=number)
            total = torch.zeros((), dtype=torch.float64, device=device)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                for start in range(0, len(x), batch):
                    part = x[start : start + batch].contiguous(memory_format=torch.channels_last)
                    total += F.cross_entropy(call(part).float(), y[start : start + batch], reduction="sum")
            return float(total) / len(x)

    return run


def picture(device: torch.device, size: Size) -> Iterator[dict[str, Any]]:
    """A whole picture, from the call to the result."""
    for precision in ("exact", "bf16"):
        objective = objective_of(la.zoo.model(size.small_network, seed=0), images(size.images, 32, 10), device, 1000)
        plane = la.Plane.random(objective, seed=0)
        sampler = la.Adaptive(x=(-1, 1, size.side), y=(-1, 1, size.side))
        start = time.perf_counter()
        found = la.sample(objective, plane, sampler, precision=precision, progress=False)
        took = time.perf_counter() - start
        measured = int((found["status"] == 1).sum())
        yield {"precision": precision, "side": size.side, "points evaluated": measured, "seconds": took}


def language(size: dict[str, int], device: torch.device, tokens: int, **options: Any) -> la.Objective:
    """A decoder on random tokens."""
    bf16 = options.pop("bf16", False)
    with torch.device(device):
        torch.manual_seed(0)
        model = la.zoo.model("decoder", **size)
    model = model.to(torch.bfloat16) if bf16 else model
    random = torch.Generator().manual_seed(0)
    text = torch.randint(size["vocabulary"], (1, tokens + 1), generator=random)
    return la.Objective(model.eval(), (text[:, :-1], text[:, 1:]), cross_entropy, device=device, **options)


def large_decoder(device: torch.device, size: Size) -> Iterator[dict[str, Any]]:
    """A billion parameters in bf16: directions that are recipes against stored ones; memory beside a forward pass."""
    for stored in (False, True):
        _forget(device)
        objective = language(size.decoder, device, 64, bf16=True, in_place=not stored)
        parameters = sum(tensor.numel() for tensor in objective.origin.values())
        alone = _peak(device, lambda objective=objective: objective())
        plane = la.Plane.random(objective, seed=0, stored=stored)
        grid = la.Grid(x=(-1, 1, 2), y=(-1, 1, 2))
        start = time.perf_counter()
        scan = lambda o=objective, p=plane, g=grid: la.sample(o, p, g, plan="plain", progress=False)  # noqa: E731
        memory = _peak(device, scan)
        yield {
            "parameters": parameters,
            "directions": "stored" if stored else "seeded",
            "seconds a point": (time.perf_counter() - start) / 4,
            **({"peak over a forward pass": memory / alone} if alone else {}),
        }
        del objective, plane, scan


def shared(device: torch.device, size: Size) -> Iterator[dict[str, Any]]:
    """Many points of a decoder by products that they share, against the plain way."""
    for tokens in (8, 64, 256):
        objective = language(size.small_decoder, device, tokens)
        plane = la.Plane.random(objective, seed=0, rank=4)
        points = np.random.default_rng(0).uniform(-1, 1, (64, 2))
        row: dict[str, Any] = {"tokens": tokens}
        for plan in (Plan(), Plan(name="shared", points=max(1, min(64, 1024 // tokens)))):
            way = Ways(objective, plane).way(plan)
            way.values(points[: max(plan.points, 4)])
            count = 8 if plan.name == "plain" else len(points)
            run = functools.partial(way.values, points[:count])
            row[plan.name + ", points a second"] = count / clock.seconds(run, device)
            way.close()
        yield row
        del objective, plane, way, run


def curvature(device: torch.device, size: Size) -> Iterator[dict[str, Any]]:
    """Products with the Hessian and the GGN, and by differences: seconds, and memory beside the weights."""
    cases = {
        f"{size.small_network}, {min(size.images, 1000):,} images": lambda: objective_of(
            la.zoo.model(size.small_network, seed=0), images(min(size.images, 1000), 32, 10), device
        ),
        "decoder, 256 tokens": lambda: language(size.small_decoder, device, 256),
    }
    for name, make in cases.items():
        for kind, how in (("hessian", "derivatives"), ("ggn", "derivatives"), ("hessian", "differences")):
            _forget(device)
            matrix = Matrix(make(), kind=kind, how=how, memory=0)  # type: ignore[arg-type]
            vector = torch.randn(matrix.size, dtype=matrix.dtype, device=device)
            memory = _peak(device, lambda matrix=matrix, vector=vector: matrix @ vector)
            taken = [clock.seconds(lambda matrix=matrix, vector=vector: matrix @ vector, device) for _ in range(3)]
            row = {"of": name, "kind": kind, "by": how, "seconds a product": statistics.median(taken)}
            yield row | ({"peak in weights": memory / (4 * matrix.size)} if memory else {})
            del matrix, vector


def workers(device: torch.device, size: Size) -> Iterator[dict[str, Any]]:
    """One and two worker processes on one card."""
    for number in (1, 2):
        objective = objective_of(la.zoo.model("resnet20", seed=0), images(min(size.images, 2000), 32, 10), device)
        plane = la.Plane.random(objective, seed=0)
        grid = la.Grid(x=(-1, 1, 2 * size.side // 5 + 2), y=(-1, 1, size.side))
        start = time.perf_counter()
        found = la.sample(objective, plane, grid, executor=Processes(number), progress=False)
        took = time.perf_counter() - start
        yield {"workers": number, "points": int((found["status"] == 1).sum()), "seconds of the whole run": took}


def _peak(device: torch.device, run: Callable[[], Any]) -> float:
    """The most bytes that a card held during a call; 0 where that is not known."""
    if device.type != "cuda":
        run()
        return 0.0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return float(torch.cuda.max_memory_allocated())


def _forget(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def measure(sheet: Sheet, device: torch.device, size: Size) -> None:
    """All rows, the shortest and most wanted first."""
    small, large = images(size.images, 32, 10), images(size.large_images, size.pixels, 1000)
    sheet.row("Agreement of plans and precisions with float64 on the CPU", lambda: agreement(device, size))
    sheet.row(
        f"{size.small_network} at {size.images:,} images",
        lambda: network(size.small_network, lambda: la.zoo.model(size.small_network, seed=0), small, device, size),
    )
    sheet.row(f"A whole picture of {size.small_network}, {size.side} by {size.side}", lambda: picture(device, size))
    sheet.row("A large decoder in bf16: seeded directions against stored ones", lambda: large_decoder(device, size))
    sheet.row("A decoder: points that share products", lambda: shared(device, size))
    sheet.row("Products with curvature matrices", lambda: curvature(device, size))
    sheet.row(
        f"{size.large_network} at {size.pixels} pixels, {size.large_images} images",
        lambda: network(size.large_network, lambda: for_large_images(size.large_network), large, device, size),
    )
    sheet.row("Two workers on one card", lambda: workers(device, size))


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="benchmarks.card", description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to see that the rows work")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu"))
    parser.add_argument("--seconds", type=float, default=420.0, help="no row begins after so many")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            f"there is no CUDA device that PyTorch {torch.__version__} can use; --device cpu --size toy runs"
        )
    measure(Sheet(asked.out, device, asked.size, asked.seconds), device, SIZES[asked.size])


if __name__ == "__main__":
    main()
