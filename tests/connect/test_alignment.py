"""Are the units that can be permuted found, and does alignment recover a permuted copy exactly?"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.connect.alignment import _permuted
from lossatlas.connect.barriers import barrier
from lossatlas.connect.channels import Channels


def scrambled(model: nn.Module, seed: int = 0) -> tuple[nn.Module, dict[str, np.ndarray]]:
    """A copy whose units are permuted at random, group by group."""
    rng = np.random.default_rng(seed)
    groups = Channels(model).groups
    permutations = {name: rng.permutation(group.size) for name, group in groups.items()}
    twin = copy.deepcopy(model)
    state = {n: _permuted(t, n, groups, permutations) for n, t in model.state_dict().items()}
    twin.load_state_dict(state)
    return twin, permutations


def awake(model: nn.Module) -> nn.Module:
    """Norms with weights and statistics of their own, so that leaving one out would show."""
    generator = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)):
            for name in ("weight", "bias", "running_mean", "running_var"):
                if getattr(module, name, None) is not None:
                    getattr(module, name).data.copy_(torch.rand(module.weight.shape, generator=generator) + 0.5)
    return model.eval()


class Flattened(nn.Module):
    """A picture of 3 × 3 places goes into a linear layer: nine entries for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.deep = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.pool = nn.MaxPool2d(2)
        self.norm = nn.BatchNorm2d(6)
        self.fc1 = nn.Linear(6 * 9, 8)
        self.fc2 = nn.Linear(8, 4)

    def forward(self, x):
        x = self.pool(F.relu(self.norm(self.deep(self.conv(x)))))
        return self.fc2(torch.tanh(self.fc1(x.view(x.size(0), -1))))


class Stream(nn.Module):
    """A residual stream of vectors, with a norm over it and a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(5, 7)
        self.norm = nn.LayerNorm(7)
        self.up, self.gate, self.down = nn.Linear(7, 9), nn.Linear(7, 9), nn.Linear(9, 7)
        self.head = nn.Linear(7, 3)

    def forward(self, x):
        x = self.stem(x)
        h = self.norm(x)
        x = x + self.down(F.silu(self.gate(h)) * self.up(h))
        return self.head(x)


class Reused(nn.Module):
    """One layer used twice: rows and columns are the same units."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice, self.head = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        x = torch.tanh(self.stem(x))
        return self.head(torch.tanh(self.twice(torch.tanh(self.twice(x)))))


