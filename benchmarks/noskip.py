"""What is the surface of a deep network without shortcuts? One is trained and evaluated at 51 × 51 points.

    python -m benchmarks.noskip noskip51.npz

Two minutes on two cores. The network has 56 layers and learns little, as such networks do: its training loss at the
centre is 0.98. The file has `loss` float32 [51, 51] at `x`, `y`; the copy at
`tests/sampling/noskip51.npz` was made by this command.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

import lossatlas as la
from lossatlas.zoo.train import TrainRecipe, train

IMAGES = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--network", default="resnet56_noshort", help="another network of the zoo, for another surface")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--points", type=int, default=51)
    asked = parser.parse_args()
    x, y = la.zoo.data("digits")
    net = la.zoo.model(asked.network, seed=0, channels=1, width=8)
    recipe = TrainRecipe(epochs=asked.epochs, lr=0.05, drops=(0.5, 0.8), until=0.02)
    found = train(net, (x, y), recipe, test=la.zoo.data("digits", split="test"))
    print(f"{asked.network}: {found.epochs} epochs, train {found.train}, test {found.test}")
    objective = la.Objective(net, (x[:IMAGES], y[:IMAGES]), loss=torch.nn.functional.cross_entropy)
    plane = la.Plane.random(objective, seed=0)
    bounds = (-1, 1, asked.points)
    surface = la.sample(objective, plane, la.Grid(x=bounds, y=bounds), plan="graph", run=asked.file.with_suffix(".run"))
    loss = surface["loss"].values
    print(f"loss {loss.min():.4g} to {loss.max():.4g}, at the centre {loss[asked.points // 2, asked.points // 2]:.4g}")
    np.savez_compressed(asked.file, loss=loss.astype(np.float32), x=surface["x"].values, y=surface["y"].values)


if __name__ == "__main__":
    main()
