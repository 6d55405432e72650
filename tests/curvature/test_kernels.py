"""Are the derivatives that stand in for torch's own the same, for all that a convolution can be told?"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import weakref

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

import lossatlas as la
from lossatlas.curvature import products as curvature
from lossatlas.curvature.kernels import Quick
from lossatlas.curvature.kinks import operations
from lossatlas.curvature.products import Matrix

CONVOLUTIONS = [
    (F.conv1d, (2, 4, 9), (6, 2, 3), {"stride": 2, "padding": 1, "groups": 2}),
    (F.conv2d, (2, 3, 5, 6), (4, 3, 3, 3), {"padding": 1}),
    (F.conv2d, (2, 3, 7, 6), (4, 3, 3, 2), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}),
    (F.conv2d, (2, 4, 5, 5), (4, 1, 3, 3), {"groups": 4}),
    (F.conv2d, (2, 3, 4, 4), (5, 3, 1, 1), {"stride": 2}),
    (F.conv2d, (2, 4, 5, 4), (6, 2, 1, 1), {"stride": (2, 3), "groups": 2}),
    (F.conv2d, (2, 3, 4, 4), (5, 3, 1, 1), {"stride": 2, "padding": 1}),
    (F.conv3d, (1, 2, 3, 4, 3), (3, 2, 2, 2, 2), {"padding": 1}),
    (F.conv3d, (1, 2, 3, 4, 3), (3, 2, 1, 1, 1), {"stride": (1, 2, 3)}),
]


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("function", "shape", "kernel", "options"), CONVOLUTIONS)
def test_a_convolution_has_the_derivatives_of_torch_and_of_differences(function, shape, kernel, options, with_bias):
    torch.manual_seed(0)
    tensors = [torch.randn(shape), torch.randn(kernel), torch.randn(kernel[0])][: 3 if with_bias else 2]
    tensors = [tensor.double().requires_grad_() for tensor in tensors]

    def quick(*tensors):
        with Quick():
            return function(*tensors, **options)

    plain = function(*tensors, **options)
    assert torch.equal(quick(*tensors), plain)
    assert gradcheck(quick, tensors)
    assert gradgradcheck(quick, tensors)
    along = [torch.randn_like(tensor) for tensor in tensors]
    ours, theirs = (
        torch.autograd.grad(
            torch.autograd.grad(made.square().sum(), tensors, create_graph=True), tensors, along, materialize_grads=True
        )
        for made in (quick(*tensors), plain)
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 2, 2)])
def test_weights_that_are_normalised_have_the_second_derivatives_of_their_definition(shape, dim):
    """Torch's own, of its fused kernel, are wrong on a CPU."""
    torch.manual_seed(0)
    v = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    g = torch.rand_like(torch.norm_except_dim(v, 2, dim)).add(0.5).detach().requires_grad_()

    def quick(v, g):
        with Quick():
            return torch._weight_norm(v, g, dim)

    torch.testing.assert_close(quick(v, g), torch._weight_norm(v, g, dim))
    assert gradgradcheck(quick, (v, g))


@pytest.mark.parametrize("make", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_products_and_differences_agree_for_a_network_whose_weights_are_normalised(make):
    torch.manual_seed(0)
    net = nn.Sequential(make(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)).double()
    data = torch.randn(20, 4).double(), torch.randint(0, 3, (20,))
    objective = la.Objective(net, data, F.cross_entropy)
    matrix, other = Matrix(objective), Matrix(objective, how="differences")
    vector = torch.randn(matrix.size).double()
    torch.testing.assert_close(matrix @ vector, other @ vector, rtol=1e-7, atol=1e-7)


def test_gradients_that_torch_scales_by_frequency_are_those_of_the_loss():
    data = torch.randint(0, 3, (20, 4)), torch.randint(0, 3, (20,))
    found = []
    for scaled in (False, True):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Embedding(3, 2, scale_grad_by_freq=scaled), nn.Flatten(), nn.Linear(8, 3)).double()
        found.append(Matrix(la.Objective(net, data, F.cross_entropy)).gradient())
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_a_frozen_batchnorm_becomes_part_of_the_convolution_before_it():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()).double()
    layers(torch.randn(9, 3, 5, 5).double())
    layers.eval()
    x = torch.randn(2, 3, 5, 5).double()
    with Quick():
        found = layers(x)
    assert operations([found]) & {"NativeBatchNormBackward0", "MulBackward0"} == {"MulBackward0"}  # of the weights
    torch.testing.assert_close(found, layers(x))


