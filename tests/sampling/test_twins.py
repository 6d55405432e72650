"""Do a network of Flax and its twin of PyTorch, with the same weights and directions, have the same surface?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la

jax = pytest.importorskip("jax")
flax = pytest.importorskip("flax")

from flax import linen, traverse_util  # noqa: E402
from jax import numpy as jnp  # noqa: E402

WIDTHS = (8, 16)
GRID = la.Grid(x=(-1, 1, 5), y=(-1, 1, 3))


class Block(nn.Module):
    def __init__(self, before, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.skip = nn.Conv2d(before, width, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x):
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(out + self.skip(x))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTHS[0], 3, padding=1, bias=False)
        self.block0 = Block(WIDTHS[0], WIDTHS[0], 1)
        self.block1 = Block(WIDTHS[0], WIDTHS[1], 2)
        self.head = nn.Linear(WIDTHS[1], 10)

    def forward(self, x):
        return self.head(self.block1(self.block0(self.stem(x))).mean((2, 3)))


class FlaxBlock(linen.Module):
    width: int
    stride: int

    @linen.compact
    def __call__(self, x):
        conv, around = lambda *a, **k: linen.Conv(*a, use_bias=False, **k), ((1, 1), (1, 1))
        norm = lambda name: linen.BatchNorm(use_running_average=True, name=name)
        out = conv(self.width, (3, 3), self.stride, padding=around, name="conv1")(x)
        out = conv(self.width, (3, 3), padding=around, name="conv2")(linen.relu(norm("norm1")(out)))
        skip = conv(self.width, (1, 1), self.stride, name="skip")(x) if self.stride > 1 else x
        return linen.relu(norm("norm2")(out) + skip)


class FlaxResNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.Conv(WIDTHS[0], (3, 3), padding=((1, 1), (1, 1)), use_bias=False, name="stem")(x)
        x = FlaxBlock(WIDTHS[0], 1, name="block0")(x)
        x = FlaxBlock(WIDTHS[1], 2, name="block1")(x)
        return linen.Dense(10, name="head")(x.mean((1, 2)))


RENAMED = {"running_mean": "mean", "running_var": "var", "bias": "bias"}


def to_flax(name, tensor):
    """The name and the numbers that a tensor of PyTorch's has in Flax."""
    path, _, last = name.rpartition(".")
    array = tensor.numpy()
    if last == "weight":
        last = "scale" if array.ndim == 1 else "kernel"
        array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
    return f"{path}.{RENAMED.get(last, last)}", array


def nested(tensors):
    return traverse_util.unflatten_dict(dict(to_flax(*item) for item in tensors.items()), sep=".")


@pytest.fixture(scope="module")
def twins():
    torch.manual_seed(0)
    model = ResNet()
    x, y = torch.randn(40, 1, 8, 8), torch.randint(10, (40,))
    model.train()(x)  # running statistics that are none of the beginning
    model.eval()
    with torch.no_grad():
        model.head.weight *= 8
    objective = la.Objective(model, (x, y), loss=F.cross_entropy)
    parameters = {"params": nested(dict(model.state_dict()) and {n: p.detach() for n, p in model.named_parameters()})}
    statistics = nested({n: b for n, b in model.named_buffers() if "running" in n})
    parameters = jax.tree.map(jnp.asarray, parameters)
    images, labels = jnp.asarray(x.numpy().transpose(0, 2, 3, 1)), jnp.asarray(y.numpy())

    def loss(p):
        outputs = FlaxResNet().apply({**p, "batch_stats": statistics}, images)
        return -jnp.take_along_axis(jax.nn.log_softmax(outputs), labels[:, None], 1).mean()

    return objective, loss, parameters


def test_the_parameters_are_those_that_flax_itself_would_make(twins):
    _, _, parameters = twins
    # What it would make, and not made: without a trace JAX compiles each operation of each layer for itself.
    fresh = jax.eval_shape(FlaxResNet().init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))["params"]
    shapes = [jax.tree.map(lambda leaf: leaf.shape, tree) for tree in (fresh, parameters["params"])]
    assert shapes[0] == shapes[1]


