"""Is everything measured the same in torch.inference_mode, and of what was made within it?"""

from __future__ import annotations

import functools
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.connect.curve_training import Training
from lossatlas.errors import SpecError

GRID, LINE = la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), la.Grid(x=(-1, 1, 3))


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(9, 4, generator=generator).double(), torch.randint(3, (9,), generator=generator)


def made(what):
    """An objective of which a part, or all, was made in inference mode; ``loader``: batches that are put together there."""
    with torch.inference_mode(what in ("all", "model")):
        model = net()
    with torch.inference_mode(what in ("all", "data")):
        x, y = data()
    source = (x, y)
    if what in ("loader", "streamed"):
        source = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=4)
    with torch.inference_mode(what != "nothing"):
        return la.Objective(model, source, F.cross_entropy, batch_size=4, memory=0 if what == "streamed" else 2**30)


MEASURES = {
    "value": lambda o: o()["loss"],
    "sample": lambda o: la.sample(o, la.Plane.random(o), GRID, progress=False),
    "inputs": lambda o: la.sample(o, la.InputPlane.adversarial(o), GRID, progress=False),
    "eigenvalues": lambda o: la.eigenvalues(o, k=1).values.tolist(),
    "trace": lambda o: la.trace(o, probes=2).value,
    "density": lambda o: la.spectral_density(o, probes=1, steps=3).density.tolist(),
    "critical map": lambda o: la.sharpness.critical_map(o, la.Plane.random(o, axes=("x",)), LINE, progress=False),
    "curvature map": lambda o: la.curvature_map(o, la.Plane.random(o, axes=("x",)), LINE, progress=False),
    "quantise": lambda o: la.quantise(o, bits=(4,), progress=False).words,
    "connect": lambda o: la.connect(
        o, o.model, net(1), steps=3, training=Training(epochs=1), progress=False
    ).losses.tolist(),
    **{name: functools.partial(la.sharpness.measure, name) for name in la.sharpness.MEASURES if name != "llc"},
    "llc": lambda o: la.llc(o, draws=20, progress=False).words,
}


def told(measure, objective):
    found = measure(objective)
    if hasattr(found, "data_vars"):
        return [value for name in found for value in found[name].values.ravel().tolist()]
    return getattr(found, "value", found)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.filterwarnings("ignore")
def test_inference_mode_changes_no_measure(name):
    plain = told(MEASURES[name], made("nothing"))
    with torch.inference_mode():
        within = told(MEASURES[name], made("nothing"))
    assert within == (plain if name in ("quantise", "llc") else pytest.approx(plain, nan_ok=True))


@pytest.mark.parametrize("what", ["objective", "model", "data", "all", "loader", "streamed"])
@pytest.mark.filterwarnings("ignore")
def test_what_was_made_in_inference_mode_can_be_differentiated(what):
    for name in ("value", "eigenvalues", "sam", "critical", "inputs"):
        plain, found = told(MEASURES[name], made("nothing")), told(MEASURES[name], made(what))
        assert found == pytest.approx(plain, rel=1e-9, nan_ok=True), name


def test_a_model_made_in_inference_mode_stays_as_it_is_and_is_not_moved_in_place():
    objective = made("all")
    before = {name: tensor.clone() for name, tensor in objective.model.state_dict().items()}
    la.trace(objective, probes=2)
    assert all(parameter.is_inference() for parameter in objective.model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in objective.model.state_dict().items())
    with warnings.catch_warnings(), pytest.raises(SpecError, match="made in torch.inference_mode"):
        la.Objective(objective.model, data(), F.cross_entropy, in_place=True)
