"""Do networks that compute the same function get the same picture in canonical form, and different ones before it?"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import SpecError
from lossatlas.objective.private import weights_fingerprint
from lossatlas.space.canonical import canonical, caveats, chains

POINTS = [(0.0, 0.0), (0.4, -0.3), (-1.0, 0.7), (0.9, 0.9)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(model, data):
    objective = la.Objective(model, data, loss=F.cross_entropy)
    plane = la.Plane.random(objective, seed=5)
    return torch.tensor([objective(plane.at({"x": x, "y": y}))["loss"] for x, y in POINTS], dtype=torch.float64)


def images(size=8, channels=1, count=10):
    return torch.randn(count, channels, size, size, generator=generator()).double(), torch.arange(count) % 10


def perturbed(model, seed=0):
    with torch.no_grad():
        for index, p in enumerate(model.parameters()):
            p.add_(0.1 * torch.randn(p.shape, generator=generator(seed + index), dtype=p.dtype))
        for name, b in model.named_buffers():
            if "running" in name:
                low = 0.5 if "var" in name else -0.2
                b.uniform_(low, low + 0.4, generator=generator(len(name)))
    return model


def factors(count, seed=0):
    return torch.empty(count, dtype=torch.float64).uniform_(0.2, 5.0, generator=generator(seed))


def rescale(first, second, scale, repeats=1):
    """Each unit times its factor on the way in, divided by it on the way out."""
    with torch.no_grad():
        first.weight.mul_(scale.reshape(-1, *[1] * (first.weight.dim() - 1)))
        first.bias.mul_(scale)
        out = scale.repeat_interleave(repeats)
        second.weight.div_(out.reshape(1, -1, *[1] * (second.weight.dim() - 2)))


def relu_mlp():
    model = perturbed(la.zoo.model("mlp", widths=(64, 12, 9, 10), seed=0).double())
    changed = copy.deepcopy(model)
    rescale(changed.layers[0], changed.layers[2], factors(12))
    rescale(changed.layers[2], changed.layers[4], factors(9, 1))
    return model, changed, images()


def convolutions():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 2),
        nn.LeakyReLU(),
        nn.Flatten(),
        nn.Linear(20, 10),
    ).double()
    changed = copy.deepcopy(model)
    rescale(changed[0], changed[3], factors(6))
    rescale(changed[3], changed[6], factors(5, 1), repeats=4)
    return model, changed, images()


def batchnorm():
    """The scale of a unit split otherwise between a filter, its norm, and what reads it."""
    model = perturbed(la.zoo.model("resnet", depth=8, width=4, channels=1, seed=0).double().eval())
    changed = copy.deepcopy(model)
    for stage in (changed.layer1, changed.layer2, changed.layer3):
        block = stage[0]
        inner, outer = factors(len(block.conv1.weight), 1), factors(len(block.conv1.weight), 2)
        with torch.no_grad():
            block.conv1.weight.mul_(inner[:, None, None, None])
            block.bn1.running_mean.mul_(inner)
            block.bn1.running_var.copy_((block.bn1.running_var + block.bn1.eps) * inner**2 - block.bn1.eps)
            block.bn1.weight.mul_(outer)
            block.bn1.bias.mul_(outer)
            block.conv2.weight.div_(outer[None, :, None, None])
    return model, changed, images()


def vgg():
    model = perturbed(la.zoo.model("vgg9", groups=((4, 4), (6,)), size=8, channels=1, seed=0).double().eval())
    changed = copy.deepcopy(model)
    scale = factors(6)
    with torch.no_grad():  # the last BatchNorm before pooling, flattening and a linear layer
        changed.features[8].weight.mul_(scale)
        changed.features[8].bias.mul_(scale)
        changed.fc[0].weight.div_(scale.repeat_interleave(4))
    return model, changed, images()


def gains(name="vit", **options):
    model = perturbed(la.zoo.model(name, seed=0, **options).double().eval())
    changed = copy.deepcopy(model)
    for layer in changed.layers:
        for norm, readers in ((layer.norm1, [layer.attention.qkv]), (layer.norm2, [layer.mlp[0]])):
            scale = factors(32)
            with torch.no_grad():
                norm.weight.mul_(scale)
                norm.bias.mul_(scale)
                for reader in readers:
                    reader.weight.div_(scale)
    return model, changed, images()


def weight_norm():
    torch.manual_seed(0)
    make = nn.utils.parametrizations.weight_norm
    model = nn.Sequential(nn.Flatten(), make(nn.Linear(64, 7)), nn.ReLU(), make(nn.Linear(7, 10))).double()
    changed = copy.deepcopy(model)
    scale = factors(7)
    with torch.no_grad():
        for kind in (changed[1].parametrizations.weight.original0, changed[1].bias[:, None]):
            kind.mul_(scale[:, None])
        weight = changed[3].weight / scale
    changed[3].weight = weight
    return model, changed, images()


CASES = {f.__name__: f for f in (relu_mlp, convolutions, batchnorm, vgg, gains, weight_norm)}


@pytest.mark.parametrize("case", CASES)
def test_the_canonical_form_removes_the_difference_between_equal_functions(case):
    model, changed, data = CASES[case]()
    before = weights_fingerprint(model)
    plain = picture(model, data), picture(changed, data)
    assert plain[0][0] == pytest.approx(float(plain[1][0]), rel=1e-9), "the two do not compute the same"
    assert not torch.allclose(*plain, rtol=1e-3), "the pictures agree without the canonical form"
    forms = [canonical(m, data[:1]) for m in (model, changed)]
    settled = [picture(form.model, data) for form in forms]
    assert settled[0][0] == pytest.approx(float(plain[0][0]), rel=1e-9)
    torch.testing.assert_close(*settled, rtol=1e-7, atol=1e-9)
    weights = [dict(form.model.named_parameters()) for form in forms]
    for name, tensor in weights[0].items():
        if "norm" not in name:
            torch.testing.assert_close(tensor, weights[1][name], rtol=1e-6, atol=1e-8)
    assert weights_fingerprint(model) == before, "the user's model was changed"


class TorchAttention(nn.Module):
    """Rows of an image attend to each other through torch's own layer, whose queries, keys and values are one tensor."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 10)

    def forward(self, x):
        rows = x.flatten(1, 2)
        return self.last(self.attention(rows, rows, rows)[0].mean(1))


