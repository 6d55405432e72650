"""Is the factor of stated errors the quantile that held-out points needed, corrected by what random points say?"""

from __future__ import annotations

import numpy as np
import pytest

from lossatlas.sampling import factor

RANDOM = np.random.default_rng(5)
NEEDED = np.abs(RANDOM.normal(size=100))
AREA = np.full(100, 3.0)


def half(scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Points of which the first half was drawn at random, and needed so much more than the same of the others."""
    drawn = np.arange(100) < 50
    return np.where(drawn, scale, 1.0) * np.concatenate([NEEDED[:50]] * 2), drawn


def test_points_that_are_all_drawn_at_random_need_what_numpy_says_and_care():
    found = factor.calibrated(NEEDED, AREA, np.ones(100, bool), 0.0, 0.95)
    assert found == pytest.approx(factor.CAREFUL * np.quantile(NEEDED, 0.95, method="inverted_cdf"))


def test_random_points_that_need_more_raise_the_factor_and_those_that_need_less_lower_it():
    def told(scale):
        needed, drawn = half(scale)
        return factor.calibrated(needed, AREA, drawn, 0.0, 0.95) / factor.quantile(needed, AREA, 0.95) / factor.CAREFUL

    assert told(1.0) == pytest.approx(1.0)
    typical = 4.0 / (0.5 + 0.5 * 2.0) ** 2  # of roots: theirs 2, those of all 1.5
    assert told(4.0) == pytest.approx(typical ** (50 / 110))
    assert told(0.0) == pytest.approx(factor.LEAST ** (50 / 110))


def test_the_smoother_a_surface_the_smaller_the_factor_and_no_roughness_raises_it():
    found = [factor.calibrated(NEEDED, AREA, np.ones(100, bool), smooth, 0.95) for smooth in (-1.0, 0.0, 0.5, 1.5)]
    assert found[0] == found[1] > found[2] > found[3]
    assert found[3] / found[1] == pytest.approx(np.exp(-1.5 * factor.SMALLER))


@pytest.mark.parametrize(("power", "told"), [(0.0, 0.0), (0.7, 0.7), (2.0, 2.0), (4.0, factor.SMOOTHEST)])
def test_the_growth_of_errors_is_the_power_of_the_hole(power, told):
    sizes = np.stack([np.full(100, 0.2), np.full(100, 0.7)])
    assert factor.growth_far(NEEDED * sizes**power, sizes, AREA) == pytest.approx(told, abs=1e-6)


@pytest.mark.parametrize(("power", "told"), [(0.0, 0.0), (2 / 3, 0.0), (0.75, 0.25), (1.0, 1.0), (2.4, 1.0)])
def test_only_errors_that_grow_as_those_of_a_surface_are_believed_to_fall_in_smaller_holes(power, told):
    assert factor.falls(power) == pytest.approx(told)
