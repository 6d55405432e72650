"""Are eigenvalues found as often as they are there, and is nothing more said than was found?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.curvature.products import Matrix
from lossatlas.curvature.spectrum import ends_of
from lossatlas.field.convexity import centre_words


class Quadratic(nn.Module):
    """Half of a quadratic form, whose Hessian is any matrix."""

    def __init__(self, hessian: torch.Tensor) -> None:
        super().__init__()
        self.point = nn.Parameter(torch.zeros(len(hessian), dtype=hessian.dtype))
        self.hessian = hessian

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (0.5 * self.point @ self.hessian @ self.point).expand(len(x))


def objective_of(values, seed: int = 0, dtype=torch.float64) -> la.Objective:
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64))[0]
    hessian = (basis * torch.tensor(np.asarray(values, float))) @ basis.T
    model = Quadratic(((hessian + hessian.T) / 2).to(dtype))
    return la.Objective(model, (torch.zeros(2, 1), torch.zeros(2)), loss=lambda found, y: found.mean())


def repeated(*pairs) -> list[float]:
    return [value for value, times in pairs for _ in range(times)]


SPECTRA = {
    "tenfold": repeated(*((float(v), 10) for v in np.linspace(1, 9, 20))),
    "double ends": [*repeated((-3, 2), (7, 2)), *np.linspace(-1, 4, 100)],
    "triple largest": [*repeated((7, 3)), *np.linspace(-1, 6.5, 100)],
    "a cluster at the top": [5.0, 5.001, 5.002, 5.003, *np.linspace(-2, 4, 100)],
    "a cluster below": [-5.0, -4.999, -4.998, *np.linspace(-2, 4, 100)],
    "many zeros": [*repeated((0, 90)), *np.linspace(1, 5, 30)],
    "simple": list(np.linspace(-4, 9, 120)),
    "one value": repeated((3, 60)),
    "two values": repeated((-2, 50), (3, 50)),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_ends_come_with_their_multiplicity_or_are_not_called_converged(name, k, seed):
    true = np.sort(SPECTRA[name])
    found = la.eigenvalues(objective_of(true, seed), k=k, seed=seed)
    expected = np.concatenate([true[:k], true[-k:]])
    near = np.abs(found.values - expected) <= 2e-3 * np.abs(true).max()
    assert (near | ~found.converged).all()
    assert near.all(), "within its budget it finds all of these"
    assert found.complete


def test_vectors_of_one_eigenvalue_stand_at_right_angles():
    found = la.eigenvalues(objective_of(SPECTRA["tenfold"]), k=3, tolerance=1e-6)
    rows = torch.stack([vector["point"] for vector in found.vectors])
    np.testing.assert_allclose(rows @ rows.T, np.eye(6), atol=1e-8)
    np.testing.assert_allclose(found.values, [1, 1, 1, 9, 9, 9], rtol=1e-9)


def test_where_the_search_is_cut_off_the_inner_ones_are_not_called_converged():
    matrix = Matrix(objective_of(SPECTRA["tenfold"]))
    found = ends_of(matrix, k=3, most=22)
    assert not found.complete
    assert not found.converged[1:-1].any()
    assert any("passed over" in caveat for caveat in found.caveats)


@pytest.mark.parametrize(("values", "at"), [([0.0] * 200, 0.0), ([3.0] * 200, 3.0), ([-0.5] * 200, -0.5)])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("k", [1, 3, 9])
def test_a_single_eigenvalue_of_a_large_matrix_is_found_as_often_as_asked(values, at, seed, k):
    found = la.eigenvalues(objective_of(values), k=k, seed=seed)
    np.testing.assert_allclose(found.values, [at] * 2 * k, atol=1e-9)
    assert found.converged.all()
    assert found.complete


def test_fewer_products_than_eigenvalues_asked_for_are_told_apart_from_a_result():
    found = la.eigenvalues(objective_of(np.linspace(0, 3, 300)), k=9, most=5)
    assert len(found.values) < 18
    assert not found.complete
    assert not found.converged[1:-1].any()


def test_a_linear_layer_repeats_each_eigenvalue_for_every_output():
    torch.manual_seed(0)
    x, y = torch.randn(300, 40), torch.randn(300, 10)
    objective = la.Objective(nn.Linear(40, 10, bias=False), (x, y), F.mse_loss)
    true = np.linalg.eigvalsh((2 / 3000 * x.double().T @ x.double()).numpy())
    found = la.eigenvalues(objective, k=3)
    np.testing.assert_allclose(found.values[-3:], np.full(3, true[-1]), rtol=1e-3)
    assert found.converged.all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_zeros_are_none_below_and_never_up_in_every_direction(dtype):
    torch.manual_seed(0)
    objective = la.Objective(
        nn.Linear(60, 3).to(dtype), (torch.randn(30, 60, dtype=dtype), torch.randn(30, 3, dtype=dtype)), F.mse_loss
    )
    found = la.eigenvalues(objective)
    words = centre_words(float(found.values[0]), False, float(found.errors[0]))
    assert "No eigenvalue below −" in words
    assert "every direction" not in words
    assert "convex" not in words
    assert any(caveat.startswith("No eigenvalue below −") for caveat in found.caveats)


def test_a_clearly_negative_eigenvalue_is_still_said():
    found = la.eigenvalues(objective_of([-3.0, *np.linspace(0, 4, 60)]))
    assert "not convex" in centre_words(float(found.values[0]), False, float(found.errors[0]))
    assert "every direction" not in centre_words(0.5, False)


@pytest.mark.parametrize(("values", "at"), [([0.0] * 40, 0.0), ([3.0] * 40, 3.0), ([-0.02] * 40, -0.02)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_single_eigenvalue_is_a_line_whose_integral_is_one(values, at, dtype, tmp_path):
    density = la.spectral_density(objective_of(values, dtype=dtype))
    assert np.isfinite(density.density).all()
    assert np.isfinite(density.standard_error).all()
    assert np.trapezoid(density.density, density.eigenvalues) == pytest.approx(1, abs=1e-3)
    assert density.eigenvalues[density.density.argmax()] == pytest.approx(at, abs=1e-3 * (abs(at) or 1))
    assert density.single
    assert any("all eigenvalues that were seen are" in series.label for series in density.plot().panels[0].series)
    assert la.draw(density, tmp_path / "density.svg").is_file()


def test_the_hessian_of_a_linear_loss_is_a_line_at_zero():
    objective = la.Objective(
        nn.Linear(2, 1), (torch.randn(20, 2), torch.randn(20, 1)), loss=lambda o, t: (o - t).mean()
    )
    density = la.spectral_density(objective)
    assert 1e-7 < density.width <= 1e-2
    assert not np.isinf(density.standard_error).any()
    assert np.trapezoid(density.density, density.eigenvalues) == pytest.approx(1, abs=1e-3)


def test_a_spread_spectrum_is_no_line():
    assert not la.spectral_density(objective_of([1.0, *[0.0] * 40])).single


@pytest.mark.parametrize("how", ["derivatives", "differences"])
@pytest.mark.parametrize("seed", range(4))
def test_rounding_makes_no_eigenvalue_of_a_convex_loss_negative(seed, how):
    """Of softmax regression the true one is 0; in float32 it comes out at a tenth of a spacing below."""
    torch.manual_seed(seed)
    objective = la.Objective(nn.Linear(4, 3), (torch.randn(30, 4), torch.randint(0, 3, (30,))), F.cross_entropy)
    found = la.eigenvalues(objective, how=how)
    low, error = float(found.values[0]), float(found.errors[0])
    assert abs(low) <= error <= 1e-2 * found.values[-1]
    assert found.ratio == 0
    assert "λmin none below −" in found.words
    assert found.words.endswith("; no direction that bends down was found.")
    assert "not convex" not in centre_words(low, proves=False, error=error)


class Cast(nn.Linear):
    """Computes in bfloat16, with weights in float32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x.bfloat16(), self.weight.bfloat16(), self.bias.bfloat16()).float()