CASES = {
    "mlp": (lambda: la.zoo.model("mlp", seed=0, widths=(5, 12, 9, 3), norm=True), (5,), [12, 9]),
    "flattened": (Flattened, (1, 6, 6), [6, 8]),
    "stream": (Stream, (5,), [7, 9]),
    "reused": (Reused, (5,), [6]),
    "resnet": (lambda: la.zoo.model("resnet", depth=14, width=4, channels=1, seed=0), (1, 8, 8), None),
    "plain resnet": (
        lambda: la.zoo.model("resnet", depth=14, width=4, channels=1, skip=False, seed=0),
        (1, 8, 8),
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_permuting_a_group_changes_no_output_and_alignment_finds_the_way_back(case):
    torch.manual_seed(0)
    make, shape, sizes = CASES[case]
    model = awake(make())
    groups = Channels(model).groups
    if sizes is not None:
        assert [group.size for group in groups.values()] == sizes
    other, permutations = scrambled(model)
    assert all((p != np.arange(len(p))).any() for p in permutations.values())
    x = torch.randn(4, *shape)
    with torch.no_grad():
        torch.testing.assert_close(other(x), model(x), rtol=1e-4, atol=1e-5)
    found = la.align(model, other, check=(x, torch.zeros(4)))
    assert found.after == 0
    assert found.before > 0
    assert found.checked < 1e-12
    for name, tensor in model.state_dict().items():
        assert torch.equal(found[name], tensor)
    for name, permutation in permutations.items():
        np.testing.assert_array_equal(permutation[found.permutations[name]], np.arange(len(permutation)))


def test_the_residual_stream_of_a_resnet_is_one_group():
    groups = Channels(la.zoo.model("resnet", depth=14, width=4, channels=1)).groups
    assert sorted(group.size for group in groups.values()) == [4, 4, 4, 8, 8, 8, 16, 16, 16]
    stream = {axis.tensor for axis in groups["conv1.weight"].axes}
    assert {"layer1.0.conv2.weight", "layer1.1.bn2.running_mean", "layer2.0.shortcut.0.weight"} <= stream
    plain = Channels(la.zoo.model("resnet", depth=14, width=4, channels=1, skip=False)).groups
    assert len(plain) == 13


def test_a_permuted_copy_has_a_barrier_before_alignment_and_none_after():
    torch.manual_seed(0)
    x, y = torch.randn(200, 6), torch.randint(3, (200,))
    model = la.zoo.model("mlp", seed=1, widths=(6, 32, 32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    other, _ = scrambled(model)
    objective = la.Objective(model, (x, y), F.cross_entropy)
    found = la.align(objective, other)
    before, _ = barrier(objective, model, other)
    assert before.height > 0.5
    assert objective({name: found[name] for name in objective.origin}) == objective()
    assert barrier(objective, model, found)[0].height == 0  # the aligned copy is the network itself
    with pytest.raises(la.SpecError, match="there is no line between them, and no barrier"):
        la.interpolate(objective, model, found)
    near = {name: tensor + 1e-4 * torch.sign(tensor) for name, tensor in other.state_dict().items()}
    aligned = la.align(objective, near)
    after, _ = barrier(objective, model, aligned)
    assert after.height < 1e-4
    assert "units in 2 groups permuted" in aligned.words
    assert "outputs differ by" in aligned.words


def test_alignment_brings_networks_nearer_and_never_farther():
    a, b = (la.zoo.model("mlp", seed=seed, widths=(8, 20, 20, 4)) for seed in (0, 1))
    found = la.align(a, b)
    assert found.after < found.before
    again = la.align(a, found.tensors)
    assert again.after == pytest.approx(found.after, rel=1e-12)
    assert found.before == pytest.approx(la.Plane.towards(a, b, axes=("x",)).lengths["x"], rel=1e-6)


def test_weight_matching_is_the_best_of_all_permutations_of_a_small_layer():
    import itertools

    torch.manual_seed(3)
    a, b = (nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)) for _ in range(2))
    found = la.align(a, b)

    def distance(order) -> float:
        index = torch.tensor(order)
        moved = [b[0].weight[index], b[0].bias[index], b[2].weight[:, index], b[2].bias]
        return float(sum((p - q).square().sum() for p, q in zip(a.parameters(), moved)).detach() ** 0.5)

    assert found.after == pytest.approx(min(map(distance, itertools.permutations(range(5)))), rel=1e-6)


def hugging_face(name: str):
    transformers = pytest.importorskip("transformers")
    small = dict(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    torch.manual_seed(0)
    if name == "gpt2":
        return transformers.GPT2LMHeadModel(
            transformers.GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_inner=24)
        )
    if name == "llama":
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**small))
    if name == "bert":
        return transformers.BertForMaskedLM(transformers.BertConfig(**small, max_position_embeddings=32))
    config = transformers.T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2)
    return transformers.T5EncoderModel(config)


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "t5"])
def test_the_mlps_of_transformers_are_found_and_aligned(name):
    model = hugging_face(name).eval()
    groups = Channels(model).groups
    assert [group.size for group in groups.values()] == [24, 24]
    other, permutations = scrambled(model)
    found = la.align(model, other, check={"input_ids": torch.randint(40, (2, 7))})
    assert found.after == 0
    assert found.checked < 1e-10
    assert all((p != np.arange(24)).any() for p in permutations.values())


def test_the_layers_of_torchs_own_transformer_are_found():
    layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=12, batch_first=True)
    model = nn.Sequential(nn.Linear(5, 8), layer, nn.Linear(8, 2)).eval()
    assert {name: group.size for name, group in Channels(model).groups.items()} == {"1.linear1.weight": 12}
    other, _ = scrambled(model)
    assert la.align(model, other, check=(torch.randn(2, 4, 5), torch.zeros(2))).after == 0


