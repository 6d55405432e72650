"""Are the measures of ruggedness 0 for whatever is convex, what closed forms say, and do they tell chaos from a bowl?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossatlas import SpecError
from lossatlas.field.ruggedness import MEASURES, PROVES, Ruggedness, Spread, over_seeds, ruggedness
from lossatlas.results.landscape import About, Axis, build


def landscape(loss, *coordinates, dtype="float64", centre=None):
    axes = {
        name: Axis(coordinates=np.asarray(c, float), length=1.0) for name, c in zip("xyz", coordinates, strict=False)
    }
    return build(axes, {"loss": np.asarray(loss, float)}, about=About(dtype=dtype, centre=centre or {}))


def convex(rng, points, dtype):
    """A random convex function with its minimum at 0, at points [n, rank], every operation rounded to a format."""
    points = points.astype(dtype)
    matrix = (10.0 ** rng.uniform(-3, 3) * rng.normal(size=(points.shape[1], 4))).astype(dtype)
    projected = points @ matrix
    kinds = [
        np.abs(projected).sum(axis=1),
        (projected**2).sum(axis=1),
        np.maximum(np.abs(projected).max(axis=1) - dtype(rng.uniform(0, 1)), 0),
        np.logaddexp(projected, -projected).mean(axis=1).astype(dtype),
        (projected**2).sum(axis=1) ** 2,
    ]
    return (kinds[rng.integers(len(kinds))] + dtype(rng.choice([0.0, 1e-3, 1.0]))).astype(dtype)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_measure_is_exactly_0_for_a_convex_function_on_any_grid(seed):
    """Narrow valleys at every angle, kinks, plateaus, in double and single precision, whatever the grid."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    dtype = (np.float64, np.float32)[rng.integers(2)]
    radius = 10.0 ** rng.uniform(-6, 1)
    sizes = [int(rng.integers(3, (60, 21, 6)[rank - 1])) for _ in range(rank)]
    coordinates = [np.linspace(-radius, radius, n) for n in sizes]
    points = np.stack([part.ravel() for part in np.meshgrid(*coordinates, indexing="ij")], axis=1)
    loss = convex(rng, points, dtype).reshape(sizes)
    found = ruggedness(landscape(loss, *coordinates, dtype=np.dtype(dtype).name))
    assert (found.descent, found.behind, found.minima, found.persistence) == (0.0, 0.0, 0, 0.0)


def test_the_minimum_of_a_convex_function_may_lie_elsewhere():
    x = np.linspace(-1, 1, 21)
    found = ruggedness(landscape((x[:, None] - 0.5) ** 2 + np.abs(x + 0.3), x, x))
    assert (found.descent, found.behind, found.minima) == (0.0, 0.0, 0)


def test_a_line_has_the_descent_of_its_closed_form():
    """1 - cos(2 pi x) from 0 to 1.5 rises by 2, falls by 2, rises by 2: a third falls, on both sides."""
    x = np.linspace(-1.5, 1.5, 301)
    found = ruggedness(landscape(1 - np.cos(2 * np.pi * x), x))
    assert found.descent == pytest.approx(1 / 3, abs=1e-4)
    assert found.minima == 2  # at -1 and 1; the lowest is at 0
    assert found.persistence == pytest.approx(4.0, abs=1e-3)
    # lower than the ridge at 0.5: all between 0.5 and 1.5, of all but the two cells next to the centre
    assert found.behind == pytest.approx(2 / 3, abs=0.02)


def test_wells_are_counted_as_they_were_made():
    x = np.linspace(-3, 3, 61)
    wells = [(1.5, 1.5, 0.7), (-1.5, 1.2, 0.5), (1.2, -1.8, 0.3)]
    field = 0.05 * (x[:, None] ** 2 + x**2)
    for a, b, depth in wells:
        field = field - depth * np.exp(-((x[:, None] - a) ** 2 + (x - b) ** 2) / 0.1)
    field = field - 1.0 * np.exp(-(x[:, None] ** 2 + x**2) / 0.1)
    found = ruggedness(landscape(field, x, x))
    assert found.minima == len(wells)
    assert 1.5 - 3 * 0.25 < found.persistence < 1.5  # the bowl lowers each pass by less than a quarter


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_increasing_transformations_of_the_loss_change_no_count(seed):
    rng = np.random.default_rng(seed)
    x = np.linspace(-1, 1, 21)
    field = x[:, None] ** 2 + x**2 + 0.3 * rng.random((21, 21)) + 0.1
    plain = ruggedness(landscape(field, x, x))
    for transformed in (np.log(field), field**3, np.exp(field), 5 * field - 2):
        other = ruggedness(landscape(transformed, x, x))
        assert (other.behind, other.minima) == (plain.behind, plain.minima)
    assert ruggedness(landscape(5 * field - 2, x, x)).descent == pytest.approx(plain.descent)