def test_torchs_own_attention_is_settled_head_by_head():
    torch.manual_seed(0)
    model = perturbed(TorchAttention().double())
    changed = copy.deepcopy(model)
    with torch.no_grad():
        attention = changed.attention
        for head in range(2):
            turn, other = (torch.randn(4, 4, generator=generator(head + i)).double() for i in (0, 7))
            for part, matrix in enumerate((turn, torch.linalg.inv(turn).T, other)):
                rows = slice(8 * part + 4 * head, 8 * part + 4 * head + 4)
                attention.in_proj_weight[rows] = matrix @ attention.in_proj_weight[rows]
                attention.in_proj_bias[rows] = matrix @ attention.in_proj_bias[rows]
            columns = slice(4 * head, 4 * head + 4)
            attention.out_proj.weight[:, columns] = attention.out_proj.weight[:, columns] @ torch.linalg.inv(other)
    data = images()
    plain = picture(model, data), picture(changed, data)
    assert plain[0][0] == pytest.approx(float(plain[1][0]), rel=1e-9)
    assert not torch.allclose(*plain, rtol=1e-4)
    forms = [canonical(m, data[:1]) for m in (model, changed)]
    assert forms[0].steps == ("1 attention layers put into form head by head",)
    torch.testing.assert_close(*(picture(form.model, data) for form in forms), rtol=1e-6, atol=1e-8)


def test_what_is_balanced_has_equally_long_weights_into_and_out_of_each_unit():
    """The closed form: at the fixed point of both layers around it, whatever the start."""
    form = canonical(relu_mlp()[0])
    first, second, third = (form.model.layers[i].weight for i in (0, 2, 4))
    torch.testing.assert_close(first.norm(dim=1), second.norm(dim=0), rtol=1e-9, atol=0)
    torch.testing.assert_close(second.norm(dim=1), third.norm(dim=0), rtol=1e-9, atol=0)