class Wrong(nn.Module):
    """A Sequential that is not called as one: read from its parts it would look permutable."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))

    def forward(self, x):
        if x.sum() > -1e9:  # a tracer cannot know
            h = self.layers[0](x)
            return self.layers[2](self.layers[1](h)) + h.cumsum(dim=1)
        return x


def test_what_cannot_be_aligned_is_refused_with_a_reason():
    with pytest.raises(la.SpecError, match="LSTM has no units that can be permuted: it has no hidden"):
        la.align(nn.LSTM(3, 4), nn.LSTM(3, 4))
    with pytest.raises(la.SpecError, match="no hidden units between two layers"):
        la.align(nn.Linear(3, 4), nn.Linear(3, 4))
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(la.SpecError, match="another shape, first '0.weight'"):
        la.align(net, nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)))
    with pytest.raises(la.SpecError, match="tensors missing"):
        la.align(net, nn.Linear(3, 4))
    with pytest.raises(la.SpecError, match="a is an OrderedDict"):
        la.align(net.state_dict(), net)
    torch.manual_seed(0)
    wrong, other = Wrong(), Wrong()
    with pytest.raises(la.SpecError, match="change the outputs of Wrong by"):
        la.align(wrong, other, check=(torch.randn(3, 4), torch.zeros(3)))


def test_units_can_be_named_by_hand():
    net, other = (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)) for _ in range(2))
    axes = {"hidden": [("0.weight", 0), ("0.bias", 0), ("2.weight", 1)]}
    assert la.align(net, other, groups=axes).after == pytest.approx(la.align(net, other).after)
    with pytest.raises(la.SpecError, match="no dimension 2 of a tensor '0.weight'"):
        la.align(net, other, groups={"hidden": [("0.weight", 2)]})
    with pytest.raises(la.SpecError, match=r"has? the sizes \[3, 4\]|have the sizes \[3, 4\]"):
        la.align(net, other, groups={"hidden": [("0.weight", 0), ("0.weight", 1)]})


class Choosy(nn.Module):
    """Arguments with defaults choose the way; what is not called here may be called elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.unused = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(3, 4)
        self.unused.weight = self.a.weight

    def forward(self, x, mask=None, deep=False):
        h = F.relu(self.a(x))
        if mask is not None:
            h = h.cumsum(1)
        return torch.sin(self.b(h)) if deep else self.b(h)


def test_defaults_of_arguments_are_the_call_that_is_meant_and_tied_tensors_elsewhere_stay():
    assert Channels(Choosy()).groups == {}
    net = Choosy()
    del net.unused
    assert list(Channels(net).groups) == ["a.weight"]
    assert Channels(net).reasons == []


def test_operations_without_a_rule_hold_their_units_still():
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.c(F.relu(self.b(torch.cumsum(self.a(x), 1))))

    read = Channels(Cut())
    assert list(read.groups) == ["b.weight"]
    assert read.reasons == ["operation cumsum has no rule"]


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_torchvisions_networks_keep_their_outputs(name):
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    model = awake(torchvision.models.get_model(name, weights=None))
    groups = Channels(model).groups
    assert len(groups) == {"resnet18": 12, "densenet121": 58}[name]
    other, _ = scrambled(model)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(other(x), model(x), rtol=1e-3, atol=1e-4)


@pytest.mark.shared
def test_a_permuted_copy_of_the_authors_network_is_recovered(shared_data):
    model = la.zoo.model("resnet56")
    la.load_checkpoint(model, shared_data / "li2018_resnet56.pt")
    other, permutations = scrambled(model.eval())
    assert len(permutations) == 30  # three streams and the 27 channels within the blocks
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = la.align(model, other, check=(x, torch.zeros(2)))
    assert found.before > 20
    assert found.after < 1e-6  # a few channels are dead: their numbers are all but zero, and interchangeable
    assert found.checked < 1e-10


