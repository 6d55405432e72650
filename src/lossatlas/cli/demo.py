"""`lossatlas demo`: a small, deep network with and without skip connections, trained, measured and drawn."""

from __future__ import annotations

import contextlib
import os
import sys
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lossatlas.cli.needed import Checked, Need, needing

__all__ = ["CLIP", "NETWORKS", "NOTE", "QUICK", "Effort", "demo_command"]

CLIP = 12.0
"""Loss at which the pictures are clipped: there both surfaces are far from anything that was trained."""

NETWORKS = {"with skip connections": True, "without": False}
"""The two networks, by what they are called: whether they have skip connections."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much the demo does. Found by trial: deep enough for skips to matter, small enough for two minutes.

    Attributes:
        depth: layers of the networks; one of 32 without skip connections does not train at this width.
        width: channels of their first stage.
        epochs: of one round; training stops as soon as the loss is low enough.
        rounds: how many rounds there may be, as long as a network has not reached its loss.
        lr: first learning rate.
        until: training loss at which both networks stop, so that two minima are compared.
        samples: training images behind each value.
        points: points along each axis of the pictures.
        seeds: pairs of directions, the first of them drawn.
    """

    depth: int = 26
    width: int = 4
    epochs: int = 80
    rounds: int = 2
    lr: float = 0.05
    until: float = 0.005
    samples: int = 300
    points: int = 33
    seeds: int = 3

    @property
    def coarse(self) -> int:
        """Points along each axis for the numbers over several seeds: every second one of the picture's."""
        return (self.points + 1) // 2


QUICK = Effort(depth=8, epochs=12, until=0.2, samples=100, points=9, seeds=2)


@click.command("demo", cls=Checked)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for all results (lossatlas-demo…).")
@click.option("--open/--no-open", "show", default=True, help="Open the page in a browser at the end.")
@needing(
    "--quick",
    needs=Need(
        words="the other demos; --live lasts as long as you watch it",
        met=lambda told: told["kind"] != "live",
        so="leave one of them out",
    ),
    is_flag=True,
    help="A coarse version that takes seconds, to check that everything is installed.",
)
@click.option("--language", "kind", flag_value="language", help="A small transformer and an LSTM on text instead.")
@click.option(
    "--recurrent", "kind", flag_value="recurrent", help="Recurrent and feed-forward nets of equal depth instead."
)
@click.option("--live", "kind", flag_value="live", help="Watch a network learn, in the browser, until Ctrl-C.")
@needing(
    "--port",
    needs=Need(words="--live", met=lambda told: told["kind"] == "live"),
    type=click.IntRange(0, 65535),
    default=8765,
    metavar="N",
    help="Port of the --live page; 0: any that is free.",
)
def demo_command(out: Path | None, show: bool, quick: bool, kind: str | None, port: int) -> None:
    """Train a small, deep network with and without skip connections on handwritten digits, and compare the landscapes.

    It takes about two minutes on two CPU cores, needs no internet connection, and can be stopped and resumed at any
    time. --language shows loss, perplexity and accuracy of two language models on one plane; --recurrent shows what
    shortcuts over time and over depth have in common. --live trains a network for a minute, slowly enough to watch, and
    opens a page where its path grows and the surface below it is sampled in idle time.

    \b
    Examples:
      lossatlas demo
      lossatlas demo --out my-demo --no-open
      lossatlas demo --language
      lossatlas demo --live
    """
    out = out or Path(f"lossatlas-demo-{kind}" if kind else "lossatlas-demo")
    if kind == "live":
        from lossatlas.cli import demo_live

        demo_live.run(out, show and sys.stdout.isatty() and not os.environ.get("CI"), port)
        return
    page = _skips(out, quick) if kind is None else _other(kind, out, quick)
    click.echo(f"\nOpen this page in a browser: {page.resolve().as_uri()}")
    if show and sys.stdout.isatty() and not os.environ.get("CI"):
        webbrowser.open(page.resolve().as_uri())


def _other(kind: str, out: Path, quick: bool) -> Path:
    from lossatlas.cli import demo_language, demo_recurrent

    run: Callable[[Path, bool], Path] = {"language": demo_language.run, "recurrent": demo_recurrent.run}[kind]
    with _one_thread():
        return run(out, quick)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Nets this small gain nothing from a second thread; on a busy machine, two that wait for each other crawl."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _skips(out: Path, quick: bool) -> Path:
    """With and without skip connections; the page."""
    plan = QUICK if quick else Effort()
    found = {name: _network(name, skip, plan, out) for name, skip in NETWORKS.items()}
    rows = [_row(name, *parts) for name, parts in found.items()]
    _print_table(rows)
    said = _verdict(found, plan.until)
    for line in said:
        click.echo(line)
    return _draw([landscapes[0] for _, landscapes in found.values()], rows, " ".join([NOTE, *said]), plan, out)