def test_chaos_and_a_bowl_are_told_apart():
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, 25)
    bowl = x[:, None] ** 2 + x**2
    level = np.tanh(3 * bowl)  # bends down over most of its area, and is no less smooth for it
    rough = bowl + 0.5 * rng.random(bowl.shape)
    smooth, rugged = ruggedness(landscape(level, x, x)), ruggedness(landscape(rough, x, x))
    assert (smooth.descent, smooth.behind, smooth.minima) == (0.0, 0.0, 0)
    assert rugged.descent > 0.05
    assert rugged.behind > 0.1
    assert rugged.minima > 10


def test_a_grid_without_its_centre_and_cells_without_a_value_are_looked_at_as_they_are():
    x = np.linspace(-1, 1, 20)  # the centre lies between points
    found = ruggedness(landscape(np.cos(8 * x[:, None]) * np.cos(8 * x), x, x))
    assert found.descent > 0.3
    beside = landscape(np.cos(8 * (x + 0.013)), x + 0.013)
    assert np.isnan(ruggedness(beside).descent)  # no ray from the centre meets its points
    y = np.linspace(-1, 1, 21)
    holed = np.cos(8 * y[:, None]) * np.cos(8 * y)
    holed[3, 4] = np.nan
    found = ruggedness(landscape(holed, y, y))
    assert found.minima == -1
    assert np.isnan(found.persistence)
    assert found.descent > 0.2
    assert "minima" not in found.words


def test_interpolated_cells_prove_nothing():
    x = np.linspace(-1, 1, 21)
    field = landscape(x[:, None] ** 2 + x**2, x, x)
    field["loss"].values[5, 5] = 9.0
    assert ruggedness(field).descent > 0
    field["status"].values[5, 5] = 5
    found = ruggedness(field)
    assert (found.descent, found.behind, found.minima) == (0.0, 0.0, 0)


def test_seeds_give_an_interval_by_student():
    x = np.linspace(-1.5, 1.5, 61)
    runs = [landscape(1 - np.cos(2 * np.pi * x) + a * x**2, x) for a in (0.0, 1.0, 2.0)]
    found = over_seeds(runs)
    assert set(found) == set(MEASURES) == set(PROVES)
    values = [ruggedness(run).descent for run in runs]
    from scipy import stats

    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert found["descent"].mean == pytest.approx(np.mean(values))
    assert found["descent"].low == pytest.approx(max(low, 0))
    assert found["descent"].high == pytest.approx(high)
    with pytest.raises(SpecError, match="landscapes is empty"):
        over_seeds([])


def test_an_interval_is_over_the_seeds_that_have_a_value():
    spread = {"values": (0.1, -1.0, 0.3, np.nan), "mean": 0.2, "low": 0.0, "high": 1.0}
    assert Spread(measure="descent", **spread).words == "20 % (0 % to 100 %, over 2 of 4 seeds)"
    spread |= {"values": (0.2, np.nan), "low": np.nan, "high": np.nan}
    assert Spread(measure="descent", **spread).words == "20 % (over 1 of 2 seeds)"
    spread["values"] = (0.2,)
    assert Spread(measure="descent", **spread).words == "20 %"


def test_a_slice_beside_the_centre_has_none():
    x = np.linspace(-1, 1, 11)
    volume = landscape(x[:, None, None] ** 2 + x[:, None] ** 2 + (x - 1) ** 2, x, x, x, centre={"loss": 1.0})
    beside = volume.isel(z=8)
    assert np.isnan(ruggedness(beside).descent)
    assert ruggedness(volume.isel(z=5)).descent == 0


@pytest.mark.parametrize(
    ("minima", "words"),
    [(0, "no other minimum"), (1, "1 other minimum, 0.5 deep"), (3, "3 other minima, 0.5 deep in all")],
)
def test_the_sentence_is_one_that_a_journal_would_print(minima: int, words: str) -> None:
    found = Ruggedness(descent=0.0, behind=0.0, minima=minima, persistence=0.5 * bool(minima), cells=9)
    assert found.words.endswith(f"lies behind a ridge; {words} (a convex loss has none of these).")
