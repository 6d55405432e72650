"""Does a scan give the right values beside other threads, and leave their random numbers alone?"""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la

GRID = la.Grid(x=(-1, 1, 15), y=(-1, 1, 9))


def made(*layers: nn.Module, **options) -> la.Objective:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), *layers, nn.ReLU(), nn.Linear(16, 3))
    x, y = torch.randn(60, 6), torch.randint(3, (60,))
    return la.Objective(model, (x, y), loss=F.cross_entropy, batch_size=20, **options)


def test_threads_on_one_objective_get_the_values_that_each_gets_alone():
    objective = made()
    planes = [la.Plane.random(objective, seed=seed) for seed in range(4)]
    alone = [la.sample(objective, plane, GRID)["loss"].values for plane in planes]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda plane: la.sample(objective, plane, GRID)["loss"].values, planes))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


class Noisy(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.rand_like(x)


def test_threads_on_objectives_that_draw_random_numbers_get_their_own():
    def one(_):
        torch_free = objectives[_]
        return [torch_free.measure(seed=s)["loss"] for s in range(40)]

    objectives = [made(Noisy()) for _ in range(4)]
    expected = one(0)
    state = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        assert all(found == expected for found in pool.map(one, range(4)))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("plan", ["auto", "plain"])
def test_the_random_numbers_of_another_thread_are_untouched_while_a_scan_runs(plan):
    def drawn(ended) -> list[float]:
        torch.manual_seed(3)
        found = []
        while len(found) < 300 or not ended():
            found.append(float(torch.rand(())))
        return found

    objective = made()
    plane = la.Plane.random(objective, seed=0)
    scan = threading.Thread(target=lambda: la.sample(objective, plane, GRID, plan=plan))
    scan.start()
    found = drawn(lambda: not scan.is_alive())
    scan.join()
    torch.manual_seed(3)
    assert found == [float(torch.rand(())) for _ in found]


@pytest.mark.parametrize("layers", [(), (Noisy(),)])
def test_whether_an_evaluation_draws_is_found_without_touching_any_state(layers):
    from lossatlas.objective.drawing import draws

    objective = made(*layers)
    states = torch.get_rng_state(), random.getstate(), repr(np.random.get_state(legacy=False))
    assert draws(objective) == bool(layers)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), repr(np.random.get_state(legacy=False))) == states[1:]
