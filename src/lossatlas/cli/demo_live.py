"""`lossatlas demo --live`: a network learns to read digits, and the page shows the valley that it walks down."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import click
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lossatlas.cli import below
from lossatlas.cli.serve import leave, listen

__all__ = ["SECONDS", "STEPS", "learn", "run", "surface"]

STEPS, SECONDS = 360, 75.0
"""Steps of the training, and how long they are made to last: at full speed it would be over in two seconds."""

_WIDTHS = (64, 24, 24, 10)
_BATCH, _EVERY = 32, 2


def run(out: Path, show: bool, port: int = 8765) -> None:
    """Train, sample beside it, and serve until Ctrl-C.

    Args:
        out: folder for the path; one that is there is replaced.
        show: open a browser.
        port: of the page; 0 takes any that is free.
    """
    from lossatlas.atlas.shelf import Shelf

    place = out / "learning to read digits"
    if not (place / "path.json").is_file():
        place.mkdir(parents=True, exist_ok=True)
    parent = os.getpid()
    with below.beside(learn, place, parent), below.beside(surface, place, parent):
        shelf = Shelf([out])
        while not (found := [entry for entry in shelf.entries() if entry.kind == "path"]):
            time.sleep(0.1)
        count = sum(a * b + b for a, b in itertools.pairwise(_WIDTHS))
        click.echo(f"A network of {count} weights learns to read handwritten digits; it takes {SECONDS:.0f} seconds.")
        done = listen(shelf, port, show=show, run=found[0].id, words="Watch it")
    leave(done)


def _network() -> nn.Module:
    import lossatlas as la

    with torch.random.fork_rng():
        torch.manual_seed(3)
        return la.zoo.model("mlp", widths=_WIDTHS, activation="tanh")


def learn(folder: Path, parent: int, steps: int = STEPS, seconds: float = SECONDS) -> None:
    """Train the network, with every second step recorded.

    Args:
        folder: of the path.
        parent: the training ends with this process.
        steps: of stochastic gradient descent.
        seconds: how long they are made to last.
    """
    import warnings

    import lossatlas as la

    torch.set_num_threads(1)
    (x, y), (tx, ty) = la.zoo.data("digits"), la.zoo.data("digits", split="test")
    model, generator = _network(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.8)
    drops = torch.optim.lr_scheduler.MultiStepLR(optimizer, [int(0.6 * steps), int(0.85 * steps)], gamma=0.2)
    warnings.simplefilter("ignore")  # an earlier demo is replaced
    recorder = la.Recorder(folder, every=_EVERY, overwrite=True)
    began = time.monotonic()
    loss = cross_entropy(model(x), y).detach()
    for step in range(steps + 1):
        with torch.no_grad():
            wrong = float((model(tx).argmax(dim=1) != ty).float().mean())
        epoch = step * _BATCH / len(x)
        recorder.step(model, step=step, epoch=epoch, loss=loss, lr=optimizer, **{"test error": wrong})
        chosen = torch.randint(len(x), (_BATCH,), generator=generator)
        loss = cross_entropy(model(x[chosen]), y[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        drops.step()
        time.sleep(max(0.0, began + seconds * step / steps - time.monotonic()))
        if os.getppid() != parent:
            return
    click.echo(f"It reads {100 * (1 - wrong):.1f} % of the digits it has never seen.")


def surface(folder: Path, parent: int) -> None:
    """Sample the surface under the path, for as long as the process that started this one is there."""
    import lossatlas as la
    from lossatlas.paths.below import Below

    def objective(model: nn.Module) -> la.Objective:
        data = la.zoo.data("digits")
        return la.Objective(model, data, loss=cross_entropy, name="learning to read digits", data_name="digits")

    made = Below(folder, _network(), objective, budget=300.0)
    while below.idle(parent):
        if not made.step():
            time.sleep(0.2)
