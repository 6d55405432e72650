from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossatlas.errors import SpecError
from lossatlas.figure.levels import round_levels
from lossatlas.figure.ranges import Range, choose

GRID = np.linspace(-1, 1, 41)
RADIUS = np.hypot(GRID[:, None], GRID[None, :])


def test_a_bowl_within_two_decades_is_shown_whole_and_on_a_linear_scale() -> None:
    shown = choose(RADIUS**2 + 0.1)
    assert (shown.scale, shown.low, shown.clipped, shown.above) == ("linear", 0.1, None, 0.0)
    assert shown.high == pytest.approx(2.1)


SMOOTH = {
    "bowl": GRID**2 + 0.5,
    "barrier": 2 * np.exp(-((GRID / 0.2) ** 2)) + 0.1,
    "barrier of one point": np.where(GRID == 0, 2.1, 0.1),
    "barrier of one point between uneven ends": np.where(np.abs(GRID) < 0.01, 2.1, 0.1 + 0.005 * (GRID > 0)),
    "coarse barrier": 2 * np.exp(-((np.linspace(-1, 1, 11) / 0.2) ** 2)) + 0.1,
    "step": 5.32 + 1e-3 * np.exp(-((GRID / 0.3) ** 2)) + 0.8 * (np.abs(GRID) > 0.6),
    "narrow peak": 0.1 + 0.89 * np.exp(-((GRID / 0.12) ** 2)),
    "narrow range": np.linspace(1.78, 2.06, 41),
    "narrow valley": 2.3 - 2.2 * np.exp(-((GRID / 0.05) ** 2)),
}


@pytest.mark.parametrize("values", SMOOTH.values(), ids=SMOOTH.keys())
def test_what_lies_within_two_decades_is_shown_whole(values: np.ndarray) -> None:
    shown = choose(values)
    assert (shown.scale, shown.low, shown.high) == ("linear", values.min(), values.max())


