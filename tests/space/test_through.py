"""Do pruned and parametrised weights move as their layer sees them, or not at all?"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.objective.private import private_copy


def data():
    torch.manual_seed(1)
    return torch.randn(12, 6), torch.randint(0, 3, (12,))


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def pruned(share=0.5):
    model = net()
    prune.l1_unstructured(model[0], "weight", amount=share)
    return model


def seen(model, point):
    """The weight that the first layer uses at a point, by running the model there."""
    twin, caught = private_copy(model, device=torch.device("cpu"), training=False), []
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.copy_(point[name])
    twin[0].register_forward_hook(lambda layer, *_: caught.append(layer.weight.detach().clone()))
    with torch.no_grad():
        twin(data()[0].to(twin[2].weight))
    return caught[0]


@pytest.mark.parametrize("by", ["filter", "layer", "weight", "none"])
def test_a_pruned_network_has_the_landscape_of_the_same_network_with_zeros_for_weights(by):
    model, baked = pruned(), pruned()
    prune.remove(baked[0], "weight")
    a, b = (la.Objective(m, data(), loss=F.cross_entropy) for m in (model, baked))
    plane = la.Plane.random(a, seed=0, by=by)
    kept = model[0].weight_mask
    assert bool((plane.directions["x"]["0.weight_orig"][kept == 0] == 0).all())
    named = {axis: {n.replace("_orig", ""): t for n, t in d.items()} for axis, d in plane.directions.items()}
    grid = la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    found = la.sample(a, plane, grid, progress=False).loss.values
    np.testing.assert_allclose(found, la.sample(b, la.Plane(b, named), grid, progress=False).loss.values, rtol=1e-5)
    if by == "filter":
        step = seen(model, plane.at({"x": 1.0})) - seen(model, plane.at({}))
        np.testing.assert_allclose(step.norm(dim=1), baked[0].weight.detach().norm(dim=1), rtol=1e-5)


def test_a_filter_that_is_pruned_away_stays():
    model = net()
    prune.ln_structured(model[0], "weight", amount=3, n=2, dim=0)
    direction = la.directions.random(model, seed=0)["0.weight_orig"]
    assert int((direction.norm(dim=1) == 0).sum()) == 3
    assert bool(torch.isfinite(direction).all())


class Positive(nn.Module):
    def forward(self, tensor):
        return F.softplus(tensor)


class Mask(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mask", (torch.arange(48).reshape(8, 6) % 3 > 0).float())

    def forward(self, tensor):
        return tensor * self.mask


class Symmetric(nn.Module):
    def forward(self, tensor):
        return tensor.triu() + tensor.triu(1).T


@pytest.mark.parametrize("step", [Positive, Mask])
@pytest.mark.parametrize("by", ["filter", "layer"])
def test_functions_of_single_weights_move_by_the_norms_that_the_layer_sees(step, by):
    model = net().double()
    parametrize.register_parametrization(model[0], "weight", step().double())
    plane = la.Plane.random(model, seed=0, by=by)
    small = 1e-6
    moved = (seen(model, plane.at({"x": small})) - seen(model, plane.at({}))) / small
    weight = seen(model, plane.at({}))
    found, expected = (t.norm(dim=1) if by == "filter" else t.norm() for t in (moved, weight))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def mixed(step):
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3))
    if step == "orthogonal":
        parametrizations.orthogonal(model[0])
    else:
        parametrize.register_parametrization(model[0], "weight", Symmetric())
    return model


@pytest.mark.parametrize("step", ["orthogonal", "symmetric"])
def test_what_mixes_filters_does_not_move_at_random_and_the_rest_may(step):
    model = mixed(step)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(la.SpecError, match=r"'0.parametrizations.weight.original' cannot move at random: it is behind"):
        la.Plane.random(model, seed=0)
    assert list(la.directions.random(model, seed=0, only="1.*")) == ["1.weight"]
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


def test_recipes_ask_for_the_whole_tensor():
    with pytest.raises(la.SpecError, match="is pruned or parametrised, and its direction needs the whole tensor"):
        la.Plane.random(pruned(), seed=0, stored=False)


def test_embeddings_with_sparse_gradients_have_a_landscape_and_a_curvature():
    torch.manual_seed(0)
    x, y = torch.randint(0, 10, (20, 3)), torch.randint(0, 3, (20,))
    model = nn.Sequential(nn.Embedding(10, 4, sparse=True), nn.Flatten(), nn.Linear(12, 3)).double()
    dense = copy.deepcopy(model)
    dense[0].sparse = False
    found, expected = (la.Objective(m, (x, y), loss=F.cross_entropy) for m in (model, dense))
    assert la.eigenvalues(found).values[-1] == pytest.approx(la.eigenvalues(expected).values[-1])
    assert found() == expected()
    assert model[0].sparse


def test_a_pruned_network_goes_towards_another_checkpoint_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "from torch.nn.utils import prune\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))\n"
        "    prune.l1_unstructured(model[0], 'weight', amount=0.5)\n"
        "    return model\n"
        "def data(): return torch.ones(4, 6), torch.tensor([0, 1, 2, 0])\n"
    )
    other = pruned()
    with torch.no_grad():
        other[2].weight.add_(1)
    torch.save(other.state_dict(), "b.pt")
    command = ["sample", "--model", "own.py:net", "--data", "own.py:data", "--towards", "b.pt", "--x", "0", "1", "3"]
    found = CliRunner().invoke(atlas, [*command, "--run", "run"])
    assert found.exit_code == 0, found.output
    expected = F.cross_entropy(other(torch.ones(4, 6)), torch.tensor([0, 1, 2, 0]))
    assert float(la.open("run")["loss"].sel(x=1)) == pytest.approx(expected.item(), rel=1e-5)
