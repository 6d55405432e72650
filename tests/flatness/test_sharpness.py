"""Are the measures of flatness right: closed forms, and exactly the invariances that each states."""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas import sharpness
from lossatlas.draw import words_on_page
from lossatlas.flatness import stored
from lossatlas.flatness.door import definition_of
from lossatlas.flatness.ground import Ground, moved_copy
from lossatlas.flatness.ranking import FEWEST

CURVES = np.array([1.0, 4.0, 0.5, 9.0])


def quadratic(weights) -> la.Objective:
    """L(w) = 1/2 Σ λ_i w_i² with the eigenvalues of CURVES."""
    n = len(CURVES)
    model = nn.Linear(n, 1, bias=False).double()
    model.weight.data.copy_(torch.as_tensor(weights, dtype=torch.float64))
    x = torch.diag(torch.from_numpy(np.sqrt(CURVES * n / 2)))
    return la.Objective(model, (x, torch.zeros(n, 1).double()), F.mse_loss, batch_size=3)


def height(w) -> float:
    return float(0.5 * CURVES @ np.asarray(w) ** 2)


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(90, 6, generator=generator).double()
    return x, (x[:, :3] + 0.7 * torch.randn(90, 3, generator=generator).double()).argmax(1)


def fitted(net, data, steps=60):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(net(data[0]), data[1]).backward()
        optimizer.step()
    net.zero_grad()
    return net.eval()


@pytest.fixture(scope="module")
def mlp(data):
    torch.manual_seed(0)
    layers = nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3)
    return fitted(nn.Sequential(*layers).double(), data)


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 5, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm1d(5)
        self.last = nn.Linear(30, 3)

    def forward(self, x):
        return self.last(torch.relu(self.norm(self.conv(x[:, None]))).flatten(1))


@pytest.fixture(scope="module")
def normed(data):
    torch.manual_seed(1)
    net = fitted(Normed().double(), data)
    net.norm.eps = 0.0  # so that scaling a filter is undone exactly
    return net


def with_layers_rescaled(net):
    """Dinh et al. 2017: the first layer times 3, the last divided by 3; biases follow."""
    with torch.no_grad():
        for tensor in (net[0].weight, net[0].bias, net[2].bias):
            tensor *= 3.0
        net[4].weight /= 3.0


def with_units_rescaled(net):
    with torch.no_grad():
        for first, second in ((net[0], net[2]), (net[2], net[4])):
            factors = torch.linspace(0.3, 4, first.out_features).double()
            first.weight *= factors[:, None]
            first.bias *= factors
            second.weight /= factors


def with_filters_rescaled(net):
    factors = torch.linspace(0.3, 4, 5).double()
    with torch.no_grad():
        net.conv.weight *= factors[:, None, None]
        net.norm.running_mean *= factors
        net.norm.running_var *= factors**2


OPTIONS = {"llc": {"gamma": 3000.0, "draws": 100, "burn": 20, "gradient": "full"}}
"""Of measures that would take too long, or are no measure of a network that is hardly trained."""

RESCALED = {"layers": with_layers_rescaled, "units": with_units_rescaled, "filters": with_filters_rescaled}


@pytest.mark.parametrize("way", RESCALED)
@pytest.mark.parametrize("name", sharpness.MEASURES)
def test_each_measure_is_invariant_to_what_it_says_and_to_nothing_else(name, way, mlp, normed, data) -> None:
    net = normed if way == "filters" else mlp
    other = copy.deepcopy(net)
    RESCALED[way](other)
    torch.testing.assert_close(net(data[0]), other(data[0]))  # the same function
    options = OPTIONS.get(name, {})
    before, after = (sharpness.measure(name, la.Objective(n, data, F.cross_entropy), **options) for n in (net, other))
    if way in sharpness.DEFINITIONS[name].invariant_to:
        assert after.value == pytest.approx(before.value, rel=1e-7)
        assert way in before.invariances
    else:
        assert abs(after.value - before.value) > 1e-4 * abs(before.value)
        assert way in before.caveat


