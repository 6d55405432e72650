"""Do two real trainings on digits show what the papers report: a path flatter than its null, barriers that go away?"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import lossatlas as la
from lossatlas.connect.barriers import barrier
from lossatlas.connect.curve import Training, along
from lossatlas.objective.randomness import seeded


def trained(seed: int, data, folder=None) -> torch.nn.Module:
    """A small residual network with BatchNorm, trained to a small loss."""
    x, y = data
    model = la.zoo.model("resnet", depth=8, width=8, channels=1, seed=seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    recorder = la.Recorder(folder) if folder else None
    with seeded(seed):
        for epoch in range(13):
            if recorder:
                recorder.step(model, epoch=epoch, lr=optimizer)
            optimizer.param_groups[0]["lr"] = 0.1 if epoch < 9 else 0.01
            model.train()
            for chosen in torch.randperm(len(y)).split(64):
                optimizer.zero_grad()
                F.cross_entropy(model(x[chosen]), y[chosen]).backward()
                optimizer.step()
    if recorder:
        recorder.step(model, epoch=13, lr=optimizer)
    return model.eval()


@pytest.mark.slow
def test_a_training_on_digits_and_the_ways_between_two(tmp_path):
    data, test = la.zoo.data("digits"), la.zoo.data("digits", split="test")
    a, b = trained(0, data, tmp_path / "path"), trained(1, data)
    frozen = la.Objective(a, data, F.cross_entropy)
    assert frozen()["loss"] < 0.05

    path = la.Trajectory.open(tmp_path / "path")
    found = path.principal(2)
    assert found.shares[0] > found.null.high[0]
    losses = path.losses(frozen, path.plane())
    assert losses.own["loss"][-1] == pytest.approx(frozen()["loss"], rel=1e-5)
    assert losses.own["loss"][1] > 3 * losses.own["loss"][-1]
    assert losses.projected.residual[1:-1].min() > 0

    objective = la.Objective(a, data, F.cross_entropy, batchnorm="recalibrated")
    aligned = la.align(objective, b)
    assert aligned.checked < 1e-9
    before, after = (barrier(objective, a, other, steps=5)[0] for other in (b, aligned))
    assert before.height > 10 * before.standard_error
    assert after.height < before.height

    joined = la.connect(objective, a, b, steps=5, training=Training(epochs=10, lr=0.02))
    assert joined.barrier.height < 0.2 * before.height
    unseen = la.Objective(a, test, F.cross_entropy, metrics={"error": la.metrics.error}, batchnorm="recalibrated")
    errors = along(unseen, joined.curve, steps=5)["error"]
    assert float(errors.max()) < 0.2
    print(f"{found.words}\n{losses.words}\nbefore: {before.words}\nafter alignment: {after.words}\n{joined.words}")
    print(f"test error along the curve: {[round(float(e), 4) for e in errors]}")
