"""`lossatlas demo --language`: a small transformer and an LSTM learn Python's manual; three values on one plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

__all__ = ["NETWORKS", "NOTE", "QUICK", "VALUES", "Effort", "run"]

VALUES = {"loss": "log", "perplexity": "log", "accuracy": "linear"}
"""What is drawn, and on which scale."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much the demo does.

    Attributes:
        steps: of training, for each network.
        block: bytes in a block.
        blocks: training blocks behind each value.
        points: points along each axis of the pictures.
        half: the plane goes from minus to plus this multiple of the directions.
        tasks: prompts continued greedily on the line through the centre.
        answer: bytes that a continuation must get right.
        line: points on that line.
    """

    steps: int = 800
    block: int = 64
    blocks: int = 24
    points: int = 25
    half: float = 1.0
    tasks: int = 100
    answer: int = 4
    line: int = 25


QUICK = Effort(steps=30, blocks=4, points=7, tasks=8, line=7)

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "transformer": ("decoder", {"vocabulary": 256, "dim": 64, "layers": 2}),
    "LSTM": ("lstm_lm", {"vocabulary": 256, "dim": 64, "hidden": 128}),
}

NOTE = (
    "Losses in nats per byte, means over bytes, on the blocks that the pictures show and on blocks held out from "
    "training. The step is the largest change between two neighbouring points of a line, as a share of the value's "
    "range: a straight line of {line} points has {even:.0f} %. One text, one training run and one pair of directions "
    "for each network: this is no claim about transformers and LSTMs in general. The text is the language reference "
    "that comes with CPython (Python Software Foundation, PSF licence)."
)


def run(out: Path, quick: bool) -> Path:
    """Train both, measure both, draw; the page."""
    import lossatlas as la
    from lossatlas.draw.report import add_table

    plan = QUICK if quick else Effort()
    found = {name: _network(name, plan, out) for name in NETWORKS}
    planes = [landscape for landscape, _, _ in found.values()]
    rows = [_row(name, *parts) for name, parts in found.items()]
    title = "A transformer and an LSTM that learned Python's manual, byte by byte"
    for value, scale in VALUES.items():
        la.draw(planes, out / f"{value}.png", value=value, scale=scale, title=f"{title}: {value}")
    for name, (_, steps, _) in found.items():
        if steps is None:
            click.echo(f"{name}: no greedy continuation was right anywhere, so there is no step to be seen", err=True)
            continue
        la.draw(steps, out / f"steps-{name.lower()}.png")
        click.echo(f"{name}: {steps.sentence}")
    page = la.draw(planes, out / "index.html", title=title, scale="log")
    even = 100 / (plan.line - 1)
    return add_table(page, rows, NOTE.format(line=plan.line, even=even))


def _network(name: str, plan: Effort, out: Path) -> tuple[Any, Any, Mapping[str, float]]:
    """Train one network; its plane, its score beside its loss on a line, and its numbers."""
    import lossatlas as la
    from lossatlas.field.steps import steps_of
    from lossatlas.zoo.fit import FitRecipe, fit

    folder = out / name.lower()
    train, test = (la.zoo.data("reference", block=plan.block, split=split) for split in ("train", "test"))
    kind, options = NETWORKS[name]
    model = la.zoo.model(kind, seed=0, **options)
    recipe = FitRecipe(steps=plan.steps, lr=5e-3, batch_size=16)
    fit(model, train, _mean_loss, recipe, folder=folder, name=f"training the {name}")
    objective = _objective(model, train, plan, name, tasks=False)
    grid = la.Grid(x=(-plan.half, plan.half, plan.points), y=(-plan.half, plan.half, plan.points))
    click.echo(f"measuring the {name} on a plane, then on a line", err=True)
    plane = la.sample(objective, la.Plane.random(objective, seed=0), grid, run=folder / "plane")
    solving = _objective(model, train, plan, name, tasks=True)
    line = la.sample(
        solving,
        la.Plane.random(solving, seed=0, axes=("x",)),
        la.Grid(x=(0, plan.half, plan.line)),
        run=folder / "line",
    )
    held_out = _objective(model, test, plan, name, tasks=False)()
    told = float(line["greedy_exact"].max()) > 0
    steps = steps_of(line, "greedy_exact", limit=_guess()) if told else None
    return plane, steps, {**solving(), "held out": held_out["loss"]}


def _guess() -> float:
    """The loss of guessing uniformly among all bytes."""
    import math

    return math.log(256)


def _mean_loss(outputs: Any, targets: Any) -> Any:
    from torch.nn import functional as F

    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def _objective(model: Any, data: Any, plan: Effort, name: str, *, tasks: bool) -> Any:
    import torch

    import lossatlas as la
    from lossatlas.objective.generation import Continuation, cloze
    from lossatlas.objective.language import cross_entropy

    x, y = data
    every = max(1, len(x) // plan.blocks)
    shown = x[::every][: plan.blocks], y[::every][: plan.blocks]
    every = max(1, len(x) // plan.tasks)
    problems = torch.cat([x[::every], y[::every, -1:]], dim=1)[: plan.tasks]
    prompts, answers = cloze(problems, prompt=plan.block + 1 - plan.answer, answer=plan.answer)
    return la.Objective(
        model,
        shown,
        loss=cross_entropy,
        metrics={"perplexity": la.metrics.perplexity, "accuracy": la.metrics.token_accuracy},
        tasks={"greedy": Continuation(prompts, answers, batch=plan.tasks)} if tasks else None,
        name=name,
        data_name="Python language reference, bytes",
    )


def _row(name: str, plane: Any, steps: Any, numbers: Mapping[str, float]) -> Mapping[str, str]:
    return {
        "network": name,
        "loss": f"{numbers['loss']:.2f}",
        "held-out loss": f"{numbers['held out']:.2f}",
        "perplexity": f"{numbers['perplexity']:.2f}",
        "accuracy of the next byte": f"{100 * numbers['accuracy']:.0f} %",
        "greedy continuations that are right": f"{100 * numbers['greedy_exact']:.0f} %",
        "step of the loss": "none seen" if steps is None else f"{100 * steps.smooth.steepest:.0f} %",
        "step of the continuations": "none seen" if steps is None else f"{100 * steps.score.steepest:.0f} %",
    }
