"""Does any object with axes and at() serve as a chart: a decoder of parameters, a manifold of one's own?"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.draw import captions


def trained():
    """A small network, its data, and the weights at the steps of its training."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x = torch.randn(40, 2).double()
    y = x.prod(dim=1, keepdim=True)
    optimiser, seen = torch.optim.Adam(model.parameters(), 0.05), []
    for _ in range(60):
        seen.append(nn.utils.parameters_to_vector(model.parameters()).detach().clone())
        optimiser.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimiser.step()
    return model, (x, y), torch.stack(seen)


class Decoded:
    """A latent code as a chart: what a decoder makes of (u, v) are the weights of the network."""

    axes = ("u", "v")

    def __init__(self, decoder, like):
        self.decoder = decoder
        self.like = {name: tensor.detach() for name, tensor in like.named_parameters()}

    def at(self, coordinates):
        with torch.no_grad():
            code = torch.tensor([coordinates.get(axis, 0.0) for axis in self.axes], dtype=torch.float64)
            sizes = [tensor.numel() for tensor in self.like.values()]
            parts = torch.split(self.decoder(code), sizes)
            return {n: part.reshape(t.shape) for (n, t), part in zip(self.like.items(), parts, strict=True)}


def test_a_learned_decoder_of_parameters_is_a_chart(tmp_path):
    model, data, weights = trained()
    middle = weights.mean(dim=0)
    encoder = nn.Sequential(nn.Linear(weights.shape[1], 8), nn.Tanh(), nn.Linear(8, 2)).double()
    decoder = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, weights.shape[1])).double()
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 0.01)
    first = None
    for _ in range(200):
        optimiser.zero_grad()
        loss = F.mse_loss(decoder(encoder(weights - middle)) + middle, weights)
        first = first or loss.item()
        loss.backward()
        optimiser.step()
    assert loss.item() < first / 5
    objective = la.Objective(model, data, F.mse_loss)
    chart = Decoded(lambda code: decoder(code) + middle, model)
    grid = la.Grid(u=(-1, 1, 5), v=(-1, 1, 5))
    landscape = la.sample(objective, chart, grid, run=tmp_path / "run")
    for u, v in ((-1.0, 0.5), (0.0, 0.0), (1.0, 1.0)):
        assert float(landscape["loss"].sel(u=u, v=v)) == objective(chart.at({"u": u, "v": v}))["loss"]
    again = la.sample(objective, chart, grid, run=tmp_path / "run")
    assert np.array_equal(again["loss"].values, landscape["loss"].values)
    assert "Along a Decoded chart even a convex loss may rise and fall" in captions.caveat([landscape], "loss")
    figure = la.plot(landscape)
    assert "u (coordinate of a Decoded chart)" in [axes.get_xlabel() for axes in figure.axes]
    assert not any("length" in one.get_xlabel() for axes in figure.axes for one in axes.child_axes)


def test_a_linear_decoder_is_a_plane():
    model, data, weights = trained()
    basis = torch.linalg.svd(weights - weights[-1], full_matrices=False).Vh[:2]
    objective = la.Objective(model, data, F.mse_loss)
    home = nn.utils.parameters_to_vector(model.parameters()).detach()
    chart, grid = Decoded(lambda code: home + code @ basis, model), la.Grid(u=(-1, 1, 5), v=(-1, 1, 5))
    flat = Decoded(lambda code: code @ basis, model)
    plane = la.Plane(objective, {"u": flat.at({"u": 1.0}), "v": flat.at({"v": 1.0})})
    one, two = la.sample(objective, chart, grid), la.sample(objective, plane, grid)
    np.testing.assert_allclose(one["loss"].values, two["loss"].values, rtol=1e-12)
    np.testing.assert_allclose(one["u_length"].values, two["u_length"].values, rtol=1e-12)