@given(
    low=st.floats(0.01, 10),
    span=st.floats(0.1, 5),
    outlier=st.floats(1e3, 1e12),
    share=st.floats(0.0, 0.6),
    seed=st.integers(0, 99),
)
def test_only_a_minority_far_above_a_gap_is_ever_cut(
    low: float, span: float, outlier: float, share: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    values = low + span * generator.uniform(size=200)
    values[: int(share * 200)] = outlier * generator.uniform(0.001, 1, size=int(share * 200))
    shown = choose(values)
    cut, left = values[values > shown.high], values[values <= shown.high]
    assert len(cut) < len(left)
    if len(cut):
        assert cut.min() - left.max() >= 0.5 * np.ptp(left)
        assert (shown.clipped, shown.above) == (shown.high, len(cut) / 200)


@given(ratio=st.floats(1.5, 1e5), low=st.floats(1e-6, 1e3))
def test_the_logarithm_is_taken_beyond_two_decades_and_not_before(ratio: float, low: float) -> None:
    values = low * ratio ** np.linspace(0, 1, 50)
    assert choose(values).scale == ("log" if values[-1] / values[0] > 100 else "linear")


def test_a_logarithm_is_judged_by_what_is_shown() -> None:
    assert choose(np.append(np.linspace(1, 9, 60), 1e8)).scale == "linear"
    assert choose(np.append(np.geomspace(0.01, 9, 60), 1e8)).scale == "log"


def test_of_several_each_is_shown_as_it_would_be_alone() -> None:
    trained, untrained = GRID**2 + 0.2, np.full(41, 500.0) + GRID
    for few in (untrained[:5], untrained):
        shown = choose([trained, trained + 0.1, few])
        assert (shown.low, shown.clipped) == (trained.min(), None)
        assert shown.high == few.max()
    assert choose(np.concatenate([trained, trained + 0.1, untrained])).clipped is not None


def test_both_ends_may_be_given_by_hand() -> None:
    shown = choose(RADIUS**2 + 0.1, vmin=0.0, vmax=1.5)
    assert (shown.low, shown.high, shown.clipped, shown.floored) == (0.0, 1.5, 1.5, None)
    shown = choose(RADIUS**2 + 0.1, vmin=0.5, vmax=40.0)
    assert (shown.low, shown.high, shown.clipped, shown.floored) == (0.5, 40.0, None, 0.5)
    assert shown.below == np.mean(RADIUS**2 + 0.1 < 0.5)
    assert choose(RADIUS**2, scale="log", vmin=1e-3).scale == "log"


def test_an_end_beyond_all_values_is_refused() -> None:
    with pytest.raises(SpecError, match=r"vmax=0\.05 is not above the smallest value 0\.1; choose a larger"):
        choose(RADIUS**2 + 0.1, vmax=0.05)
    with pytest.raises(SpecError, match=r"vmin=3\.0 is not below the largest value 2\.1; choose a smaller"):
        choose(RADIUS**2 + 0.1, vmin=3.0)


@pytest.mark.parametrize("scale", ["auto", "linear", "log"])
@pytest.mark.parametrize("corner", [0.9, 1.2])
def test_a_cliff_still_shows_its_valley(scale: str, corner: float) -> None:
    values = np.where(corner < RADIUS, 1e10, RADIUS**2 + 0.1)
    shown = choose(values, scale=scale)  # type: ignore[arg-type]
    valley = shown.heights(np.sort(values[values < 1e10]))
    bottom, top = shown.limits
    assert (valley[-1] - valley[0]) / (top - bottom) > 0.5
    assert shown.clipped == shown.high < 10
    assert shown.above == pytest.approx(np.mean(values == 1e10))


def test_a_plane_that_blew_up_on_most_of_its_area_is_not_cut_but_gets_a_logarithm() -> None:
    values = np.where(RADIUS > 0.6, 10 ** (10 * RADIUS), RADIUS**2 + 0.1)
    shown = choose(values)
    assert np.mean(RADIUS > 0.6) > 0.5
    assert (shown.scale, shown.clipped) == ("log", None)


def test_signs_over_many_decades_get_a_symmetric_logarithm_unasked() -> None:
    assert choose(np.sign(GRID) * 10 ** (8 * np.abs(GRID))).scale == "symlog"
    assert choose(GRID).scale == "linear"


def test_a_narrow_valley_in_a_plateau_is_not_cut_away() -> None:
    shown = choose(np.where(RADIUS < 0.2, 10 * RADIUS, 2.3 + 0.01 * RADIUS))
    assert shown.low == 0.0
    assert shown.floored is None
    assert shown.clipped is None


def test_an_error_that_is_mostly_zero_is_not_clipped() -> None:
    shown = choose(np.where(RADIUS > 1.2, 0.9, 0.0))
    assert (shown.low, shown.high, shown.clipped) == (0.0, 0.9, None)


def test_values_over_many_decades_get_a_logarithm_unasked() -> None:
    assert choose(np.exp(10 * RADIUS)).scale == "log"


def test_no_logarithm_is_taken_of_zero_and_the_reason_is_given() -> None:
    shown = choose(RADIUS**2, scale="log")
    assert RADIUS.min() == 0
    assert shown.scale == "symlog"
    assert "no logarithm" in shown.why
    heights = shown.heights(np.array([0.0, 1.0, 2.0]))
    c = shown.linear_below
    assert heights == pytest.approx([0.0, math.log10(1 + 1 / c), math.log10(1 + 2 / c)])


def test_symlog_is_odd_so_that_signs_are_told_apart() -> None:
    shown = choose(np.sign(GRID) * 10 ** (8 * np.abs(GRID)), scale="log")
    assert shown.scale == "symlog"
    assert shown.heights(np.array([-50.0])) == pytest.approx(-shown.heights(np.array([50.0])))


def test_a_constant_field_has_room_around_it() -> None:
    for value in (0.7, 0.0, -3.0):
        shown = choose(np.full(9, value))
        assert shown.low < value < shown.high
        assert shown.levels == (value,)


def test_nothing_finite_gives_an_empty_range_of_one() -> None:
    assert choose(np.array([])).limits == (0.0, 1.0)


def test_a_clip_below_all_values_is_refused() -> None:
    with pytest.raises(SpecError, match=r"clip=0\.05 is not above the smallest value 0\.1.*2\.1.*'auto'"):
        choose(RADIUS**2 + 0.1, clip=0.05)


def test_a_clip_counts_the_cells_above_it() -> None:
    shown = choose(np.arange(1.0, 101.0), clip=75.0, scale="linear")
    assert (shown.high, shown.clipped, shown.above) == (75.0, 75.0, 0.25)


def test_a_clip_above_all_values_changes_nothing() -> None:
    assert choose(np.arange(1.0, 101.0), clip=500.0, scale="linear").clipped is None


def test_a_diverging_range_is_symmetric_around_zero() -> None:
    shown = choose(np.linspace(-1, 3, 50), centred=True)
    assert (shown.low, shown.high) == (-3.0, 3.0)


def test_heights_keep_nan_and_clip_infinity() -> None:
    shown = Range(scale="linear", low=0.0, high=2.0, levels=())
    assert np.array_equal(shown.heights(np.array([np.nan, np.inf, -np.inf])), [np.nan, 2.0, 0.0], equal_nan=True)


@given(
    low=st.floats(-1e3, 1e3),
    span=st.floats(1e-3, 1e9),
    count=st.integers(3, 30),
)
def test_linear_levels_are_round_even_and_inside(low: float, span: float, count: int) -> None:
    high = low + span
    levels = round_levels(low, high, count)
    assert all(low < level < high for level in levels)
    assert len(levels) <= 2 * count
    steps = np.diff(levels)
    if len(steps) > 1:
        step = float(np.median(steps))
        mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
        assert min(abs(mantissa - good) for good in (1, 2, 5)) < 1e-3


@given(low=st.floats(1e-12, 1.0), decades=st.floats(2.0, 20.0), count=st.integers(4, 30))
def test_logarithmic_levels_are_one_two_three_or_five_times_a_power(low: float, decades: float, count: int) -> None:
    high = low * 10**decades
    levels = round_levels(low, high, count, scale="log")
    assert all(low < level < high for level in levels)
    assert len(levels) <= 2 * count
    assert {f"{level:.6e}"[0] for level in levels} <= set("1235")


@given(low=st.floats(1e-3, 10.0), decades=st.floats(0.3, 1.99), count=st.integers(6, 15))
def test_a_short_logarithmic_scale_has_levels_between_one_two_and_five(low: float, decades: float, count: int) -> None:
    levels = round_levels(low, low * 10**decades, count, scale="log")
    assert count / 2 <= len(levels) <= 2 * count
    assert all(low < level < low * 10**decades for level in levels)


def test_a_map_from_one_and_a_half_to_seven_and_a_half_has_many_contours() -> None:
    assert choose(np.linspace(1.5, 7.6, 50), scale="log").levels == (2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0)


def test_levels_far_from_zero_keep_labels_that_differ() -> None:
    _, labels = choose(np.linspace(10000.0, 10000.5, 50), scale="linear", levels=5).ticks()
    assert labels == ("10000.1", "10000.2", "10000.3", "10000.4")


def test_ticks_are_thinned_where_levels_are_many() -> None:
    shown = choose(10 ** np.linspace(-3, 2, 200), scale="log", levels=20)
    assert len(shown.levels) > 12
    heights, labels = shown.ticks(6)
    assert 2 <= len(labels) <= 6
    assert len(heights) == len(labels)
    assert heights == pytest.approx([math.log10(float(label)) for label in labels])


@pytest.mark.parametrize(("scale", "top"), [("linear", 8.0), ("log", 3.0)])
def test_heights_beyond_the_clip_are_kept_as_far_as_asked(scale: str, top: float) -> None:
    shown = choose(np.array([1.0, 10.0, 1e9]), scale=scale, clip=10.0 if scale == "log" else 4.5)  # type: ignore[arg-type]
    high = shown.heights(np.array([np.inf]), beyond=1.0 if scale == "linear" else 2.0)
    assert shown.heights(np.array([np.inf]))[0] == shown.limits[1]
    assert high[0] == pytest.approx(top)
