"""Does the slice's own curvature agree with closed forms?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossatlas import SpecError
from lossatlas.field.convexity import negative_share, proof, share_below, slice_eigenvalues
from lossatlas.results.landscape import Axis, build


def field(function, *counts: int, low: float = -1, high: float = 1):
    coordinates = [np.linspace(low, high, n) for n in counts]
    axes = {name: Axis(coordinates=c, length=1.0) for name, c in zip("xyz", coordinates, strict=False)}
    return build(axes, {"loss": function(*np.meshgrid(*coordinates, indexing="ij"))})


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3))
def test_eigenvalues_of_a_quadratic_are_those_of_its_matrix(seed, rank):
    a = np.random.default_rng(seed).normal(size=(rank, rank))
    hessian = a + a.T
    surface = field(
        lambda *c: 0.5 * sum(hessian[i, j] * c[i] * c[j] for i in range(rank) for j in range(rank)), *(5, 6, 4)[:rank]
    )
    found = slice_eigenvalues(surface)
    assert found.shape == (*(3, 4, 2)[:rank], rank)
    np.testing.assert_allclose(found, np.broadcast_to(np.linalg.eigvalsh(hessian), found.shape), atol=1e-9)


def test_share_of_a_function_that_bends_down_on_a_known_part():
    """cos(x) has its second derivative -cos(x): negative where |x| < pi/2."""
    surface = field(lambda x: np.cos(x), 4001, low=-np.pi, high=np.pi)
    surface.attrs["dtype"] = "float64"
    assert negative_share(surface) == pytest.approx(0.5, abs=0.001)
    assert negative_share(field(lambda x, y: x**2 + y**2, 9, 9)) == 0
    assert negative_share(field(lambda x, y: x**2 - y**2, 9, 9)) == 1
    assert negative_share(field(lambda x, y: x**2 - 0.04 * y**2, 9, 9)) == 0
    assert negative_share(field(lambda x, y: x**2 - 0.04 * y**2, 9, 9), threshold=0.03) == 1


def test_cells_beside_a_hole_are_unknown_and_not_counted():
    surface = field(lambda x, y: x**2 - y**2, 9, 9)
    surface["loss"][4, 4] = np.nan
    assert np.isnan(slice_eigenvalues(surface)).any(axis=-1).sum() == 9
    assert negative_share(surface) == 1


def test_share_below_counts_holes_as_above():
    surface = field(lambda x, y: x + 0 * y, 5, 4)
    assert share_below(surface, 0.1) == 0.6
    surface["loss"][0, 0] = np.nan
    assert share_below(surface, 0.1) == pytest.approx(11 / 20)


def test_grids_without_second_differences_are_refused():
    with pytest.raises(SpecError, match="axis 'y' has 2 points; a second difference needs at least 3"):
        slice_eigenvalues(field(lambda x, y: x * y, 5, 2))
    uneven = build({"x": Axis(coordinates=np.array([0, 1, 3.0]), length=1.0)}, {"loss": np.zeros(3)})
    with pytest.raises(SpecError, match="axis 'x' has uneven steps"):
        slice_eigenvalues(uneven)
    with pytest.raises(SpecError, match="no cell has finite neighbours"):
        negative_share(field(lambda x: x * np.nan, 5))


def test_a_convex_function_is_never_proved_to_be_something_else():
    """Second differences across a coarse grid mix up directions: the Hessian of (x + y)^4 seems to bend down."""
    convex = (
        lambda x, y: (x + y) ** 4,
        lambda x, y: np.maximum(np.abs(x), np.abs(y)),
        lambda x, y: np.abs(x + 2 * y),
        lambda x, y: np.exp(3 * x - 2 * y),
        lambda x, y: (x - 0.7 * y) ** 6 + np.abs(y),
        lambda x, y: 1e4 + 0 * x,
    )
    for function in convex:
        for count in (3, 8, 21):
            found = proof(field(function, count, count))
            assert not found.proves
            assert set(found.shares.values()) == {0.0}
            assert found.words.startswith("This slice proves nothing")
    assert (slice_eigenvalues(field(convex[0], 8, 8)) < -0.1).any()


def test_the_words_say_what_the_thresholds_do():
    gentle = proof(field(lambda x, y: x**2 - 0.03 * y**2, 9, 9))
    assert gentle.proves
    assert gentle.shares == {0.01: 1.0, 0.05: 0.0, 0.2: 0.0}
    assert "100 % of its area bends down by more than 1 % of how it bends up" in gentle.words
    assert "(none by more than 5 %, none by more than 20 %)" in gentle.words
    assert "0 % of its area" not in gentle.words.replace("100 %", "")
    known = proof(field(lambda x, y: x**2 + y**2, 9, 9), lambda_min=-2.5)
    assert known.words.endswith("λmin = −2.5 at its centre: the loss is not convex all the same.")
    volume = proof(field(lambda x, y, z: x**2 + y**2 - z**2, 5, 5, 5))
    assert volume.proves
    assert volume.cells == 27


def test_rounding_near_a_loss_of_zero_proves_nothing():
    """A loss of nearly zero has the rounding of outputs that are not: in float32 some 1e-7 of what is elsewhere."""
    noise = np.random.default_rng(0).normal(size=(21, 21)) * 3e-7
    surface = field(lambda x, y: 1e-9 + 30 * np.maximum(np.hypot(x, y) - 0.5, 0) ** 2, 21, 21)
    surface["loss"].values += np.abs(noise)
    assert not proof(surface).proves
