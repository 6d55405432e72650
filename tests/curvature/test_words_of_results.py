"""Does every result of curvature say in words what was found, and has it a picture of its own?"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.curvature.minibatches import batch_eigenvalues
from lossatlas.figure.words import number


@pytest.fixture(scope="module")
def objective() -> la.Objective:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    return la.Objective(net, (torch.randn(12, 3).double(), torch.randn(12, 1).double()), F.mse_loss, batch_size=4)


def test_each_has_words_a_plot_and_a_picture_in_a_notebook(objective: la.Objective) -> None:
    ends, trace = la.eigenvalues(objective), la.trace(objective, probes=4)
    density, batches = la.spectral_density(objective, probes=2), batch_eigenvalues(objective)
    told = [
        (ends, f"λmax {number(ends.values[-1])} ± "),
        (
            trace,
            f"Trace: {number(trace.value)} ± {number(trace.standard_error, 2)} (standard error over 4 random vectors).",
        ),
        (density, f"to {number(float(density.nodes.max()))} were seen from 2 random vectors."),
        (
            batches,
            f"λmax of 3 batches: {number(float(batches.largest.min()))} to {number(float(batches.largest.max()))}",
        ),
    ]
    titles = [
        "Curvature of Sequential",
        "Trace of Sequential",
        "Spectral density of Sequential",
        "Curvature of Sequential by batch",
    ]
    assert [found.plot().title for found, _ in told] == titles
    for found, words in told:
        assert found.words.startswith("Hessian of Sequential")
        assert words in found.words
        assert found.plot()._repr_png_().startswith(b"\x89PNG")


def test_data_without_a_name_is_not_named_in_the_words_of_curvature() -> None:
    x, y = torch.randn(20, 3), torch.randint(0, 2, (20,))
    nameless = la.Objective(nn.Linear(3, 2), (x, y), F.cross_entropy)
    named = la.Objective(nn.Linear(3, 2), (x, y), F.cross_entropy, data_name="coins")
    assert "over 20 samples." in la.eigenvalues(nameless, k=1).subject.words
    assert "over 20 samples of coins." in la.eigenvalues(named, k=1).subject.words