def test_by_filter_the_same_numbers_become_the_same_direction(twins):
    objective, loss, parameters = twins
    generator = torch.Generator().manual_seed(1)
    drawn = {name: torch.randn(t.shape, generator=generator) for name, t in objective.origin.items()}
    ours = la.normalize(drawn, objective)
    theirs = la.normalize({"params": nested(drawn)}, la.Function(loss, parameters))
    wanted = {f"params.{name}": array for name, array in (to_flax(*item) for item in ours.items())}
    assert set(theirs) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_allclose(theirs[name].numpy(), array, rtol=1e-6)


@pytest.mark.parametrize("calls", ["one", "vmap"])
def test_the_surfaces_of_the_twins_agree_to_1e_5(twins, calls):
    objective, loss, parameters = twins
    function = la.Function(jax.jit(loss) if calls == "one" else loss, parameters, calls=calls, at_once=5)
    plane = la.Plane.random(objective, seed=0)
    twin = la.Plane(function, {axis: {"params": nested(plane.directions[axis])} for axis in plane.axes})
    ours, theirs = la.sample(objective, plane, GRID), la.sample(function, twin, GRID)
    np.testing.assert_allclose(theirs["loss"], ours["loss"], rtol=1e-5)
    assert float(ours["loss"].std()) > 0.1
    assert twin.lengths == pytest.approx(plane.lengths)


def test_what_cannot_be_traced_says_what_to_do(twins):
    _, _, parameters = twins
    function = la.Function(lambda p: float(np.asarray(p["params"]["head"]["bias"]).sum()), parameters, calls="vmap")
    with pytest.raises(
        la.SpecError, match="calls='vmap': the centre has a value on its own, .* .TracerArrayConversionError"
    ):
        la.sample(function, la.Plane.random(function), GRID)


def test_double_precision_is_not_cut_in_silence():
    function = la.Function(lambda p: (p["kernel"] ** 2).sum(), {"kernel": np.ones((3, 2))}, calls="vmap")
    with pytest.raises(la.SpecError, match="calls='vmap': 'kernel' is in double precision"):
        la.sample(function, la.Plane.random(function), GRID)


def test_short_formats_are_rounded_once(twins):
    _, _, parameters = twins
    short = jax.tree.map(lambda a: a.astype(jnp.bfloat16), parameters)

    def total(p):
        return sum(jnp.sum(a.astype(jnp.float32) ** 2) for a in jax.tree.leaves(p))

    plane = la.Plane.random(la.Function(total, short), seed=0)
    one, vmap = (la.sample(la.Function(total, short, calls=calls), plane, GRID)["loss"] for calls in ("one", "vmap"))
    np.testing.assert_allclose(vmap, one, rtol=1e-6)
    assert plane.origin["params.stem.kernel"].dtype == torch.bfloat16


def test_pytrees_of_nnx_and_frozen_dictionaries_keep_their_class():
    nnx = pytest.importorskip("flax.nnx")
    graph, state = nnx.split(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
    x = jnp.ones((4, 3))
    function = la.Function(lambda s: jnp.mean(nnx.merge(graph, s)(x) ** 2), state)
    assert list(function.origin) == ["bias", "kernel"]
    assert la.sample(function, la.Plane.random(function), GRID)["loss"].shape == (5, 3)
    frozen = flax.core.freeze({"params": {"kernel": jnp.ones((3, 2))}})
    kept = la.Function(lambda p: isinstance(p, flax.core.FrozenDict) * jnp.sum(p["params"]["kernel"]), frozen)
    assert kept() == {"loss": 6.0}
    assert kept({"params": {"kernel": np.zeros((3, 2), np.float32)}}) == {"loss": 0.0}