class Awkward(nn.Module):
    """All that may stand between a convolution and its BatchNorm, and a BatchNorm behind none."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.conv, self.norm, self.head = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.first = nn.BatchNorm2d(1, affine=False)
        self.flat = nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(self.first(x))
        if self.way == "in place":
            y.relu_()
        elif self.way == "twice":
            y = self.norm(y) + y.tanh()
        elif self.way == "words":
            y = F.conv2d(y, self.conv.weight.expand(4, 4, 3, 3), padding="same")
        return self.head(torch.relu(self.flat(torch.tanh(self.norm(y)).mean((2, 3)))))


@pytest.mark.parametrize("way", ["plain", "in place", "twice", "words"])
@pytest.mark.parametrize("kind", ["hessian", "ggn"])
@pytest.mark.parametrize("batchnorm", ["frozen", "interpolated"])
def test_products_are_the_same_whatever_stands_behind_a_convolution(monkeypatch, way, kind, batchnorm):
    torch.manual_seed(0)
    net = Awkward(way).double()
    net(torch.randn(30, 1, 6, 6).double())
    data = torch.randn(12, 1, 6, 6).double(), torch.randint(0, 3, (12,))
    objective = la.Objective(net.eval(), data, F.cross_entropy, batch_size=5, batchnorm=batchnorm)
    quick = Matrix(objective, kind=kind)
    vector = torch.randn(quick.size, generator=torch.Generator().manual_seed(0)).double()
    ours = quick @ vector
    monkeypatch.setattr(curvature, "Quick", contextlib.nullcontext)
    torch.testing.assert_close(ours, Matrix(objective, kind=kind) @ vector, rtol=1e-9, atol=1e-12)


def test_frozen_layers_and_batchnorm_that_measures_its_batch_are_left_alone(monkeypatch):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(8, 3)
    )
    net[0].requires_grad_(False)
    data = torch.randn(6, 1, 6, 6).double(), torch.randint(0, 3, (6,))
    for training in (False, True):
        objective = la.Objective(net.double(), data, F.cross_entropy, training=training, autograd=True)
        matrix = Matrix(objective)
        vector = torch.randn(matrix.size, generator=torch.Generator().manual_seed(0)).double()
        ours = matrix @ vector
        with monkeypatch.context() as plain:
            plain.setattr(curvature, "Quick", contextlib.nullcontext)
            torch.testing.assert_close(ours, Matrix(objective) @ vector, rtol=1e-9, atol=1e-12)


def test_short_formats_autocast_and_transforms_are_left_to_torch():
    x, weight = torch.ones(1, 2, 4, 4), torch.ones(3, 2, 3, 3, requires_grad=True)
    with Quick():
        assert F.conv2d(x.bfloat16(), weight.bfloat16()).grad_fn.name() == "ConvolutionBackward0"
        with torch.autocast("cpu", torch.bfloat16):
            assert F.conv2d(x, weight).dtype == torch.bfloat16
        batched = torch.func.vmap(lambda one: F.relu(F.conv2d(one[None], weight))[0])(x)
    torch.testing.assert_close(batched, F.relu(F.conv2d(x, weight)))


@pytest.mark.shared
def test_products_of_the_authors_network_are_the_same_to_rounding(shared_data, monkeypatch):
    model = la.zoo.model("resnet56")
    la.load_checkpoint(model, shared_data / "li2018_resnet56.pt")
    x, y = la.zoo.data("npz", path=shared_data / "cifar10_train500.npz")
    objective = la.Objective(model, (x[:20], y[:20]), F.cross_entropy, batch_size=12)
    there = la.Plane.random(objective, seed=0).at({"x": 0.25, "y": 0.25})
    quick = Matrix(objective, there)
    vector = torch.randn(quick.size, generator=torch.Generator().manual_seed(0)).double()
    first, second = quick @ vector, quick @ vector
    assert torch.equal(first, second)
    monkeypatch.setattr(curvature, "Quick", contextlib.nullcontext)
    plain = Matrix(objective, there) @ vector
    assert float((first - plain).norm() / plain.norm()) < 1e-5


STRIDING = """
import torch, lossatlas as la
from lossatlas.curvature.products import Matrix
from torch import nn
torch.manual_seed(0)
torch.set_num_threads({threads})
for channels in (1, 2, 3, 4, 7, 8, 15):
    x, y = torch.randn(20, 3, 16, 16), torch.randn(20, 512)
    model = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 8, 1, stride=2), nn.Flatten())
    vector = torch.randn(sum(p.numel() for p in model.parameters()), dtype=torch.float64)
    found = [Matrix(la.Objective(model, (x, y), nn.functional.mse_loss)) @ vector.float() for _ in range(5)]
    truth = Matrix(la.Objective(model.double(), (x.double(), y.double()), nn.functional.mse_loss)) @ vector
    for ours in found:
        torch.testing.assert_close(ours.double(), truth, rtol=1e-4, atol=1e-4)
print("all right")
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_few_channels_are_strided_over_on_a_processor_of_256_bits(threads):
    # oneDNN asks the processor once, as it starts: what is found is bounded in a process of its own, which may crash.
    told = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    ran = subprocess.run(
        [sys.executable, "-c", STRIDING.format(threads=threads)], env=told, capture_output=True, text=True, timeout=120
    )
    assert ran.stdout.endswith("all right\n"), (ran.returncode, ran.stderr[-2000:])


def test_derivatives_that_are_kept_are_let_go_at_the_next_point():
    """Hooks that hand out a tensor itself make a graph that holds itself: no collector finds it."""
    alive: list[weakref.ref] = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            found = x.clone()
            ctx.save_for_backward(found)
            return found

        @staticmethod
        def backward(ctx, slope):
            alive.append(weakref.ref(ctx))
            return slope * ctx.saved_tensors[0] / ctx.saved_tensors[0].detach()

    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    data = torch.randn(6, 3), torch.randint(0, 2, (6,))
    objective = la.Objective(layers, data, lambda f, y: F.cross_entropy(Watched.apply(f), y))
    matrix = Matrix(objective)
    for _ in range(3):
        matrix @ torch.ones(matrix.size, dtype=torch.float64)
        matrix.move({})
    gc.collect()
    assert alive
    assert not [one for one in alive if one() is not None]
