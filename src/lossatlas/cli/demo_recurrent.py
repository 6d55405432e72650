"""`lossatlas demo --recurrent`: vanilla RNN, LSTM, residual and plain feed-forward net of equal depth, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

__all__ = ["NETWORKS", "NOTE", "QUICK", "Effort", "run"]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much the demo does.

    Attributes:
        depth: steps of the recurrent nets, layers of the others; must divide 64.
        width: units of each state and layer.
        steps: of training, in one round.
        rounds: how many rounds there may be, as long as a net has not reached its loss.
        until: mean loss of 50 steps at which each net stops, so that four minima are compared.
        samples: training images behind each value.
        points: points along each axis of the pictures.
        seeds: pairs of directions, the first of them drawn.
        seed: of the weights at the start.
    """

    depth: int = 16
    width: int = 32
    steps: int = 2500
    rounds: int = 4
    until: float = 0.03
    samples: int = 400
    points: int = 31
    seeds: int = 3
    seed: int = 0


QUICK = Effort(steps=60, rounds=1, samples=60, points=7, seeds=1)

NETWORKS: dict[str, tuple[str, str]] = {
    "vanilla RNN": ("rnn", "steps"),
    "LSTM": ("lstm", "steps"),
    "residual": ("residual_mlp", "layers"),
    "plain": ("plain_mlp", "layers"),
}
"""The networks: their names in the zoo, and what their depth is made of."""

NOTE = (
    "The digits of scikit-learn; the recurrent nets read {per} pixels at each of {depth} steps with one matrix, the "
    "others see all pixels at once and have {depth} layers with a matrix each. {trained} Areas are shares of the "
    "square from -1 to 1: mean over {seeds} pairs of random directions, smallest and largest in brackets. An area "
    "bends down where three neighbouring points on a line violate convexity by more than rounding error, and the slice "
    "bends down by more than 5 % of how it bends up. The recurrent nets are bounded by tanh and the others are not, so "
    "this area must not be compared between the two kinds. Each net was trained once: the table compares these four "
    "networks only."
)


def run(out: Path, quick: bool) -> Path:
    """Train all four, measure all four, draw; the page."""
    import lossatlas as la
    from lossatlas.draw.report import add_table

    plan = QUICK if quick else Effort()
    found = {name: _network(name, plan, out) for name in NETWORKS}
    shown = [landscapes[0] for _, landscapes in found.values()]
    title = f"Shortcuts over time and over depth: four nets of {plan.depth} steps or layers"
    view: dict[str, Any] = {"title": title, "scale": "log", "clip": 20.0}
    la.draw(shown, out / "landscapes.png", **view)
    la.draw(shown, out / "surfaces.png", kind="surface", **view)
    page = la.draw(shown, out / "index.html", **view)
    rows = [_row(name, *parts) for name, parts in found.items()]
    _print(rows)
    trained = _trained(found, plan)
    click.echo(trained)
    note = NOTE.format(per=64 // plan.depth, depth=plan.depth, trained=trained, seeds=plan.seeds)
    return add_table(page, rows, note)


def _trained(found: Mapping[str, tuple[Mapping[str, float], Any]], plan: Effort) -> str:
    """To what loss the nets were trained; which missed it, and that these are not to be compared."""
    asked = f"until the mean loss of 50 steps was below {plan.until}"
    missed = [name for name, (numbers, _) in found.items() if not numbers["reached"]]
    if not missed:
        return f"Each was trained {asked}."
    return (
        f"Each was to be trained {asked}; {' and '.join(missed)} did not reach it in "
        f"{plan.steps * plan.rounds} steps and must not be compared with the others."
    )


def _network(name: str, plan: Effort, out: Path) -> tuple[Mapping[str, float], list[Any]]:
    """Train one network and measure its landscape over several pairs of directions."""
    import torch

    import lossatlas as la
    from lossatlas.zoo.fit import FitRecipe, fit, reached

    folder = out / name.split()[-1].lower()
    kind, unit = NETWORKS[name]
    train, test = (_steps(la.zoo.data("digits", split=split), plan.depth) for split in ("train", "test"))
    options = {"inputs": 64 // plan.depth, "hidden": plan.width} if unit == "steps" else {}
    options = options or {"depth": plan.depth, "width": plan.width}
    model = la.zoo.model(kind, seed=plan.seed, **options)
    loss = torch.nn.functional.cross_entropy
    recipe = FitRecipe(steps=plan.steps, rounds=plan.rounds, until=plan.until)
    losses = fit(model, train, loss, recipe, folder=folder, name=f"training: {name}")
    done = reached(losses, recipe)

    def objective(data: Any) -> Any:
        words = f"{name}, {plan.depth} {unit}" + ("" if done else ", not trained to the end")
        return la.Objective(
            model, data, loss, metrics={"error": la.metrics.error}, name=words, data_name="digits (training)"
        )

    part = objective(tuple(tensor[: plan.samples] for tensor in train))
    numbers = {
        "steps": len(losses),
        "reached": done,
        "train": objective(train)()["loss"],
        "test": objective(test)()["error"],
    }
    grid = la.Grid(x=(-1, 1, plan.points), y=(-1, 1, plan.points))
    click.echo(f"measuring: {name}", err=True)
    landscapes = [
        la.sample(part, la.Plane.random(part, seed=seed), grid, run=folder / f"seed{seed}")
        for seed in range(plan.seeds)
    ]
    return numbers, landscapes


def _steps(data: Any, depth: int) -> Any:
    """Images as sequences of equal parts."""
    x, y = data
    return x.reshape(len(x), depth, -1), y


def _row(name: str, numbers: Mapping[str, float], landscapes: list[Any]) -> Mapping[str, str]:
    from lossatlas.field.convexity import negative_share, share_below
    from lossatlas.figure.words import with_range

    return {
        "network": name,
        "training steps": f"{numbers['steps']:.0f}",
        "training loss": f"{numbers['train']:.3f}" + ("" if numbers["reached"] else " (missed)"),
        "test error": f"{100 * numbers['test']:.1f} %",
        "area with loss < 1": with_range([share_below(one, 1.0) for one in landscapes]),
        "area that bends down": with_range([negative_share(one) for one in landscapes]),
    }


def _print(rows: list[Mapping[str, str]]) -> None:
    click.echo()
    for column in rows[0]:
        click.echo(f"{column:22}" + "  ".join(row[column].rjust(18) for row in rows))
    click.echo()
