"""Some of the samples: in batches as large as those that they came from, where that changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.objective import means
from lossatlas.objective.part import taken

CHOSEN = np.arange(3, 60, 6)


def made(batches, loss=F.cross_entropy, **options) -> la.Objective:
    torch.manual_seed(0)
    return la.Objective(nn.Linear(4, 3), batches, loss, **options)


def samples(count: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 4, generator=generator), torch.randint(3, (count,), generator=generator)


def cut(x: torch.Tensor, y: torch.Tensor, size: int = 12) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(x.split(size), y.split(size), strict=True))


def test_a_few_of_every_batch_make_batches_as_large_as_those_were():
    x, y = samples()
    part = taken(made((x, y), batch_size=12), CHOSEN)
    assert list(part.sizes) == [10]
    assert part()["loss"] == pytest.approx(F.cross_entropy(part.model(x[CHOSEN]), y[CHOSEN]).item(), rel=1e-6)
    assert sum(taken(made((x, y), batch_size=7), CHOSEN).sizes) == 10
    assert max(taken(made((x, y), batch_size=7), CHOSEN).sizes) <= 7
    each = made((x, y), batch_size=12)
    assert torch.allclose(part.each(), each.each()[torch.from_numpy(CHOSEN)], rtol=1e-6)  # in the order of the data


def together(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(outputs @ outputs.T, dim=1).diagonal().mean().neg()


def test_batches_stay_as_they_are_where_the_loss_takes_their_samples_together():
    with pytest.warns(UserWarning, match="together"):
        objective = made(samples(), together, batch_size=12)
        means.check(objective)
        assert list(taken(objective, CHOSEN).sizes) == [2] * 5


def test_batches_of_several_lengths_stay_as_they_are():
    x, y = samples()
    ragged = [(torch.cat([a, a], dim=1)[:, : 4 + i % 2], b) for i, (a, b) in enumerate(cut(x, y))]
    forward = lambda model, batch: (model(batch[0][:, :4]), batch[1])
    part = taken(made(ragged, forward=forward), CHOSEN)
    assert list(part.sizes) == [2] * 5
    assert part()["loss"] == pytest.approx(F.cross_entropy(part.model(x[CHOSEN]), y[CHOSEN]).item(), rel=1e-6)


@pytest.mark.parametrize("beside", [lambda i: i, lambda i: [i]], ids=["number", "list"])
def test_batches_with_something_of_their_own_stay_as_they_are(beside):
    """A batch's own factor, which another batch must not get."""
    x, y = samples()
    own = [{"x": a, "y": b, "beside": beside(i)} for i, (a, b) in enumerate(cut(x, y))]

    def forward(model, batch):
        return model(batch["x"]) * (1 + np.sum(batch["beside"])), batch["y"]

    part = taken(made(own, forward=forward), CHOSEN)
    assert list(part.sizes) == [2] * 5
    factors = torch.tensor([1.0 + float(np.sum(beside(i // 12))) for i in CHOSEN])[:, None]
    expected = F.cross_entropy(part.model(x[CHOSEN]) * factors, y[CHOSEN])
    assert part()["loss"] == pytest.approx(expected.item(), rel=1e-6)


def test_what_all_batches_share_is_no_reason():
    x, y = samples()
    own = [{"x": a, "y": b, "task": "digits"} for a, b in cut(x, y)]
    part = taken(made(own, forward=lambda model, batch: (model(batch["x"]), batch["y"])), CHOSEN)
    assert list(part.sizes) == [10]
