"""Are weights rounded to the grids that others round them to, and are packed ones read?"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.errors import SpecError
from lossatlas.space import filters
from lossatlas.space.quantised import Rounding, dequantised, rounded


def weights(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", [8, 6, 4, 3, 2])
def test_symmetric_rounding_is_that_of_torch(bits):
    w, most = weights(7, 24), 2 ** (bits - 1) - 1
    by_channel = torch.fake_quantize_per_channel_affine(
        w, w.abs().amax(dim=1) / most, torch.zeros(7, dtype=torch.int32), 0, -most, most
    )
    torch.testing.assert_close(Rounding(bits=bits).round(w), by_channel, rtol=0, atol=1e-6)
    whole = torch.fake_quantize_per_tensor_affine(w, float(w.abs().max()) / most, 0, -most, most)
    torch.testing.assert_close(Rounding(bits=bits, by="tensor").round(w), whole, rtol=0, atol=1e-6)
    groups = w.reshape(-1, 8)
    of_groups = torch.fake_quantize_per_channel_affine(
        groups, groups.abs().amax(dim=1) / most, torch.zeros(21, dtype=torch.int32), 0, -most, most
    )
    torch.testing.assert_close(
        Rounding(bits=bits, by="group", group=8).round(w), of_groups.reshape(7, 24), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("bits", [8, 4, 3])
def test_affine_rounding_is_that_of_torch(bits):
    w, levels = weights(5, 40) + 0.7, 2**bits - 1
    low, high = w.amin(dim=1).clamp(max=0), w.amax(dim=1).clamp(min=0)
    step = (high - low) / levels
    expected = torch.fake_quantize_per_channel_affine(w, step, (-low / step).round().int(), 0, 0, levels)
    torch.testing.assert_close(Rounding(bits=bits, symmetric=False).round(w), expected, rtol=0, atol=1e-6)


def test_a_grid_has_so_many_values_and_none_is_farther_than_half_a_step():
    w = 2 * torch.rand(3, 1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1
    for symmetric, count in ((True, 7), (False, 8)):
        found = Rounding(bits=3, symmetric=symmetric).round(w)
        for row, new in zip(w, found, strict=True):
            values = torch.unique(new)
            assert len(values) == count
            step = values.diff().max()
            assert float((row - new).abs().max()) <= float(step) * (0.5 if symmetric else 1.0) + 1e-12


def test_what_is_rounded_already_stays_and_zero_stays_zero():
    w = torch.cat([weights(4, 9), torch.zeros(1, 9)])
    for rounding in (Rounding(bits=4), Rounding(bits=3, by="tensor"), Rounding(bits=4, by="group", group=4)):
        once = rounding.round(w)
        torch.testing.assert_close(rounding.round(once), once, rtol=1e-6, atol=0)
        assert not once[-1].any()
        assert torch.isfinite(Rounding(bits=4, symmetric=False).round(w)).all()


def test_a_channel_is_what_a_layer_puts_out_also_of_a_transposed_convolution():
    model = nn.Sequential(nn.ConvTranspose2d(3, 2, 2), nn.Conv2d(2, 4, 2))
    for name, dim in (("0.weight", 1), ("1.weight", 0)):
        w = dict(model.named_parameters())[name].detach()
        new = Rounding(bits=3).round(w, filters.table(model)[name].layout)
        assert new.shape == w.shape
        for channel in range(w.shape[dim]):
            old, own = w.select(dim, channel), new.select(dim, channel)
            torch.testing.assert_close(own.abs().max(), old.abs().max())
            assert len(torch.unique((own / old.abs().max() * 3).round(decimals=3))) <= 7


def test_the_short_last_group_has_its_own_scale():
    w = torch.tensor([[4.0, 1.0, 1.0, 0.3, 0.1]])
    new = Rounding(bits=2, by="group", group=3).round(w)
    torch.testing.assert_close(new, torch.tensor([[4.0, 0.0, 0.0, 0.3, 0.0]]))


def test_matrices_are_rounded_and_all_else_stays():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    objective = la.Objective(model.eval(), (weights(2, 1, 4, 4), torch.tensor([0, 1])), F.cross_entropy)
    assert list(rounded(objective, Rounding())) == ["0.weight", "3.weight"]
    assert list(rounded(objective, Rounding(), only="3.*")) == ["3.weight"]
    assert list(rounded(objective, Rounding(), skip="3.*")) == ["0.weight"]
    with pytest.raises(SpecError, match="no weight is left to be rounded"):
        rounded(objective, Rounding(), skip="*weight")
    with pytest.raises(SpecError, match="matches none"):
        rounded(objective, Rounding(), only="head")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bits": 1}, "from 2 to 16"),
        ({"bits": 4.0}, "whole number"),
        ({"by": "row"}, "choose one of: channel, tensor, group"),
        ({"group": 0}, "expected a number of weights"),
    ],
)
def test_bad_options_say_what_is_good(options, words):
    with pytest.raises(SpecError, match=words):
        Rounding(**options)


class Packed(torch.Tensor):
    """A format of somebody's own: a tensor that knows how to be floating point."""

    @staticmethod
    def __new__(cls, values):
        return torch.Tensor._make_subclass(cls, values)

    def dequantize(self):
        return self.as_subclass(torch.Tensor) * 2