def normed(norm: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(6, 5, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(5 * 16, 4),
    )  # fmt: skip
    for tensor in (*norm.parameters(), *norm.buffers()):
        if tensor.is_floating_point():
            tensor.data = torch.rand_like(tensor) + 0.5
    return net.eval()


@pytest.mark.parametrize(
    "norm",
    [
        nn.GroupNorm(1, 6),
        nn.GroupNorm(6, 6),
        nn.InstanceNorm2d(6, affine=True),
        nn.InstanceNorm2d(6),
        nn.InstanceNorm2d(6, affine=True, track_running_stats=True),
        nn.LayerNorm([6, 4, 4]),
        nn.BatchNorm2d(6),
    ],
    ids=lambda norm: str(norm)[:40],
)
def test_norms_that_treat_units_alike_let_them_be_permuted(norm):
    model = normed(norm)
    assert sorted(group.size for group in Channels(model).groups.values()) == [5, 6]
    twin, _ = scrambled(model)
    x = torch.randn(7, 3, 4, 4)
    assert not torch.equal(twin[0].weight, model[0].weight)
    torch.testing.assert_close(twin(x), model(x), rtol=1e-4, atol=1e-5)
    found = la.align(model, twin, check=x)
    assert found.after < 1e-5 < found.before
    assert found.checked < 1e-6


class Functional(nn.Module):
    """Normalises by a function, with weights of its own."""

    def __init__(self, how):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 3)
        self.gain, self.shift = nn.Parameter(torch.rand(6) + 0.5), nn.Parameter(torch.randn(6))
        self.register_buffer("mean", torch.randn(6))
        self.register_buffer("var", torch.rand(6) + 0.5)
        self.how = how

    def forward(self, x):
        return self.last(self.second(self.how(self, self.first(x)).relu()).relu())


@pytest.mark.parametrize(
    "how",
    [
        lambda own, h: F.layer_norm(h, (6,), own.gain, own.shift),
        lambda own, h: F.layer_norm(input=h, normalized_shape=[6], bias=own.shift, weight=own.gain),
        lambda own, h: F.layer_norm(h, (6,)),
        lambda own, h: F.rms_norm(h, (6,), own.gain),
        lambda own, h: F.group_norm(h, 1, own.gain, own.shift),
        lambda own, h: F.group_norm(h, 6, bias=own.shift),
        lambda own, h: F.batch_norm(h, own.mean, own.var, own.gain, own.shift),
        lambda own, h: F.batch_norm(h, None, None, own.gain, training=True),
    ],
)
def test_normalising_functions_let_units_be_permuted_like_their_layers(how):
    torch.manual_seed(0)
    model = Functional(how)
    assert sorted(group.size for group in Channels(model).groups.values()) == [5, 6]
    twin, _ = scrambled(model)
    x = torch.randn(7, 4)
    assert not torch.equal(twin.first.weight, model.first.weight)
    torch.testing.assert_close(twin(x), model(x), rtol=1e-4, atol=1e-5)
    assert la.align(model, twin, check=x).after < 1e-5


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (lambda own, h: F.layer_norm(h, (6,), 1 + own.gain, own.shift), "operation layer_norm has no rule"),
        (lambda own, h: F.group_norm(h, 2, own.gain, own.shift), "GroupNorm ties the units of each of its 2 groups"),
        (lambda own, h: F.layer_norm(h, (6,), own.gain) * own.gain, ""),
        (lambda own, h: F.layer_norm(h, (6,), own.gain) + F.rms_norm(own.gain, (6,)), ""),
    ],
)
def test_normalising_functions_of_which_not_all_is_known_hold_their_units(how, reason):
    torch.manual_seed(0)
    model = Functional(how)
    found = Channels(model)
    assert [group.size for group in found.groups.values()] == [5]
    assert any(reason in one for one in found.reasons) or not reason
    twin, _ = scrambled(model)
    x = torch.randn(7, 4)
    torch.testing.assert_close(twin(x), model(x), rtol=1e-4, atol=1e-5)


def test_units_of_one_group_of_several_stay():
    model = normed(nn.GroupNorm(2, 6))
    assert [group.size for group in Channels(model).groups.values()] == [5]
    assert any("GroupNorm" in reason for reason in Channels(model).reasons)
