"""Have the paper's networks the names, the shapes and the order of parameters of the original code?

What is expected is written down here by rule from the original definitions, apart from how the zoo builds them.
"""

from __future__ import annotations

import pytest
import torch

import lossatlas as la

BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
NAMES = [
    "vgg9",
    "densenet121",
    "resnet18",
    "resnet18_noshort",
    "resnet34",
    "resnet34_noshort",
    "resnet50",
    "resnet50_noshort",
    "resnet101",
    "resnet101_noshort",
    "resnet152",
    "resnet152_noshort",
    "resnet20",
    "resnet20_noshort",
    "resnet32",
    "resnet32_noshort",
    "resnet44",
    "resnet44_noshort",
    "resnet50_16_noshort",
    "resnet56",
    "resnet56_noshort",
    "resnet110",
    "resnet110_noshort",
    "wrn56_2",
    "wrn56_2_noshort",
    "wrn56_4",
    "wrn56_4_noshort",
    "wrn56_8",
    "wrn56_8_noshort",
    "wrn110_2",
    "wrn110_2_noshort",
    "wrn110_4",
    "wrn110_4_noshort",
]
COUNTS = {
    "resnet20": 272_474, "resnet56": 855_770, "resnet56_noshort": 853_018, "resnet110": 1_730_714,
    "resnet18": 11_173_962, "resnet34": 21_282_122, "resnet50": 23_520_842, "resnet101": 42_512_970,
    "resnet152": 58_156_618, "densenet121": 6_956_298,
}  # fmt: skip


def made(name):
    with torch.device("meta"):
        return la.zoo.model(name)


def norm(prefix, width):
    return [(f"{prefix}.{part}", () if part.startswith("num") else (width,)) for part in BN]


def conv(name, outputs, inputs, size):
    return [(f"{name}.weight", (outputs, inputs, size, size))]


def residual(widths, blocks, *, short, expansion=0, start):
    """conv1, bn1, layer1.0.conv1 … linear: basic blocks for expansion=0, bottlenecks that widen by it otherwise."""
    entries = conv("conv1", start, 3, 3) + norm("bn1", start)
    inputs = start
    for stage, (width, count) in enumerate(zip(widths, blocks), 1):
        outputs = width * (expansion or 1)
        for index in range(count):
            block = f"layer{stage}.{index}"
            sizes = (1, 3, 1) if expansion else (3, 3)
            ends = (width, width, outputs) if expansion else (width, width)
            source = inputs
            for number, (size, end) in enumerate(zip(sizes, ends), 1):
                entries += conv(f"{block}.conv{number}", end, source, size) + norm(f"{block}.bn{number}", end)
                source = end
            if short and ((stage > 1 and index == 0) or inputs != outputs):
                entries += conv(f"{block}.shortcut.0", outputs, inputs, 1) + norm(f"{block}.shortcut.1", outputs)
            inputs = outputs
    return [*entries, ("linear.weight", (10, inputs)), ("linear.bias", (10,))]


def vgg9():
    entries, index, inputs = [], 0, 3
    for step in (64, 64, "M", 128, 128, "M", 256, 256, 256, "M"):
        if step == "M":
            index += 1
            continue
        entries += [*conv(f"features.{index}", step, inputs, 3), (f"features.{index}.bias", (step,))]
        entries += norm(f"features.{index + 1}", step)
        index, inputs = index + 3, step
    entries += [("fc.0.weight", (256, 256 * 4 * 4)), ("fc.0.bias", (256,)), *norm("fc.1", 256)]
    return [*entries, ("classifier.weight", (10, 256)), ("classifier.bias", (10,))]


def densenet121():
    growth, width = 32, 64
    entries = conv("conv1", width, 3, 3)
    for stage, count in enumerate((6, 12, 24, 16), 1):
        for index in range(count):
            layer = f"dense{stage}.{index}"
            entries += norm(f"{layer}.bn1", width) + conv(f"{layer}.conv1", 128, width, 1)
            entries += norm(f"{layer}.bn2", 128) + conv(f"{layer}.conv2", growth, 128, 3)
            width += growth
        if stage < 4:
            entries += norm(f"trans{stage}.bn", width) + conv(f"trans{stage}.conv", width // 2, width, 1)
            width //= 2
    return [*entries, *norm("bn", width), ("linear.weight", (10, width)), ("linear.bias", (10,))]


def expected(name):
    if name == "vgg9":
        return vgg9()
    if name == "densenet121":
        return densenet121()
    base, short = name.removesuffix("_noshort"), not name.endswith("_noshort")
    stages = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3),
              "resnet152": (3, 8, 36, 3)}  # fmt: skip
    if base in stages:
        deep = base not in ("resnet18", "resnet34")
        return residual((64, 128, 256, 512), stages[base], short=short, expansion=4 * deep, start=64)
    depth, _, times = base.removeprefix("resnet").removeprefix("wrn").partition("_")
    thin = 16 * int(times) if base.startswith("wrn") else 16
    blocks = ((int(depth) - 2) // 6,) * 3
    return residual((thin, 2 * thin, 4 * thin), blocks, short=short, start=thin)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_of_the_original_code_loads_strictly_by_name_shape_and_order(name):
    """Order too: the original direction files are lists of tensors without names."""
    found = [(key, tuple(tensor.shape)) for key, tensor in made(name).state_dict().items()]
    assert found == expected(name)


@pytest.mark.parametrize("name", COUNTS)
def test_number_of_parameters(name):
    assert sum(p.numel() for p in made(name).parameters()) == COUNTS[name]


@pytest.mark.parametrize("name", ["resnet18", "resnet50_noshort", "vgg9", "densenet121"])
def test_the_pooling_is_the_original_one_at_32_pixels(name):
    """Each network gives ten scores for a small image, and what it pools globally is 4 by 4 pixels there."""
    model = la.zoo.model(
        name, seed=0, **({} if name == "vgg9" else {"growth": 8} if name == "densenet121" else {"width": 8})
    )
    shapes = {}
    last = {"vgg9": "features", "densenet121": "dense4"}.get(name, "layer4")
    model.get_submodule(last).register_forward_hook(lambda m, i, o: shapes.update(last=tuple(o.shape[2:])))
    assert model.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert shapes["last"] == (4, 4)


def test_a_bottleneck_without_a_shortcut_ends_in_its_batchnorm():
    block = la.zoo.model("resnet50_noshort", seed=0, width=4).layer1[0].eval()
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert bool((block(x) < 0).any())
    assert not bool((la.zoo.model("resnet50", seed=0, width=4).layer1[0].eval()(x) < 0).any())


def test_removing_the_shortcuts_leaves_the_same_network_but_for_them():
    """resnet18 and resnet18_noshort with equal weights differ by the shortcut alone: zero it and they agree."""
    with_short, without = (la.zoo.model(name, seed=0, width=4).eval() for name in ("resnet18", "resnet18_noshort"))
    without.load_state_dict({k: v for k, v in with_short.state_dict().items() if "shortcut" not in k})
    x = torch.randn(2, 3, 16, 16)
    for block in (b for stage in range(1, 5) for b in with_short.get_submodule(f"layer{stage}")):
        block.shortcut = Zero()
    torch.testing.assert_close(with_short(x), without(x))


class Zero(torch.nn.Module):
    def forward(self, x):
        return torch.zeros(())