def _network(name: str, skip: bool, plan: Effort, out: Path) -> tuple[Any, list[Any]]:
    """Train one network and measure its landscape over several pairs of directions."""
    import torch

    import lossatlas as la
    from lossatlas.zoo.train import TrainRecipe, train

    folder = out / ("skip" if skip else "noskip")
    data, test = la.zoo.data("digits"), la.zoo.data("digits", split="test")
    model = la.zoo.model("resnet", depth=plan.depth, width=plan.width, channels=1, skip=skip, seed=0)
    recipe = TrainRecipe(epochs=plan.epochs, rounds=plan.rounds, lr=plan.lr, until=plan.until)
    with _one_thread():
        trained = train(model, data, recipe, test=test, folder=folder, name=f"training {name}")
    x, y = (part[: plan.samples] for part in data)
    objective = la.Objective(
        model,
        (x, y),
        loss=torch.nn.functional.cross_entropy,
        metrics={"error": la.metrics.error},
        name=f"{plan.depth} layers, {name}" + ("" if trained.reached else ", not trained to the end"),
        data_name="digits (training)",
    )
    landscapes = []
    for seed in range(plan.seeds):
        click.echo(f"measuring {name}, directions {seed + 1} of {plan.seeds}", err=True)
        points = plan.points if seed == 0 else plan.coarse
        grid = la.Grid(x=(-1, 1, points), y=(-1, 1, points))
        plane = la.Plane.random(objective, seed=seed)
        landscapes.append(la.sample(objective, plane, grid, run=folder / f"seed{seed}"))
    return trained, landscapes


def _numbers(landscapes: list[Any]) -> tuple[list[float], list[float]]:
    """Valley and negative curvature of each seed, all on the coarse grid, since both depend on the spacing."""
    from lossatlas.field.convexity import negative_share, share_below

    coarse = _coarse(landscapes)
    return [share_below(one, 1.0) for one in coarse], [negative_share(one) for one in coarse]


def _rugged(landscapes: list[Any]) -> dict[str, str]:
    """How rugged the landscapes are, with the interval over pairs of directions."""
    from lossatlas.field.ruggedness import over_seeds

    found = over_seeds(_coarse(landscapes))
    return {
        "falls after a rise": found["descent"].words,
        "behind a ridge": found["behind"].words,
        "minima besides lowest": found["minima"].words,
    }


def _coarse(landscapes: list[Any]) -> list[Any]:
    """All on the coarse grid: what is counted depends on the spacing."""
    return [landscapes[0].isel(x=slice(None, None, 2), y=slice(None, None, 2)), *landscapes[1:]]


def _row(name: str, trained: Any, landscapes: list[Any]) -> Mapping[str, str]:
    from lossatlas.figure.words import with_range

    valley, bent = _numbers(landscapes)
    return {
        "network": name,
        "epochs": str(trained.epochs),
        "training loss": f"{trained.train.loss:.4f}" + ("" if trained.reached else " (missed)"),
        "training error": f"{100 * trained.train.error:.1f} %",
        "test error": f"{100 * trained.test.error:.1f} %",
        "area with loss < 1": with_range(valley),
        "area that bends down": with_range(bent),
        **_rugged(landscapes),
    }


def _print_table(rows: list[Mapping[str, str]]) -> None:
    click.echo()
    for column in rows[0]:
        cells = "  ".join(row[column].rjust(22) for row in rows)
        click.echo(f"{column:22}{cells}")
    click.echo()


NOTE = (
    "Shares of the square from -1 to 1 along both directions: mean over pairs of random directions, smallest and "
    "largest in brackets. An area bends down where three neighbouring points on a line violate convexity by more than "
    "rounding error, and the slice bends down by more than 5 % of how it bends up. The last three rows are 0 for every "
    "convex loss, with Student's 95 % interval over the pairs of directions: the share of the variation along rays "
    "from the centre that falls after a rise, the share of the area behind a ridge, and the number of minima separated "
    "by a ridge from a lower point. The networks learn the digits of scikit-learn."
)


def _verdict(found: Mapping[str, tuple[Any, list[Any]]], until: float) -> list[str]:
    """What is seen, in words the numbers support: a difference counts where the ranges of the seeds do not overlap."""
    missed = [name for name, (trained, _) in found.items() if not trained.reached]
    if missed:
        named = " and ".join(f"{name} skip connections" if name == "without" else name for name in missed)
        return [
            f"No comparison: the network {named} did not reach the training loss of {until:g} that was asked for, so "
            "it is not at a minimum as the other is."
        ]
    (_, skip), (_, plain) = found.values()
    lines = [f"Both networks were trained to a loss below {until:g}."]
    lines.append(_claim("bends down over more of its area", _numbers(plain)[1], _numbers(skip)[1]))
    lines.append(_claim("has the narrower valley", *([-v for v in _numbers(n)[0]] for n in (plain, skip))))
    return lines


def _claim(what: str, more: list[float], less: list[float]) -> str:
    if min(more) > max(less):
        return f"The network without skip connections {what}, for every pair of directions."
    return f"Not clearly seen: that the network without skip connections {what} (the seeds overlap)."


def _draw(landscapes: list[Any], rows: list[Mapping[str, str]], note: str, plan: Effort, out: Path) -> Path:
    import lossatlas as la
    from lossatlas.draw.report import add_table

    title = f"A network of {plan.depth} layers with and without skip connections"
    la.draw(landscapes, out / "landscapes.png", title=title, kind="surface", scale="linear", clip=CLIP)
    page = la.draw(landscapes, out / "index.html", title=title, scale="linear", clip=CLIP)
    return add_table(page, rows, note)
