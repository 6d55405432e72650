"""Does a plane of inputs move the inputs, by as much as it says, and nothing else?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.draw import captions
from lossatlas.draw.view import compile
from lossatlas.errors import SpecError
from lossatlas.field.checks import check
from lossatlas.field.convexity import proof
from lossatlas.field.topology import topology
from lossatlas.results.landscape import structured


def linear(samples=6, width=5, seed=0, batch_size=100, loss=F.mse_loss):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, width, generator=generator, dtype=torch.float64)
    y = torch.randn(samples, 1, generator=generator, dtype=torch.float64)
    model = nn.Linear(width, 1).double()
    with torch.no_grad():
        model.weight.copy_(torch.randn(1, width, generator=generator, dtype=torch.float64))
    return la.Objective(model, (x, y), loss=loss, batch_size=batch_size), x.numpy(), y.numpy()


def residuals(objective, x, y):
    weight, bias = (p.detach().numpy() for p in objective.model.parameters())
    return (x @ weight.T + bias - y)[:, 0], weight[0]


def test_along_the_gradient_sign_a_linear_model_follows_its_closed_form():
    objective, x, y = linear(batch_size=4)
    plane = la.InputPlane.adversarial(objective, axes=("x",))
    landscape = la.sample(objective, plane, la.Grid(x=(-2, 2, 9)))
    r, w = residuals(objective, x, y)
    # x + c sign(2 r w) moves the output by c sign(r) |w|_1
    expected = [np.mean((np.abs(r) + c * np.abs(w).sum()) ** 2) for c in landscape["x"].values]
    np.testing.assert_allclose(landscape["loss"].values, expected, rtol=1e-13)


def test_along_the_normalised_gradient_a_logistic_model_follows_its_closed_form():
    objective, x, _ = linear(samples=7, batch_size=3)
    label = torch.tensor([[0.0], [1.0], [1.0], [0.0], [1.0], [0.0], [1.0]], dtype=torch.float64)
    objective = la.Objective(objective.model, (torch.from_numpy(x), label), F.binary_cross_entropy_with_logits)
    plane = la.InputPlane.adversarial(objective, norm="2", examples=[1, 2, 5], axes=("x",))
    assert plane.lengths["x"] == pytest.approx(1.0, abs=1e-12)
    landscape = la.sample(objective, plane, la.Grid(x=(0, 3, 7)))
    weight, bias = (p.detach().numpy() for p in objective.model.parameters())
    signs = np.where(label.numpy() > 0, 1.0, -1.0)[[1, 2, 5], 0]
    margin = signs * (x[[1, 2, 5]] @ weight[0] + bias[0])
    expected = [np.mean(np.log1p(np.exp(-margin + c * np.linalg.norm(weight)))) for c in landscape["x"].values]
    np.testing.assert_allclose(landscape["loss"].values, expected, rtol=1e-12)


def test_given_directions_move_each_example_by_its_own_and_metrics_too():
    objective, x, y = linear(batch_size=4)
    objective = la.Objective(
        objective.model, (torch.from_numpy(x), torch.from_numpy(y)), F.mse_loss,
        metrics={"size": lambda outputs, _: outputs.abs()[:, 0]},
    )  # fmt: skip
    ways = {axis: torch.randn(6, 5, generator=torch.Generator().manual_seed(n)).double() for n, axis in enumerate("xy")}
    plane = la.InputPlane(objective, ways)
    landscape = la.sample(objective, plane, la.Grid(y=(-1, 1, 3), x=(0, 1, 3)))
    assert landscape["loss"].dims == ("y", "x")
    r, w = residuals(objective, x, y)
    a, b = (ways[axis].numpy() @ w for axis in "xy")
    for i, cy in enumerate((-1, 0, 1)):
        for j, cx in enumerate((0, 0.5, 1)):
            assert landscape["loss"].values[i, j] == pytest.approx(np.mean((r + cx * a + cy * b) ** 2), rel=1e-12)
            outputs = r + y[:, 0] + cx * a + cy * b
            assert landscape["size"].values[i, j] == pytest.approx(np.mean(np.abs(outputs)), rel=1e-12)


def test_all_ways_of_evaluating_agree():
    model = la.zoo.model("mlp", widths=(64, 16, 10), seed=0)
    x, y = la.zoo.data("digits")
    objective = la.Objective(model, (x[:30].flatten(1), y[:30]), F.cross_entropy, batch_size=8)
    plane, grid = la.InputPlane.adversarial(objective, examples=range(20)), la.Grid(x=(-1, 1, 5), y=(-1, 1, 5))
    plain = la.sample(objective, plane, grid, plan="plain")
    stacked = la.sample(objective, plane, grid, plan="stacked")
    assert structured(stacked, "evaluation")["plan"]["name"] == "stacked"
    np.testing.assert_allclose(stacked["loss"].values, plain["loss"].values, rtol=1e-6)
    adaptive = la.sample(objective, plane, la.Adaptive(x=(-1, 1, 21), y=(-1, 1, 21), tolerance=0.02))
    every = la.sample(objective, plane, la.Grid(x=(-1, 1, 21), y=(-1, 1, 21)))
    assert (adaptive["status"] == 5).any()
    gap = np.abs(adaptive["loss"] - every["loss"]) / float(every["loss"].max() - every["loss"].min())
    assert float(gap.max()) < 0.1


def test_a_run_resumes_and_refuses_other_examples(tmp_path):
    objective, *_ = linear()
    plane, grid = la.InputPlane.adversarial(objective, seed=3), la.Grid(x=(-1, 1, 5), y=(-1, 1, 5))
    first = la.sample(objective, plane, grid, run=tmp_path / "a")
    again = la.sample(objective, la.InputPlane.adversarial(objective, seed=3), grid, run=tmp_path / "a")
    assert np.array_equal(first["loss"].values, again["loss"].values)
    assert (tmp_path / "a" / "inputs.safetensors").exists()
    for other in (
        la.InputPlane.adversarial(objective, seed=4),
        la.InputPlane.adversarial(objective, seed=3, examples=[0, 1]),
        la.InputPlane.adversarial(objective, seed=3, clamp=(-9, 9)),
    ):
        with pytest.raises(la.RunMismatchError, match="inputs|data"):
            la.sample(objective, other, grid, run=tmp_path / "a")


def test_a_run_knows_what_the_forward_function_of_the_user_does(tmp_path):
    objective, x, y = linear()
    data = torch.from_numpy(x), torch.from_numpy(y)
    for power, refused in ((1.0, False), (3.0, True)):
        asked = la.Objective(objective.model, data, F.mse_loss, forward=lambda m, b, p=power: (m(b[0] ** 1) ** p, b[1]))
        plane = la.InputPlane(asked, {"x": torch.ones(6, 5)})
        if refused:
            with pytest.raises(la.RunMismatchError, match="code forward"):
                la.sample(asked, plane, la.Grid(x=(0, 1, 3)), run=tmp_path / "a")
        else:
            la.sample(asked, plane, la.Grid(x=(0, 1, 3)), run=tmp_path / "a")


def test_the_model_the_data_and_the_random_state_stay_as_they_were():
    objective, x, _ = linear()
    state = {name: tensor.clone() for name, tensor in objective.model.state_dict().items()}
    torch.manual_seed(5)
    before = torch.get_rng_state()
    plane = la.InputPlane.adversarial(objective)
    la.sample(objective, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(state[name], tensor) for name, tensor in objective.model.state_dict().items())
    assert np.array_equal(next(iter(objective.batches))[0].numpy(), x)
    assert all(p.requires_grad and p.grad is None for p in objective.model.parameters())


def test_the_directions_are_taken_where_the_network_was_trained():
    objective, *_ = linear()
    first = la.InputPlane.adversarial(objective)
    objective({"weight": torch.ones(1, 5).double()})  # leaves the private copy there
    second = la.InputPlane.adversarial(objective)
    assert torch.equal(first.inputs.directions["x"]["0"], second.inputs.directions["x"]["0"])


def test_clamped_inputs_stay_in_their_range_and_prove_nothing():
    objective, x, y = linear(loss=F.l1_loss)
    low, high = float(x.min()), float(x.max())
    plane = la.InputPlane.adversarial(objective, clamp=(low, high))
    moved = plane.moved({"x": 100.0})[0]
    assert float(moved.min()) == low
    assert float(moved.max()) == high
    landscape = la.sample(objective, plane, la.Grid(x=(-5, 5, 11), y=(-5, 5, 11)))
    r, w = residuals(objective, x, y)
    far = np.clip(x + 5 * np.sign(r)[:, None] * np.sign(w), low, high)
    assert float(landscape["loss"].sel(x=5, y=0)) == pytest.approx(np.mean(np.abs((far - x) @ w + r)), rel=1e-12)
    words = captions.caveat([landscape], "loss")
    assert "Along a clamped plane even a convex loss may rise and fall" in words
    assert f"inputs clamped to [{low:.4g}, {high:.4g}]" in captions.about([landscape])


def test_no_word_of_a_picture_speaks_of_parameters():
    objective, *_ = linear()
    plane = la.InputPlane.adversarial(objective, examples=[2])
    landscape = la.sample(objective, plane, la.Grid(x=(-1, 1, 5), y=(-1, 1, 5)))
    assert landscape["x_length"].attrs["units"] == "input norm"
    assert float(landscape["x_length"].sel(x=1)) == pytest.approx(np.sqrt(5))
    caption = compile(landscape).caption
    words = " ".join([*caption.sentences, *caption.what, *caption.proves])
    assert "inputs of 1 example moved, weights fixed, directions of maximum norm 1" in words
    assert "Inputs moved along gradient sign (x), random signs (y)" in words
    assert "x: gradient sign of input norm 2.24" in words
    assert "does not prove robustness" in words
    assert "parameter" not in words
    assert "network" not in topology(landscape).caveat
    found = {one.question: one for one in check(landscape)}["Is the centre a minimum of the slice?"]
    assert found.verdict == "fine"


def test_a_proof_is_of_the_input():
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(model.weight)
    data = torch.zeros(1, 1).double(), torch.zeros(1, 1).double()
    objective = la.Objective(model, data, lambda outputs, targets: torch.cos(outputs - targets).mean())
    plane = la.InputPlane(objective, {"x": torch.ones(1, 1).double()})
    landscape = la.sample(objective, plane, la.Grid(x=(-1, 1, 9)))
    assert "The loss is not convex in the input: " in captions.caveat([landscape], "loss")
    assert proof(landscape).words.startswith("This slice proves the loss non-convex in the input:")


def test_towards_another_input_ends_there():
    objective, _, y = linear()
    other = torch.full((5,), 2.0, dtype=torch.float64)
    plane = la.InputPlane.towards(objective, other, names=["a constant"])
    landscape = la.sample(objective, plane, la.Grid(x=(0, 1, 2)))
    weight, bias = (p.detach().numpy() for p in objective.model.parameters())
    assert float(landscape["loss"].sel(x=1)) == pytest.approx(np.mean((2 * weight.sum() + bias - y) ** 2), rel=1e-12)
    assert landscape["x"].attrs["long_name"] == "towards a constant"
    assert compile(landscape).caption.what[0] == "Inputs moved towards a constant (x)"


def test_towards_another_example_ends_at_its_input_with_the_targets_of_those_that_move():
    objective, x, y = linear(batch_size=4)
    for examples in ([2], None):
        plane = la.InputPlane.towards(objective, 5, 0, examples=examples)
        assert dict(plane.recipe.labels) == {"x": "towards example 5", "y": "towards example 0"}
        landscape = la.sample(objective, plane, la.Grid(x=(0, 1, 2), y=(0, 1, 2)))
        weight, bias = (p.detach().numpy() for p in objective.model.parameters())
        own = y if examples is None else y[examples]
        at = {(0, 0): x if examples is None else x[examples], (1, 0): x[[5]], (0, 1): x[[0]]}
        for (cx, cy), inputs in at.items():
            expected = np.mean((inputs @ weight.T + bias - own) ** 2)
            assert float(landscape["loss"].sel(x=cx, y=cy)) == pytest.approx(expected, rel=1e-12)
        assert landscape["y"].attrs["long_name"] == "towards example 0"
    named = la.InputPlane.towards(objective, 5, torch.zeros(5).double(), names=["a cat"])
    assert dict(named.recipe.labels) == {"x": "towards a cat", "y": "towards another input"}


def test_towards_another_example_the_output_of_a_layer_moves_to_its_own():
    torch.manual_seed(0)
    model = Sentence().double()
    tokens, label = torch.tensor([[1, 2, 3], [3, 4, 5]]), torch.tensor([0, 1])
    objective = la.Objective(model, (tokens, label), F.cross_entropy)
    plane = la.InputPlane.towards(objective, 1, examples=0, axes=("t",), layer="embedding")
    landscape = la.sample(objective, plane, la.Grid(t=(0, 1, 2)))
    expected = [F.cross_entropy(model(tokens[[at]]), label[[0]]).item() for at in (0, 1)]
    np.testing.assert_allclose(landscape["loss"].values, expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ((6,), "examples: number 6 of 6 samples"),
        ((-1,), "whole numbers counted from 0"),
        ((1.5,), r"others: a float \(1.5\); expected numbers of examples"),
        ((True,), "others: a bool"),
        ((3,), "equal the input they are to reach"),
        ((), "others: 0 for the axes x, y, z; expected one"),
        ((0, 1, 2, 4), "others: 4 for the axes x, y, z"),
        ((torch.zeros(4),), r"expected \(1, 5\), or one input of shape \(5,\)"),
    ],
)
def test_what_cannot_be_headed_for_is_said(others, words):
    objective, *_ = linear()
    with pytest.raises(SpecError, match=words):
        la.InputPlane.towards(objective, *others, examples=[3])


class Sentence(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, tokens):
        return self.head(self.embedding(tokens).tanh().mean(dim=1))


def test_the_embedding_of_a_token_moves_to_that_of_another():
    torch.manual_seed(0)
    model = Sentence().double()
    tokens, label = torch.tensor([[1, 2, 3], [3, 4, 5]]), torch.tensor([0, 1])
    objective = la.Objective(model, (tokens, label), F.cross_entropy)
    plane = la.InputPlane.tokens(objective, 6, 0, layer="embedding", position=1)
    landscape = la.sample(objective, plane, la.Grid(x=(0, 1, 2), y=(0, 1, 2)))
    swapped = tokens.clone()
    swapped[:, 1] = 6
    expected = F.cross_entropy(model(swapped), label).item()
    assert float(landscape["loss"].sel(x=1, y=0)) == pytest.approx(expected, rel=1e-13)
    assert float(landscape["loss"].sel(x=0, y=0)) == pytest.approx(F.cross_entropy(model(tokens), label).item())
    assert landscape["x_length"].attrs["units"] == "embedding norm"
    assert "output of embedding moved for 2 examples" in captions.about([landscape])
    words = "output of embedding moved towards token 6 at position 1 (x), token 0 at position 1 (y)"
    assert compile(landscape).caption.what[0] == words
    assert not model.embedding._forward_hooks


def test_of_a_layer_with_several_outputs_the_first_moves_and_the_others_stay():
    class Split(nn.Module):
        def forward(self, x):
            return x, 10 * x, 100 * x

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.split = Split()

        def forward(self, x):
            return sum(self.split(x)).sum(dim=1)

    x, y = torch.ones(3, 2).double(), torch.zeros(3).double()
    plane = la.InputPlane(objective := la.Objective(Model(), (x, y), F.mse_loss), {"x": x}, layer="split")
    landscape = la.sample(objective, plane, la.Grid(x=(0, 1, 2)))
    np.testing.assert_array_equal(landscape["loss"], [222.0**2, 224.0**2])


def test_a_reconstruction_keeps_its_targets():
    model = nn.Linear(3, 3).double()
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).double()
    objective = la.Objective(model, (x,), F.mse_loss)
    way = torch.ones(4, 3).double()
    landscape = la.sample(objective, la.InputPlane(objective, {"x": way}), la.Grid(x=(0, 1, 2)))
    assert float(landscape["loss"].sel(x=1)) == pytest.approx(F.mse_loss(model(x + way), x).item(), rel=1e-13)


def test_a_mapping_with_a_floating_target_moves_its_input():
    class Model(nn.Module):
        def forward(self, x):
            return x.sum(dim=1)

    y, x = torch.zeros(3).double(), torch.ones(3, 2).double()
    objective = la.Objective(Model(), {"target": y, "x": x}, F.mse_loss)
    plane = la.InputPlane(objective, {"x": torch.ones(3, 2).double()})
    assert float(la.sample(objective, plane, la.Grid(x=(0, 1, 2)))["loss"].sel(x=1)) == 16.0


def test_gradients_that_vanish_are_counted_in_the_label():
    model = nn.Linear(2, 1, bias=False).double()
    nn.init.ones_(model.weight)
    x = torch.tensor([[1.0, 1.0], [-5.0, 1.0], [2.0, 0.0]]).double()
    objective = la.Objective(model, (x, torch.zeros(3, 1).double()), lambda out, y: F.relu(out - y).mean())
    plane = la.InputPlane.adversarial(objective)
    assert plane.recipe.labels["x"] == "gradient sign (zero for 1 of 3 examples)"
    with pytest.raises(SpecError, match="exactly zero at every example"):
        la.InputPlane.adversarial(objective, examples=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"examples": [0, 99]}, "number 99 of 6 samples"),
        ({"examples": [-1]}, "whole numbers counted from 0"),
        ({"examples": "0"}, "expected a number of an example"),
        ({"examples": [1, 1]}, "named twice"),
        ({"norm": "1"}, "norm='1' is unknown; choose one of: inf, 2"),
        ({"clamp": (1, 0)}, "lowest and the highest valid entry"),
        ({"layer": "nowhere"}, "no such module"),
    ],
)
def test_bad_options_say_what_is_good(options, words):
    objective, *_ = linear()
    with pytest.raises(SpecError, match=words):
        la.InputPlane.adversarial(objective, **options)


def test_what_cannot_be_asked_of_inputs_is_refused():
    objective, x, y = linear()
    data = torch.from_numpy(x), torch.from_numpy(y)
    with pytest.raises(SpecError, match="training=True cannot be used with an InputPlane"):
        la.InputPlane.random(la.Objective(objective.model, data, F.mse_loss, training=True))
    with pytest.raises(SpecError, match=r"shape \(3, 5\)"):
        la.InputPlane(objective, {"x": torch.ones(3, 5)})
    with pytest.raises(SpecError, match="parallel"):
        la.InputPlane(objective, {"x": torch.ones(6, 5), "y": torch.ones(6, 5)})
    with pytest.raises(SpecError, match="name the layer"):
        la.InputPlane.random(la.Objective(Sentence(), (torch.tensor([[1]]), torch.tensor([0])), F.cross_entropy))
    plane = la.InputPlane.random(objective)
    other = la.Objective(nn.Linear(2, 1).double(), (torch.ones(6, 2).double(), data[1]), F.mse_loss)
    with pytest.raises(SpecError, match="make the InputPlane from this objective's data"):
        la.sample(other, plane, la.Grid(x=(0, 1, 2), y=(0, 1, 2)))
    with pytest.raises(SpecError, match="moves the inputs, but this curvature is with respect to the weights"):
        la.curvature_map(objective, plane, la.Grid(x=(0, 1, 2), y=(0, 1, 2)))


def test_several_planes_of_inputs_have_a_median_and_a_spread():
    objective, *_ = linear()
    planes = [la.InputPlane.random(objective, seed=seed, axes=("x",)) for seed in range(3)]
    grid = la.Grid(x=(-1, 1, 5))
    found = la.seeds(objective, grid, planes)
    runs = [la.sample(objective, plane, grid)["loss"].values for plane in planes]
    np.testing.assert_allclose(found.mean().values, np.mean(runs, axis=0), rtol=1e-12)
    with pytest.raises(SpecError, match="a plane is given twice"):
        la.seeds(objective, grid, [planes[0], planes[0]])


def test_another_network_is_measured_on_the_same_plane():
    objective, x, y = linear()
    plane = la.InputPlane.adversarial(objective, axes=("x",))
    other = la.Objective(nn.Linear(5, 1).double(), (torch.from_numpy(x), torch.from_numpy(y)), F.mse_loss)
    landscape = la.sample(other, plane, la.Grid(x=(0, 1, 2)))
    moved = plane.moved({"x": 1.0})[0]
    assert float(landscape["loss"].sel(x=1)) == pytest.approx(
        F.mse_loss(other.model(moved), torch.from_numpy(y)).item()
    )


def test_a_subset_of_the_moved_examples_stands_for_all():
    model = la.zoo.model("mlp", widths=(64, 16, 10), seed=0)
    x, y = la.zoo.data("digits")
    objective = la.Objective(model, (x[:400].flatten(1), y[:400]), F.cross_entropy)
    plane, grid = la.InputPlane.adversarial(objective, axes=("x",)), la.Grid(x=(-1, 1, 61))
    part, whole = la.sample(objective, plane, grid, samples=la.Subset(size=100)), la.sample(objective, plane, grid)
    assert float(abs(part["loss"] - whole["loss"]).max()) < 0.05