def test_balancing_finds_the_least_norm_of_all_rescalings():
    """Against a minimiser of torch over the logarithms of the scales."""
    model = relu_mlp()[0]
    weights = [model.layers[i].weight.detach() for i in (0, 2, 4)]
    logs = [torch.zeros(n, dtype=torch.float64, requires_grad=True) for n in (12, 9)]
    optimizer = torch.optim.LBFGS(
        logs, max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def total():
        a, b = (log.exp() for log in logs)
        moved = weights[0] * a[:, None], weights[1] * b[:, None] / a, weights[2] / b
        return sum(w.square().sum() for w in moved)

    def closure():
        optimizer.zero_grad()
        value = total()
        value.backward()
        return value

    optimizer.step(closure)
    form = canonical(model)
    ours = sum(float(form.model.layers[i].weight.detach().square().sum()) for i in (0, 2, 4))
    assert ours == pytest.approx(float(total().detach()), rel=1e-9)


def test_a_dead_unit_stays():
    model, *_ = relu_mlp()
    with torch.no_grad():
        model.layers[2].weight[:, 3] = 0
    form = canonical(model)
    torch.testing.assert_close(form.model.layers[0].weight[3], model.layers[0].weight[3])
    assert all(bool(torch.isfinite(p).all()) for p in form.model.parameters())


def test_folding_keeps_the_scores_in_single_precision():
    model = perturbed(la.zoo.model("resnet", depth=8, width=4, channels=1, seed=0)).eval()
    x = torch.randn(4, 1, 8, 8, generator=generator())
    form = canonical(model, (x,))
    torch.testing.assert_close(form.model(x), model(x), rtol=1e-4, atol=1e-5)
    assert not [m for m in form.model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert form.folded
    assert form.lines[0] == "canonical form: 9 BatchNorm layers folded into the layers before them"
    assert form.lines[-1].startswith("left as it is: sums (shortcuts)")


class Shared(nn.Module):
    """One layer used twice: rescaling it for one use would change the other."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x):
        return self.layer(F.relu(self.layer(x)))


class Peeks(nn.Module):
    """Reads the weight of a layer beside calling it."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.second(F.relu(self.first(x))) + self.first.weight.sum()


class Branches(nn.Module):
    """What a layer gives is read twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        inner = F.relu(self.first(x))
        return self.second(inner) * inner


class Flattened(nn.Module):
    """Units of a linear layer along the last dimension are not those of the flattened one, in this order."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 3), nn.Linear(6, 6)

    def forward(self, x):
        return self.second(torch.flatten(F.relu(self.first(torch.stack([x, x], 1))), 1))


@pytest.mark.parametrize("kind", [Shared, Peeks, Branches, Flattened])
def test_layers_that_may_not_be_rescaled_are_left(kind):
    assert chains.read(kind()).pairs == ()
    with pytest.raises(SpecError, match="has no canonical form here"):
        canonical(kind())


def test_a_model_without_a_form_is_refused_with_the_reason():
    smooth = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    with pytest.raises(SpecError, match="Sequential has no canonical form here: no two layers are joined only by ReLU"):
        canonical(smooth)
    with pytest.raises(
        SpecError, match="no canonical form here: torch.fx cannot read the forward of RecurrentClassifier"
    ):
        canonical(la.zoo.model("lstm"))


def test_a_wrong_rescaling_would_be_noticed(monkeypatch):
    """The check at the end, seen to fail on a planted fault."""
    model, _, data = relu_mlp()
    monkeypatch.setattr(chains, "balance", lambda form, pairs: form.layers[0].weight.data.mul_(2))
    with pytest.raises(SpecError, match="the rescaled model does not compute the same"):
        canonical(model, data[:1])


def test_what_is_not_fixed_is_said_where_it_applies():
    said = {name: " ".join(caveats(la.zoo.model(name))) for name in ("mlp", "vit", "lstm", "decoder", "resnet20")}
    assert "2 pairs of layers are joined only by ReLU" in said["mlp"]
    assert "matrix on the queries" in said["vit"]
    assert "4 norms pass their gain" in said["vit"]
    assert "4 norms pass their gain" in said["decoder"]
    assert "9 pairs of layers" in said["resnet20"]
    assert "not known" in said["lstm"]
    assert "torch.fx cannot read the forward of RecurrentClassifier" in said["lstm"]
    assert caveats(nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))) == ()
