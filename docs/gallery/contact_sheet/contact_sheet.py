"""Twenty real surfaces as contour, relief and line, on one sheet: is each seen at one glance, with no range by hand?

    python docs/gallery/contact_sheet/contact_sheet.py RUNS SHEET.png [FOLDER WITH THE AUTHORS' NETWORKS]

Each network is trained in seconds; `la.Grid.auto` finds how far to look. What is in RUNS already is not measured again.
Without the folder, which holds surfaces and networks of other people, the sheet has the other rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import lossatlas as la
from lossatlas.objective.language import cross_entropy as by_token
from lossatlas.zoo.fit import FitRecipe, fit

SIDE = 25
WIDTH = 2.3
"""Of one picture, in inches."""


def digits(name: str, loss: Any = cross_entropy, **options: Any) -> Any:
    """A network of the zoo, trained on 200 digits."""
    x, y = la.zoo.data("digits")
    flat = name in ("mlp", "residual_mlp", "plain_mlp")
    x, y = (x[:200].flatten(1) if flat else x[:200]), y[:200]
    model = la.zoo.model(name, seed=0, **options)
    fit(model, (x, y), loss, FitRecipe(steps=120, lr=0.01), progress=False)
    return la.Objective(model.eval(), (x, y), loss=loss, name=name)


def mean_by_token(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """What a language model is trained on."""
    return cross_entropy(outputs.flatten(0, 1), targets.flatten())


def language(name: str, **options: Any) -> Any:
    """A language model of the zoo, trained on the reference of Python."""
    tokens = la.zoo.data("reference", block=32)
    x, y = tokens[0][:64], tokens[1][:64]
    model = la.zoo.model(name, seed=0, **options)
    fit(model, (x, y), mean_by_token, FitRecipe(steps=80, lr=0.01), progress=False)
    return la.Objective(model.eval(), (x, y), loss=by_token, name=name)


def regression() -> Any:
    """A sine, fitted by a small network."""
    torch.manual_seed(0)
    x = torch.linspace(-3, 3, 128)[:, None]
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    fit(model, (x, torch.sin(2 * x)), mse_loss, FitRecipe(steps=400, lr=0.01), progress=False)
    return la.Objective(model, (x, torch.sin(2 * x)), loss=mse_loss, name="sine, mean squares")


def autoencoder() -> Any:
    """Digits through eight numbers."""
    torch.manual_seed(0)
    x = la.zoo.data("digits")[0][:200].flatten(1)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8), nn.Linear(8, 64))
    fit(model, (x, x), mse_loss, FitRecipe(steps=300, lr=0.01), progress=False)
    return la.Objective(model, (x, x), loss=mse_loss, name="autoencoder")


def untrained() -> Any:
    """A network before its training."""
    x, y = la.zoo.data("digits")
    model = la.zoo.model("mlp", seed=0)
    return la.Objective(model, (x[:200].flatten(1), y[:200]), loss=cross_entropy, name="mlp, untrained")


MEASURED: dict[str, Callable[[], Any]] = {
    "mlp": lambda: digits("mlp"),
    "mlp-untrained": untrained,
    "residual_mlp": lambda: digits("residual_mlp"),
    "plain_mlp": lambda: digits("plain_mlp"),
    "mixer": lambda: digits("mixer"),
    "vit": lambda: digits("vit"),
    "rnn": lambda: digits("rnn"),
    "gru": lambda: digits("gru"),
    "lstm": lambda: digits("lstm"),
    "resnet20": lambda: digits("resnet20", channels=1, width=4),
    "resnet20_noshort": lambda: digits("resnet20_noshort", channels=1, width=4),
    "rnn_lm": lambda: language("rnn_lm"),
    "lstm_lm": lambda: language("lstm_lm"),
    "decoder": lambda: language("decoder"),
    "sine": regression,
    "autoencoder": autoencoder,
}


def measured(runs: Path) -> Iterator[xr.Dataset]:
    """The networks trained here."""
    for name, make in MEASURED.items():
        if not (runs / name / "landscape.nc").exists():
            objective = make()
            plane = la.Plane.random(objective, seed=0)
            la.sample(objective, plane, la.Grid.auto(objective, plane, points=SIDE), run=runs / name)
        yield la.open(runs / name)


def given(folder: Path) -> Iterator[xr.Dataset]:
    """Surfaces of the authors' networks, and of a language model, as they were measured."""
    for name, file in (("ResNet-56", "resnet56"), ("ResNet-56, no shortcuts", "resnet56_noshort")):
        with np.load(folder / f"{file}_dense51.npz") as held:
            yield la.landscape(x=held["x"], y=held["y"], loss=held["loss"], title=name)
    surface = la.open(folder / "resnet56_surf.h5")
    yield surface.assign_attrs(title="ResNet-56, 500 images")


def stories(runs: Path, folder: Path) -> xr.Dataset:
    """A language model of 260,032 parameters."""
    if not (runs / "stories" / "landscape.nc").exists():
        model = la.zoo.model("decoder", vocabulary=512, dim=64, layers=5, heads=8, kv_heads=4, hidden=172)
        la.load_checkpoint(model, folder / "stories260K.pt")
        with np.load(folder / "tinystories_tokens.npz") as held:
            blocks = torch.from_numpy(held["blocks"].astype(np.int64))[:4, :128]
        objective = la.Objective(
            model.eval(), (blocks[:, :-1], blocks[:, 1:]), loss=by_token, name="language model, 260K"
        )
        plane = la.Plane.random(objective, seed=0)
        la.sample(objective, plane, la.Grid.auto(objective, plane, points=SIDE), run=runs / "stories")
    return la.open(runs / "stories")


def pictures(landscape: xr.Dataset, folder: Path) -> list[Image.Image]:
    """Contour, relief and the line through the centre."""
    value = "loss" if "loss" in landscape else str(next(iter(landscape.data_vars)))
    line = landscape.sel(y=0.0, method="nearest")
    how: dict[str, Any] = {"caption": "none", "units": False, "width": WIDTH, "value": value, "dpi": 150}
    done = []
    for number, (shown, options) in enumerate(((landscape, {}), (landscape, {"kind": "surface"}), (line, {}))):
        done.append(Image.open(la.draw(shown, folder / f"{number}.png", **how, **options)).convert("RGB"))
    return done


def sheet(landscapes: list[xr.Dataset], target: Path, scratch: Path) -> None:
    """Two columns of rows of three pictures."""
    rows = [pictures(one, scratch) for one in landscapes]
    high = max(picture.height for row in rows for picture in row)
    wide = max(picture.width for row in rows for picture in row)
    half = -(-len(rows) // 2)
    paper = Image.new("RGB", (6 * wide, half * high), "white")
    for place, row in enumerate(rows):
        left, top = 3 * wide * (place // half), high * (place % half)
        for number, picture in enumerate(row):
            paper.paste(picture, (left + number * wide, top))
    paper.save(target, optimize=True)


def main(runs: Path, target: Path, folder: Path | None) -> None:
    """Measure what is missing, and draw the sheet."""
    runs.mkdir(parents=True, exist_ok=True)
    landscapes = [*given(folder), stories(runs, folder)] if folder else []
    landscapes += measured(runs)
    sheet(landscapes, target, runs)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