def in_autocast(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return model(batch[0]).float(), batch[1]


@pytest.mark.parametrize(("layer", "forward"), [(Cast, None), (nn.Linear, in_autocast)])
def test_the_shortest_format_within_a_loss_counts(layer, forward):
    for seed in range(4):
        torch.manual_seed(seed)
        data = torch.randn(30, 4), torch.randint(0, 3, (30,))
        found = la.eigenvalues(la.Objective(layer(4, 3), data, F.cross_entropy, forward=forward))
        low, error = float(found.values[0]), float(found.errors[0])
        assert "not convex" not in centre_words(low, proves=False, error=error)
        assert found.rounding == pytest.approx(8 * 2**-7 * found.values[-1])
        assert found.ratio == 0


def test_a_ratio_is_only_said_where_there_are_two_signs():
    torch.manual_seed(0)
    data = torch.randn(30, 4), torch.randn(30, 1)

    def hill(outputs, targets):
        return -F.mse_loss(outputs, targets)

    up, down = (la.eigenvalues(la.Objective(nn.Linear(4, 1), data, loss)) for loss in (F.mse_loss, hill))
    assert down.values == pytest.approx(-up.values[::-1], rel=1e-4)
    assert up.words.endswith("no direction that bends down was found.")
    assert down.words.endswith("no direction that bends up was found.")