def test_packed_weights_are_read_and_unknown_ones_named():
    layer = nn.Linear(3, 2)
    layer.weight = nn.Parameter(Packed(torch.ones(2, 3)), requires_grad=False)
    assert dequantised(layer)["weight"].tolist() == [[2.0] * 3] * 2
    assert type(dequantised(layer)["weight"]) is torch.Tensor
    layer.weight = nn.Parameter(torch.ones(2, 3, dtype=torch.int8), requires_grad=False)
    with pytest.raises(SpecError, match=r"packed as torch\.int8 in a Linear"):
        dequantised(layer)


@pytest.mark.filterwarnings("ignore")
def test_torchs_own_dynamic_int8_is_read_and_a_plane_leads_through_it():
    if "qnnpack" not in torch.backends.quantized.supported_engines and torch.backends.quantized.engine == "none":
        pytest.skip("this build of torch has no integer kernels")
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    packed = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {nn.Linear}, dtype=torch.qint8)
    found = dequantised(packed)
    assert list(found) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    for name, tensor in model.named_parameters():
        assert float((found[name] - tensor).abs().max()) < 0.005
    objective = la.Objective(model, (weights(9, 6), torch.arange(9) % 2), F.cross_entropy)
    plane = la.Plane.towards(objective, found, names=("int8 weights, dequantised; activations stay",))
    landscape = la.sample(objective, plane, la.Grid(x=(0, 1, 3)))
    assert float(landscape["loss"].sel(x=1)) == pytest.approx(objective(found)["loss"], rel=1e-5)
    assert "activations stay" in landscape["x"].attrs["long_name"]


@pytest.mark.parametrize("config", ["Int8WeightOnlyConfig", "IntxWeightOnlyConfig", "Float8WeightOnlyConfig"])
@pytest.mark.filterwarnings("ignore")
def test_formats_of_torchao_are_read_as_its_layers_apply_them(config):
    """The layer itself says what its weights are: its outputs for the unit vectors."""
    quantization = pytest.importorskip("torchao.quantization")
    model = nn.Sequential(nn.Linear(64, 8, bias=False))
    packed = copy.deepcopy(model)
    quantization.quantize_(packed, getattr(quantization, config)())
    assert type(packed[0].weight) not in (torch.Tensor, nn.Parameter)
    found = dequantised(packed)["0.weight"]
    torch.testing.assert_close(found, packed(torch.eye(64)).detach().T, rtol=1e-4, atol=1e-6)
    share = 1 / 15 if "Float8" in config else 0.52 / 127  # three bits after the point; half a step
    largest = model[0].weight.detach().abs().amax(dim=1, keepdim=True)
    assert bool(((found - model[0].weight).abs() <= share * largest).all())
    torch.testing.assert_close(dequantised(packed.state_dict())["0.weight"], found, rtol=0, atol=0)