def test_relative_flatness_of_an_inner_layer_does_not_see_its_rows_rescaled(mlp, data) -> None:
    other = copy.deepcopy(mlp)
    factors = torch.linspace(0.3, 4, 7).double()
    with torch.no_grad():
        other[2].weight *= factors[:, None]
        other[2].bias *= factors
        other[4].weight /= factors
    values = [
        sharpness.relative_flatness(la.Objective(net, data, F.cross_entropy), layer="2.weight").value
        for net in (mlp, other)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_adaptive_sharpness_by_filter_sees_units_rescaled_and_not_layers(mlp, data) -> None:
    found = {}
    for way in ("none", "layers", "units"):
        net = copy.deepcopy(mlp)
        RESCALED.get(way, lambda net: None)(net)
        found[way] = sharpness.adaptive_worst(la.Objective(net, data, F.cross_entropy), by="filter").value
    # A bias is one filter here, and both biases before the last layer are scaled alike.
    assert found["layers"] == pytest.approx(found["none"], rel=1e-9)
    assert abs(found["units"] - found["none"]) > 1e-3 * found["none"]


def test_sam_on_a_quadratic() -> None:
    w = np.array([0.3, -0.2, 0.5, 0.1])
    gradient = CURVES * w
    found = sharpness.sam(quadratic(w), rho=0.1)
    assert found.value == pytest.approx(height(w + 0.1 * gradient / np.linalg.norm(gradient)) - height(w))
    assert (found.evaluations, found.gradients) == (2, 1)
    # At the minimum the gradient is zero, and more steps find the sharpest direction: a power iteration.
    at_minimum = sharpness.sam(quadratic(np.zeros(4)), rho=0.1, steps=60)
    assert at_minimum.value == pytest.approx(0.5 * 0.1**2 * 9.0, rel=1e-6)


def test_m_sharpness_is_the_mean_over_groups_each_with_its_own_maximum() -> None:
    w = np.array([0.3, -0.2, 0.5, 0.1])
    found = sharpness.sam(quadratic(w), rho=0.1, m=1)
    # A sample alone has the loss 2 λ_i w_i² (four samples), and its gradient is along w_i.
    singles = [2 * curve * ((abs(v) + 0.1) ** 2 - v**2) for curve, v in zip(CURVES, w)]
    assert found.value == pytest.approx(np.mean(singles))
    assert found.spread == pytest.approx(np.std(singles, ddof=1) / 2)
    assert found.evaluations == pytest.approx(2)  # in passes over all samples
    assert found.value > sharpness.sam(quadratic(w), rho=0.1).value
    uneven = sharpness.sam(quadratic(w), rho=0.1, m=3)  # groups of 3 and 1, weighted by their samples
    order = np.random.default_rng(0).permutation(4)
    groups = []
    for part in (np.sort(order[:3]), order[3:]):
        curve = np.where(np.isin(np.arange(4), part), CURVES * 4 / len(part), 0)
        step = 0.1 * curve * w / np.linalg.norm(curve * w)
        groups.append(len(part) / 4 * 0.5 * float(curve @ ((w + step) ** 2 - w**2)))
    assert uneven.value == pytest.approx(sum(groups))


def test_adaptive_worst_case_agrees_with_a_constrained_maximum() -> None:
    w = np.array([0.3, -0.2, 0.5, 0.1])
    found = sharpness.adaptive_worst(quadratic(w), rho=0.2, steps=200)
    best = scipy.optimize.minimize(
        lambda u: -height(w + np.abs(w) * u),
        0.01 * np.sign(w),
        constraints={"type": "ineq", "fun": lambda u: 0.04 - u @ u},
        method="SLSQP",
        tol=1e-14,
    )
    assert found.value == pytest.approx(-best.fun - height(w), rel=1e-5)
    box = sharpness.adaptive_worst(quadratic(w), rho=0.2, norm="linf")
    assert box.value == pytest.approx(height(1.2 * w) - height(w))
    by_filter = sharpness.adaptive_worst(quadratic(w), rho=0.2, by="filter")  # one filter, of all weights
    assert by_filter.value == pytest.approx(sharpness.sam(quadratic(w), rho=0.2 * np.linalg.norm(w)).value)


def test_epsilon_sharpness_finds_the_corner_of_the_box() -> None:
    w = np.array([0.3, -0.2, 0.5, 0.1])
    found = sharpness.epsilon_sharpness(quadratic(w), epsilon=0.01)
    corner = height(np.abs(w) + 0.01 * (np.abs(w) + 1))
    assert found.value == pytest.approx(100 * (corner - height(w)) / (1 + height(w)), rel=1e-6)


def test_averages_have_their_closed_forms_on_a_quadratic() -> None:
    w = np.array([0.3, -0.2, 0.5, 0.1])
    adaptive = sharpness.adaptive_average(quadratic(w), rho=0.1, draws=400)
    assert adaptive.value == pytest.approx(0.5 * 0.01 * CURVES @ w**2, abs=4 * adaptive.spread)
    assert adaptive.spread < 0.2 * adaptive.value
    filtered = sharpness.lpf(quadratic(w), sigma=0.1, draws=400)
    assert filtered.value == pytest.approx(height(w) + 0.5 * 0.01 * CURVES.sum(), abs=4 * filtered.spread)
    assert filtered.settings["loss"] == pytest.approx(height(w))
    assert adaptive.evaluations == 801


def test_the_radius_is_where_the_loss_has_risen() -> None:
    w = np.array([0.3, -0.2, 0.5, 0.1])
    found = sharpness.radius(quadratic(w), rise=0.2, directions=6)
    expected = []
    for number in range(6):
        direction = la.directions.random(quadratic(w), seed=0, stream=f"draw {number}")["weight"].numpy()[0]
        a, b = 0.5 * CURVES @ direction**2, CURVES @ (w * direction)
        expected.append((-b + math.sqrt(b**2 + 4 * a * 0.2)) / (2 * a))
    assert found.value == pytest.approx(np.mean(expected), rel=1e-4)
    assert found.spread == pytest.approx(np.std(expected, ddof=1), rel=1e-3)
    near = sharpness.radius(quadratic(w), rise=1e6, directions=3, far=2.0)
    assert near.value == 2.0
    assert "3 of 3 directions" in near.caveat


def test_biases_are_held_still_on_the_way(mlp, data) -> None:
    objective = la.Objective(mlp, data, F.cross_entropy)
    found = sharpness.radius(objective, directions=1, rise=0.1)
    direction = la.directions.random(objective, seed=0, stream="draw 0")
    assert "0.bias" not in direction
    there = la.Plane(objective.origin, {"x": direction}).at({"x": found.value})
    assert objective(there)["loss"] == pytest.approx(objective()["loss"] + 0.1, rel=1e-3)


def test_trace_and_largest_eigenvalue_of_a_quadratic() -> None:
    objective = quadratic(np.ones(4))
    assert sharpness.trace(objective).value == pytest.approx(CURVES.sum())
    assert sharpness.lambda_max(objective).value == pytest.approx(9)


def test_the_error_of_the_largest_eigenvalue_is_its_residual_also_where_a_negative_one_is_larger() -> None:
    curves = torch.cat([torch.linspace(-90, 0, 40), torch.linspace(0, 9, 41)]).double()
    model = nn.Linear(len(curves), 1, bias=False).double()

    def bent(outputs, targets):
        return targets * outputs.flatten().square()

    objective = la.Objective(model, (torch.eye(len(curves)).double(), curves), bent)
    found = sharpness.lambda_max(objective, tolerance=0.2)
    pair = la.eigenvalues(objective, k=1, tolerance=0.2)
    vector = pair.vectors[-1]["weight"].double().flatten()
    rest = float((2 * curves / len(curves) * vector - found.value * vector).norm() / vector.norm())
    assert rest > 1e-3 * found.value
    assert found.spread == pytest.approx(rest, rel=1e-3)


def test_relative_flatness_of_softmax_regression() -> None:
    """There tr H_st is the mean of (p_s [s = t] - p_s p_t) ‖x‖²."""
    torch.manual_seed(0)
    x, y = torch.randn(40, 5).double() + 1.5, torch.randint(0, 3, (40,))  # features that go together
    net = nn.Linear(5, 3, bias=False).double()
    p = torch.softmax(net(x), 1)
    traces = torch.einsum("ns,st->nst", p, torch.eye(3).double()) - p[:, :, None] * p[:, None]
    traces = (traces * x.square().sum(1)[:, None, None]).mean(0)
    exact = float(((net.weight @ net.weight.T) * traces).sum().detach())
    found = sharpness.relative_flatness(la.Objective(net, (x, y), F.cross_entropy, batch_size=7), probes=1500)
    assert found.value == pytest.approx(exact, abs=4 * found.spread)
    assert found.spread < 0.07 * exact


def test_the_fisher_rao_norm_of_a_network_without_biases(data) -> None:
    """Liang et al. 2019: ⟨w, ∇ℓ⟩ is the number of layers times ⟨f, ∂ℓ/∂f⟩."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
    outputs = net(data[0])
    slopes = torch.softmax(outputs, 1) - F.one_hot(data[1], 3)
    exact = float(((2 * (outputs * slopes).sum(1)) ** 2).mean().sqrt().detach())
    found = sharpness.fisher_rao(la.Objective(net, data, F.cross_entropy, batch_size=40))
    assert found.value == pytest.approx(exact)
    squares = (2 * (outputs * slopes).sum(1)).detach().numpy() ** 2
    assert found.spread == pytest.approx(np.std(squares, ddof=1) / math.sqrt(90) / (2 * exact), rel=1e-6)


def test_margins_of_a_linear_classifier_are_distances_to_the_plane() -> None:
    torch.manual_seed(0)
    net = nn.Linear(4, 2).double()
    x, y = torch.randn(50, 4).double(), torch.randint(0, 2, (50,))
    normal = net.weight[0] - net.weight[1]
    distance = (x @ normal + net.bias[0] - net.bias[1]) / normal.norm() * (1 - 2 * y)
    found = sharpness.input_margin(la.Objective(net, (x, y), F.cross_entropy, batch_size=8), quantile=0.3)
    assert found.value == pytest.approx(np.quantile(distance.detach().numpy(), 0.3))
    assert found.settings["share on the wrong side"] == pytest.approx(float((distance < 0).double().mean()))


def test_spectral_complexity_of_two_layers() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False)).double()
    x, y = torch.randn(30, 4).double(), torch.randint(0, 3, (30,))
    scores = net(x).detach().numpy()
    others = np.where(np.eye(3, dtype=bool)[y], -np.inf, scores).max(1)
    product, total = 1.0, 0.0
    for layer in (net[0], net[2]):
        matrix = layer.weight.detach().numpy()
        spectral = np.linalg.svd(matrix, compute_uv=False)[0]
        product *= spectral
        total += (np.linalg.norm(matrix, axis=1).sum() / spectral) ** (2 / 3)
    margins = (scores[np.arange(30), y] - others) / (product * total**1.5 * float(x.norm()) / 30)
    found = sharpness.spectral_margin(la.Objective(net, (x, y), F.cross_entropy, batch_size=8))
    assert found.value == pytest.approx(np.median(margins))


def test_measures_are_taken_at_the_point_that_is_given(mlp, data) -> None:
    objective = la.Objective(mlp, data, F.cross_entropy)
    moved = copy.deepcopy(mlp)
    with torch.no_grad():
        moved[2].weight += 0.1
    point = {"2.weight": moved[2].weight.detach()}
    options = {"relative_flatness": {"layer": "2.weight"}, "radius": {"directions": 2}}
    before = {name: tensor.clone() for name, tensor in mlp.state_dict().items()}
    for name in set(sharpness.MEASURES) - {"llc"}:  # which is refused where nothing is minimal
        there = sharpness.measure(name, objective, point, **options.get(name, {}))
        own = sharpness.measure(name, la.Objective(moved, data, F.cross_entropy), **options.get(name, {}))
        assert there.value == pytest.approx(own.value, rel=1e-9), name
        assert there.value != pytest.approx(sharpness.measure(name, objective, **options.get(name, {})).value, rel=1e-6)
    assert all(torch.equal(tensor, before[name]) for name, tensor in mlp.state_dict().items())
    assert all(p.grad is None for p in mlp.parameters())


def test_a_measure_goes_back_to_its_point_wherever_the_copy_was_last(mlp, data) -> None:
    objective = la.Objective(mlp, data, F.cross_entropy)
    point = {"2.weight": mlp[2].weight.detach() + 0.1}
    ground = Ground(objective, point)
    ground.loss(torch.ones_like(ground.home))  # leaves the private copy a long step away
    model = moved_copy(ground)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, point.get(name, objective.origin[name])), name
    away = objective({"2.weight": torch.zeros_like(mlp[2].weight)})  # moved between two measures
    found = {name: sharpness.measure(name, objective, point).value for name in ("fisher_rao", "input_margin")}
    fresh = la.Objective(mlp, data, F.cross_entropy)
    assert found == {name: sharpness.measure(name, fresh, point).value for name in found}
    assert away["loss"] != objective(point)["loss"]


def test_a_rank_correlation_agrees_with_scipy_and_claims_no_more_than_it_can() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=20)
    y = x + 0.7 * random.normal(size=20)
    y[3] = y[4]  # a tie
    found = sharpness.correlation(x, y, names=("trace", "test error"))
    assert found.kendall == pytest.approx(scipy.stats.kendalltau(x, y).statistic)
    assert found.spearman == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    boot = scipy.stats.bootstrap(
        (x, y),
        lambda a, b: scipy.stats.kendalltau(a, b).statistic,
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=1,
    )
    assert (found.low, found.high) == pytest.approx(tuple(boot.confidence_interval), abs=0.04)
    assert "rises with the other over these models" in found.words
    assert "n = 20" in found.words
    assert "no correlation is shown" in sharpness.correlation(x, random.normal(size=20)).words
    for n in (4, FEWEST - 1):
        few = sharpness.correlation(x[:n], x[:n])
        assert few.kendall == pytest.approx(1)
        assert f"n = {n} models are too few for any claim" in few.words
    assert "falls" in sharpness.correlation(x, -x).words
    assert "nothing to rank" in sharpness.correlation(x, np.ones(20)).words
    assert sharpness.correlation([1, 2, np.nan], [3, 4, 5]).n == 2


@pytest.fixture(scope="module")
def several(data):
    nets = {}
    for seed in range(4):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()
        nets[f"net {seed}"] = la.Objective(fitted(net, data, 20 + 20 * seed), data, F.cross_entropy)
    return nets


def test_a_table_ranks_models_against_a_column(several, tmp_path) -> None:
    column = {name: 0.1 * number for number, name in enumerate(several)}
    options = {"radius": {"directions": 3}}
    found = sharpness.table(several, ["trace", "radius", "fisher_rao"], against=column, options=options)
    own = sharpness.radius(several["net 2"], directions=3)
    assert found.results["radius"][2] == own
    values = [one.value for one in found.results["trace"]]
    assert found.correlations["trace"].kendall == pytest.approx(scipy.stats.kendalltau(values, range(4)).statistic)
    assert sum("too few for any claim" in text for text in found.words) == 3
    assert any("3 measures were tried" in text for text in found.words)
    row = found.rows()[1]
    assert row["flatter is"] == "larger"
    assert "±" in row["net 2"]
    assert "(too few)" in row["Kendall τ with test error"]
    assert la.draw(found, tmp_path / "table.png").stat().st_size > 1000
    assert la.draw(sharpness.table(several, ["trace"]), tmp_path / "plain.png").stat().st_size > 1000


def test_a_short_caption_says_what_every_error_bar_is(several) -> None:
    found = sharpness.table(several, ["adaptive_average", "fisher_rao", "trace", "input_margin"])
    said = " ".join(words_on_page.caption(found.plot(), 8, 450))
    for name in found.results:
        assert f"({definition_of(name).title})" in said
    assert said.startswith("Error bars: standard error over draws (mean")
    costs = dict(stored.lines(sharpness.table(several, ["sam"]), "sam"))
    assert costs["cost"].startswith("2 evaluations of the data, 1 gradient;")


def test_a_measure_that_does_not_apply_says_why(data) -> None:
    net = nn.Linear(6, 1).double()
    objective = la.Objective(net, (data[0], data[0][:, :1]), F.mse_loss)
    found = sharpness.table({"regression": objective}, ["input_margin", "trace"])
    assert found.results["input_margin"] == (None,)
    assert "scores [N, classes]" in found.failures["input_margin"]
    assert np.isnan(found.column("input_margin")[0])
    assert any("could not be measured everywhere" in text for text in found.words)


def test_bad_input_is_refused(several) -> None:
    objective = several["net 0"]
    with pytest.raises(la.SpecError, match="choose one of: epsilon_sharpness"):
        sharpness.measure("flatness", objective)
    with pytest.raises(la.SpecError, match="rho=0"):
        sharpness.sam(objective, rho=0)
    with pytest.raises(la.SpecError, match="from 1 to 90"):
        sharpness.sam(objective, m=91)
    with pytest.raises(la.SpecError, match="steps=0"):
        sharpness.sam(objective, steps=0)
    with pytest.raises(la.SpecError, match="l2, linf"):
        sharpness.adaptive_worst(objective, norm="l1")
    with pytest.raises(la.SpecError, match="epsilon=-1"):
        sharpness.epsilon_sharpness(objective, epsilon=-1)
    with pytest.raises(la.SpecError, match="draws=1"):
        sharpness.lpf(objective, draws=1)
    with pytest.raises(la.SpecError, match="rise=0"):
        sharpness.radius(objective, rise=0)
    with pytest.raises(la.SpecError, match=r"0\.weight, 2\.weight"):
        sharpness.relative_flatness(objective, layer="1.weight")
    with pytest.raises(la.SpecError, match="quantile=2"):
        sharpness.input_margin(objective, quantile=2)
    with pytest.raises(la.SpecError, match="lacks the model 'net 1'"):
        sharpness.table(several, ["trace"], against={"net 0": 1.0})
    with pytest.raises(la.SpecError, match="models is empty"):
        sharpness.table({})
    with pytest.raises(la.SpecError, match="not measured"):
        sharpness.table(several, ["trace"], options={"sam": {}})
    nowhere = {name: torch.full_like(tensor, torch.nan) for name, tensor in objective.origin.items()}
    with pytest.raises(la.SpecError, match="loss is nan"):
        sharpness.sam(objective, nowhere)


def test_a_network_whose_weight_is_zero_has_no_spectral_margin_and_says_so(data) -> None:
    net = nn.Linear(6, 3).double()
    nn.init.zeros_(net.weight)
    with pytest.raises(la.SpecError, match="'weight' is zero"):
        sharpness.spectral_margin(la.Objective(net, data, F.cross_entropy))


def test_the_docs_table_says_of_each_measure_what_its_definition_says() -> None:
    text = (Path(__file__).parents[2] / "docs" / "explanation" / "flatness.md").read_text()
    for name, what in sharpness.DEFINITIONS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[2:-1]]
        assert cells == [what.formula, what.source, what.cost, ", ".join(what.invariant_to) or "nothing", what.flatter]


def test_long_names_of_models_become_numbers_with_a_key(several) -> None:
    found = sharpness.table({f"a network called {name}": one for name, one in several.items()}, ["sam"])
    plot = found.plot()
    assert [word for _, word in plot.panels[0].x_ticks] == ["1", "2", "3", "4"]
    assert "1 a network called net 0, 2 a network" in " ".join(plot.sentences)
    assert [word for _, word in sharpness.table(several, ["sam"]).plot().panels[0].x_ticks] == list(several)
