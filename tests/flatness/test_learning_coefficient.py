"""Is λ̂ what theory says: regular minima, crossing valleys, deep linear networks; and is a bad chain refused?"""

from __future__ import annotations

import copy
import itertools
import math
import re

import numpy as np
import pytest
import scipy.integrate
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.draw import static
from lossatlas.errors import SpecError
from lossatlas.flatness.degeneracy import llc, scan
from lossatlas.flatness.degeneracy.chains import effective, mean_error, r_hat
from lossatlas.flatness.degeneracy.estimate import default_nbeta
from lossatlas.flatness.degeneracy.result import SURE, problems
from lossatlas.flatness.degeneracy.walk import Posterior

QUIET = {"progress": False}


def half(f, y):
    return (f - y).square().mean() / 2


def quadratic(curves, batch_size=1000, at=0.0) -> la.Objective:
    """L(w) = 1/2 Σ h_i w_i²."""
    d = len(curves)
    model = nn.Linear(d, 1, bias=False).double()
    nn.init.constant_(model.weight, at)
    x = torch.diag(torch.sqrt(torch.tensor(curves, dtype=torch.float64) * d))
    return la.Objective(model, (x, torch.zeros(d, 1).double()), half, batch_size=batch_size)


class Product(nn.Module):
    """The product of its weights, times the input."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(count, dtype=torch.float64))

    def forward(self, x):
        return self.w.prod() * x


def product(count=2) -> la.Objective:
    """L(w) = w1² w2² …"""
    return la.Objective(Product(count), (torch.ones(4, 1).double(), torch.zeros(4, 1).double()), F.mse_loss)


def near(found, expected, errors=4.0):
    return abs(found.raw - expected) < errors * found.error


@pytest.mark.parametrize("gamma", [1.0, 1000.0])  # the second one holds as much as the loss does
def test_at_a_regular_minimum_it_is_half_of_the_parameters_that_the_pull_leaves_to_the_loss(gamma):
    curves, nbeta = np.array([1.0, 4.0, 0.5, 2.0]), 1000.0
    found = llc(quadratic(curves), nbeta=nbeta, gamma=gamma, draws=400, burn=100, **QUIET).checked()
    assert near(found, 0.5 * np.sum(nbeta * curves / (nbeta * curves + gamma)))
    held = 0.5 * np.sum(gamma / (nbeta * curves + gamma))
    assert found.held == pytest.approx(held, rel=0.25)
    assert found.parameters == 4
    assert (found.trace.shape, found.burnt.shape) == ((4, 400), (4, 100))  # the burn-in does not count


def test_the_averaged_noise_is_exact_where_plain_sgld_is_too_large_by_as_much_as_theory_says():
    options = {"nbeta": 1000.0, "gamma": 1.0, "step": 1e-3, "draws": 500, "burn": 50, **QUIET}
    averaged, plain = (llc(quadratic([1.0] * 4), averaged=kind, **options) for kind in (True, False))
    assert near(averaged, 2.0 * 1000 / 1001)
    assert near(plain, 2.0 / (1 - 1.001 / 4))  # the variance of x ← (1 - εP/2) x + √ε ζ
    assert "above d/2" in {one.kind for one in plain.problems}


def exact_product(nbeta: float, gamma: float) -> float:
    """E[nβ w1² w2²] under exp(-nβ w1² w2² - γ/2 |w|²), w2 integrated in closed form."""

    def weight(w):
        return math.exp(-gamma * w * w / 2) / math.sqrt(2 * nbeta * w * w + gamma)

    total = scipy.integrate.quad(weight, 0, np.inf)[0]
    mean = scipy.integrate.quad(lambda w: weight(w) * nbeta * w * w / (2 * nbeta * w * w + gamma), 0, np.inf)[0]
    return mean / total


def test_two_crossing_valleys_have_less_than_one_half_at_finite_temperature_by_their_multiplicity():
    """λ = 1/2 and m = 2: the mean is 1/2 - 1/log(nβ) + …, which the integral gives exactly."""
    assert exact_product(1e3, 10.0) < exact_product(1e9, 10.0) < 0.5
    found = llc(product(), nbeta=1000.0, gamma=10.0, step=6e-4, draws=1600, burn=200, **QUIET).checked()
    assert near(found, exact_product(1000.0, 10.0))
    assert found.raw + SURE * found.error < found.parameters / 2


def aoyagi(widths, rank):
    """λ and m of a deep linear network whose product has a rank (Aoyagi 2024; Lau et al. 2023, theorem in section 4)."""
    spare = [width - rank for width in widths]
    for size in range(2, len(spare) + 1):
        for chosen in itertools.combinations(range(len(spare)), size):
            inside = [spare[i] for i in chosen]
            outside = [spare[i] for i in range(len(spare)) if i not in chosen]
            many, total = size - 1, sum(inside)
            if total < many * max(inside):
                continue
            if outside and not (max(inside) < min(outside) and total < many * min(outside)):
                continue
            rest = total - (math.ceil(total / many) - 1) * many
            value = (rank * (widths[0] + widths[-1]) - rank**2) / 2 + rest * (many - rest) / (4 * many)
            value += sum(a * b for a, b in itertools.combinations(inside, 2)) / 2
            value -= many * (many - 1) / 4 * (total / many) ** 2
            return value, rest * (many - rest) + 1
    raise AssertionError(widths)


def reduced_rank(h, k, n, r):
    """λ of two layers n → h → k whose product has rank r (Aoyagi and Watanabe 2005), the case without excess."""
    return (2 * (h + r) * (n + k) - (n - k) ** 2 - (h + r) ** 2 + ((n + k + h + r) % 2)) / 8


def test_the_formula_of_deep_networks_agrees_with_that_of_two_layers_and_with_products():
    for h, k, n, r in ((4, 4, 4, 1), (3, 4, 4, 2), (4, 4, 4, 2), (3, 3, 4, 1)):
        assert aoyagi((n, h, k), r)[0] == reduced_rank(h, k, n, r)
    assert aoyagi((1, 1, 1), 0) == (0.5, 2)
    assert aoyagi((1, 1, 1, 1), 0) == (0.5, 3)
    assert aoyagi((4, 4, 4), 4) == (8.0, 1)


def deep_linear(widths, rank) -> la.Objective:
    layers = [nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(widths)]
    net = nn.Sequential(*layers).double()
    with torch.no_grad():
        for layer in layers:
            layer.weight.zero_()
            layer.weight[range(rank), range(rank)] = 1.0
    x = torch.linalg.qr(torch.randn(60, widths[0], generator=torch.Generator().manual_seed(0)).double())[0] * 60**0.5
    return la.Objective(net, (x, net(x).detach()), lambda f, y: (f - y).square().sum(1).mean(), batch_size=60)


@pytest.mark.parametrize(("widths", "rank"), [((3, 2, 3), 2), ((4, 2, 4), 2)])
def test_deep_linear_networks_have_the_value_of_the_rank_formula(widths, rank):
    value, multiplicity = aoyagi(widths, rank)
    assert multiplicity == 1
    found = llc(deep_linear(widths, rank), nbeta=3e4, gamma=1.0, draws=700, burn=200, **QUIET).checked()
    assert abs(found.value - value) < 4 * found.error + 0.02 * value
    assert found.value + SURE * found.error < found.parameters / 2


def test_a_layer_alone_has_its_own_value_and_the_others_stay():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 1, bias=False)).double()
    x = torch.linalg.qr(torch.randn(30, 3).double())[0] * 30**0.5
    objective = la.Objective(net, (x, net(x).detach()), half, batch_size=30)
    found = llc(objective, only="0.*", nbeta=1e4, gamma=100.0, draws=500, burn=100, **QUIET).checked()
    assert found.parameters == 6
    assert near(found, 3 / 2)  # the second layer reads one direction of each row: rank 3 of 6
    last = llc(objective, only="1.*", nbeta=1e4, gamma=1.0, draws=500, burn=100, **QUIET).checked()
    assert near(last, 1.0)
    with pytest.raises(SpecError, match="matches none of the 2 tensors"):
        llc(objective, only="7.*", **QUIET)


def fitted():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2))
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(40, 3, generator=generator), torch.randint(2, (40,), generator=generator)
    return net.train(), data


def test_the_model_and_the_global_random_state_are_untouched_and_the_seed_gives_the_same_bits():
    net, data = fitted()
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    objective = la.Objective(net, data, F.cross_entropy, batch_size=15)
    first, again, other = (llc(objective, draws=50, seed=s, **QUIET) for s in (0, 0, 1))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert net.training
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(first.trace, again.trace)
    assert not np.array_equal(first.trace, other.trace)


def test_batches_of_any_size_give_the_value_of_all_data():
    """Uneven batches: drawn by their weight, and compared with their own loss at the point."""
    curves = [1.0, 1.0, 1.0, 1.0, 1.0]
    whole = llc(quadratic(curves), nbeta=300.0, gamma=3.0, draws=300, burn=50, gradient="full", **QUIET)
    parts = llc(quadratic(curves, batch_size=2), nbeta=300.0, gamma=3.0, step=4e-4, draws=600, burn=200, **QUIET)
    assert near(whole, 2.5 * 300 / 303)
    assert abs(parts.raw - whole.raw) < 5 * math.hypot(parts.error, whole.error)


def test_each_batch_is_compared_with_itself_at_the_point_and_drawn_as_often_as_it_has_samples():
    uneven = Posterior(quadratic([1.0, 4.0, 0.5, 2.0, 3.0], batch_size=2, at=1.0), None)
    assert len(set(uneven.floors.tolist())) == 3
    assert [uneven.slope(uneven.home, pair)[0] for pair in enumerate(uneven.objective.batches)] == [0.0] * 3
    away = uneven.home + torch.arange(5) / 10  # of all batches: the mean over samples, not over batches
    rise, slope = uneven.slope(away, None)
    curves = np.array([1.0, 4.0, 0.5, 2.0, 3.0])
    assert rise == pytest.approx(0.5 * np.sum(curves * (away.numpy() ** 2 - 1)), rel=1e-12)
    np.testing.assert_allclose(slope.numpy(), curves * away.numpy(), rtol=1e-12)
    drawn = [number for number, _ in itertools.islice(uneven.batches(np.random.default_rng(0)), 4000)]
    np.testing.assert_allclose(np.bincount(drawn) / 4000, [0.4, 0.4, 0.2], atol=0.03)


def test_a_point_above_others_raises_the_alarm_of_negative_values():
    found = llc(quadratic([1.0, 2.0], at=3.0), nbeta=100.0, gamma=1.0, draws=100, **QUIET)
    assert "negative" in {one.kind for one in found.problems}
    assert math.isnan(found.value)
    with pytest.raises(SpecError, match="is refused.*not a minimum of what is measured: train the network further"):
        found.checked()


def test_as_a_measure_it_is_the_same_number_at_the_point_that_is_given_and_refused_with_its_reasons():
    options = {"nbeta": 1000.0, "gamma": 1.0, "draws": 100}
    home, away = {"weight": torch.zeros(1, 2, dtype=torch.float64)}, quadratic([1.0, 2.0], at=3.0)
    measured = la.sharpness.llc(away, home, **options)
    found = llc(quadratic([1.0, 2.0]), **options, **QUIET)
    assert (measured.value, measured.spread) == (found.value, found.error)
    assert measured.gradients == found.gradients  # of all data: there is one batch
    assert "R-hat" in measured.note
    table = la.sharpness.table(
        {"at the minimum": quadratic([1.0, 2.0]), "away": away}, ["llc"], options={"llc": options}
    )
    assert table.results["llc"][1] is None
    assert "away: the estimate" in table.failures["llc"]
    assert "not a minimum" in table.failures["llc"]
    assert "llc" not in la.sharpness.table({"one": quadratic([1.0, 2.0])}).results


def test_a_step_that_is_too_large_is_refused_and_a_smaller_one_proposed():
    found = llc(quadratic([1.0, 2.0]), nbeta=1000.0, gamma=1.0, step=0.01, draws=200, **QUIET)
    assert [one.kind for one in found.problems] == ["diverged"]
    assert "step=0.0025" in found.problems[0].remedy
    assert found.words[0] == "Refused."


def test_chains_that_are_too_short_for_flat_directions_are_refused():
    found = llc(quadratic([1.0] + [2e-4] * 6), nbeta=1e5, gamma=0.1, draws=100, burn=0, **QUIET)
    assert "still moving" in {one.kind for one in found.problems}
    assert "walk longer (draws=400" in found.problems[-1].remedy


def test_overshooting_where_it_is_steep_is_refused_with_a_step_that_is_not():
    settings = {"step": 1e-3, "gamma": 1.0, "draws": 100, "burn": 50}
    trace = np.random.default_rng(0).normal(1.0, 0.1, size=(4, 500))
    (found,) = problems(trace, parameters=4, settings=settings, lost=[], stiffness=5e3)
    assert found.kind == "coarse"
    assert "step=0.0002" in found.remedy
    assert problems(trace, parameters=4, settings=settings, lost=[], stiffness=1e3) == ()


def test_on_a_regular_model_nothing_singular_is_claimed():
    found = scan(
        quadratic([1.0, 0.3]),
        vary=("gamma", "nbeta"),
        factors=(0.3, 1.0),
        nbeta=3000.0,
        gamma=1.0,
        draws=500,
        burn=60,
        **QUIET,
    )
    assert found.steady("gamma")
    assert abs(found.slope - 1.0) < 0.35  # from the temperatures alone
    for _, one in found.found["gamma"]:
        assert one.trusted
        assert one.raw + SURE * one.error > 1.0  # d/2 is not excluded
    assert "steady" in found.words[0]


def test_a_scan_shows_what_an_estimate_depends_on(tmp_path):
    refused = scan(
        quadratic([1.0, 2.0]), vary="step", factors=(1.0, 30.0), nbeta=1000.0, gamma=1.0, draws=150, burn=50, **QUIET
    )
    assert [one.trusted for _, one in refused.found["step"]] == [True, False]
    assert "1 of 2 refused" in refused.words[0]
    la.draw(refused, tmp_path / "a.png")
    with pytest.raises(SpecError, match="choose one of: step, nbeta, gamma"):
        scan(quadratic([1.0]), vary="temperature")


def test_the_chains_are_drawn_and_a_refusal_says_so(tmp_path):
    found = llc(quadratic([1.0, 2.0]), nbeta=1000.0, gamma=1.0, draws=150, burn=50, **QUIET)
    la.draw(found, tmp_path / "a.png")
    assert len(found.plot().panels[0].series) == 4
    assert math.isclose(found.error, mean_error(found.trace))


@pytest.mark.parametrize(
    ("objective", "options", "seen", "remedy"),
    [
        (quadratic([1.0, 2.0], at=3.0), {"nbeta": 100.0}, "lower loss", "Train the network further"),
        (quadratic([1.0, 2.0]), {"nbeta": 1000.0, "step": 0.01}, "left every neighbourhood", "step=0.0025"),
        (
            quadratic([1.0] + [2e-4] * 6),
            {"nbeta": 1e5, "gamma": 0.1, "burn": 0},
            "disagree|walking|R-hat",
            "Walk longer",
        ),
    ],
)
def test_below_the_picture_of_a_refusal_stand_its_reason_and_the_whole_remedy(objective, options, seen, remedy):
    found = llc(objective, **{"gamma": 1.0, "draws": 100, **options}, **QUIET)
    assert not found.trusted
    printed = [text.get_text() for text in static.figure(found.plot()).texts]
    (first,) = [words for words in printed if words.startswith("Refused")]
    assert re.search(seen, first)
    assert any(remedy in words for words in printed)
    assert not any("…" in words for words in printed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chains": 1}, "chains=1; expected at least 2"),
        ({"draws": 3}, "draws=3; expected at least 8"),
        ({"step": 0.0}, "step=0.0; expected a positive number"),
        ({"gamma": -1.0}, "gamma=-1.0; expected a positive number, or 0"),
        ({"gradient": "some"}, "choose one of: batch, full"),
        ({"only": "bias"}, "matches none"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(SpecError, match=words):
        llc(quadratic([1.0, 2.0]), **{"nbeta": 10.0, **options})


def test_what_cannot_be_walked_is_refused():
    with pytest.raises(SpecError, match="n / log n needs at least 3"):
        llc(quadratic([1.0, 2.0]))
    half_precision = la.Objective(
        nn.Linear(2, 1).bfloat16(), (torch.ones(4, 2).bfloat16(), torch.ones(4, 1).bfloat16()), F.mse_loss
    )
    with pytest.raises(SpecError, match="lost to rounding"):
        llc(half_precision)
    assert default_nbeta(1000) == pytest.approx(1000 / math.log(1000))


def correlated(rng, rho, shape):
    noise = rng.normal(size=shape)
    out = np.empty(shape)
    out[:, 0] = noise[:, 0]
    for t in range(1, shape[1]):
        out[:, t] = rho * out[:, t - 1] + math.sqrt(1 - rho**2) * noise[:, t]
    return out


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_effective_size_of_an_autoregression_is_the_closed_form(rho):
    draws = correlated(np.random.default_rng(1), rho, (4, 5000))
    expected = draws.size * (1 - rho) / (1 + rho)
    assert effective(draws) == pytest.approx(expected, rel=0.15)
    assert r_hat(draws) < 1.02


def test_chains_that_differ_only_in_their_spread_or_lie_apart_under_heavy_tails_disagree():
    rng = np.random.default_rng(2)
    wide = rng.normal(size=(4, 300)) * np.array([[1], [1], [1], [4.0]])
    apart = rng.standard_cauchy(size=(4, 300)) + np.array([[0], [0], [0], [3.0]])
    assert r_hat(wide) > 1.1  # seen by the distances from the median alone
    assert r_hat(apart) > 1.1  # seen by the ranks: the variance of a Cauchy distribution is infinite
    assert r_hat(rng.standard_cauchy(size=(4, 300))) < 1.02


@pytest.mark.parametrize("kind", ["same", "apart", "drift", "heavy", "wide"])
def test_diagnostics_agree_with_arviz_stats(kind):
    library = pytest.importorskip(
        "arviz_stats.base", reason="arviz-stats is not installed: the dependency group oracles"
    )
    rng = np.random.default_rng(2)
    draws = {
        "same": correlated(rng, 0.6, (4, 401)),
        "apart": rng.normal(size=(4, 300)) + np.array([[0], [0], [0], [1.0]]),
        "drift": rng.normal(size=(3, 300)) + np.linspace(0, 2, 300),
        "heavy": rng.standard_cauchy(size=(4, 250)),
        "wide": rng.normal(size=(4, 300)) * np.array([[1], [1], [1], [4.0]]),
    }[kind]
    theirs = library.array_stats
    assert r_hat(draws) == pytest.approx(float(theirs.rhat(draws, chain_axis=0, draw_axis=1)), rel=1e-9)
    assert effective(draws) == pytest.approx(
        float(theirs.ess(draws, chain_axis=0, draw_axis=1, method="bulk")), rel=0.03
    )
    mean = float(theirs.ess(draws, chain_axis=0, draw_axis=1, method="mean"))
    assert effective(draws, ranked=False) == pytest.approx(mean, rel=0.03)
