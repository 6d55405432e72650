"""Draw the pictures of `docs/explanation/paths.md`, and print the numbers that stand there.

`python docs/images/draw_paths.py FOLDER` takes about a minute on one core.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

import lossatlas as la
from lossatlas.connect.barriers import barrier
from lossatlas.connect.curve import Training

WIDTHS = (64, 48, 32, 10)


def trained(seed: int, recorder: la.Recorder | None = None) -> torch.nn.Module:
    """An MLP of 5,018 parameters after 40 epochs on digits; its learning rate falls to a tenth twice."""
    x, y = la.zoo.data("digits")
    torch.manual_seed(seed)
    model = la.zoo.model("mlp", widths=WIDTHS, seed=seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    falls = torch.optim.lr_scheduler.MultiStepLR(optimizer, [20, 30])
    loss = cross_entropy(model(x), y)
    for epoch in range(40):
        if recorder is not None:
            recorder.step(model, epoch=epoch, loss=loss, lr=optimizer)
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            loss = cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
        falls.step()
    if recorder is not None:
        recorder.save(model, epoch=40, loss=loss, lr=optimizer)
    return model


def main(folder: Path) -> None:
    """Two networks, the path of the first, and the ways between both."""
    folder.mkdir(parents=True, exist_ok=True)
    sys.argv = ["docs/images/draw_paths.py", "FOLDER"]  # what a picture says of itself, whoever draws it
    model = trained(0, la.Recorder(folder / "path", overwrite=True))
    objective = la.Objective(model, la.zoo.data("digits"), cross_entropy, name="an MLP", data_name="digits")
    path = la.Trajectory.open(folder / "path")
    plane = path.plane()
    along = path.losses(objective, plane)
    landscape = la.sample(objective, plane, la.Grid(**along.projected.bounds(41)))
    la.draw(landscape, folder / "path.png", overlays=[along.overlay()])
    la.draw(along, folder / "path-losses.png")
    said = [path.principal().words, along.words]

    other = trained(1)
    said += [f"line: {barrier(objective, model, other)[0].words}"]
    said += [f"aligned: {barrier(objective, model, la.align(objective, other))[0].words}"]
    found = la.connect(objective, model, other, kind="bezier", training=Training(epochs=60))
    sys.stdout.write("\n".join([*said, f"curve: {found.words}", ""]))
    surface = la.sample(objective, found.plane(), la.Grid(**found.bounds(41)))
    la.draw(surface, folder / "curve.png", overlays=found.overlay())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
