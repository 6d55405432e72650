"""Is the shape of a field right: functions whose minima and passes are known, another library, and fields with holes."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lossatlas as la
from lossatlas.field.basins import merge_tree
from lossatlas.field.stated import stated_error
from lossatlas.field.topology_plot import ALONE, EMPTY, leaf_order
from lossatlas.results.landscape import About, Axis, Status, build, with_uncertainty

gudhi = pytest.importorskip("gudhi")


def field(function, *bounds, status=None, **about):
    axes = [np.linspace(*bound) for bound in bounds]
    values = function(*np.meshgrid(*axes, indexing="ij"))
    named = {name: Axis(coordinates=axis, length=1.0) for name, axis in zip("xyz", axes)}
    return build(named, {"loss": values}, status, about=About(**{"dtype": "float64", **about}))


def himmelblau(x, y):
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def mueller_brown(x, y):
    """Müller and Brown 1979: the sum of four Gaussians."""
    parts = zip(
        (-200, -100, -170, 15),
        (-1, -1, -6.5, 0.7),
        (0, 0, 11, 0.6),
        (-10, -10, -6.5, 0.7),
        (1, 0, -0.5, -1),
        (0, 0.5, 1.5, 1),
    )
    return sum(A * np.exp(a * (x - p) ** 2 + b * (x - p) * (y - q) + c * (y - q) ** 2) for A, a, b, c, p, q in parts)


def places(points):
    return np.array([tuple(point.coordinates.values()) for point in points])


def test_himmelblau_has_four_equal_minima_four_saddles_and_a_hill() -> None:
    found = la.topology(field(himmelblau, (-5, 5, 401), (-5, 5, 401)))
    known = np.array([(3, 2), (-2.805118, 3.131312), (-3.779310, -3.283186), (3.584428, -1.848126)])
    assert len(found.minima) == 4
    for place in known:
        assert np.abs(places(found.minima) - place).max(axis=1).min() < 0.0126
    assert max(m.value for m in found.minima) < 0.01  # all four are zero
    saddles = np.array([(3.385154, 0.073852), (0.086678, 2.884255), (-3.073026, -0.081353), (-0.127961, -1.953715)])
    heights = (13.3119, 67.7192, 104.0152, 178.3372)
    np.testing.assert_allclose(places(found.saddles), saddles, atol=0.05)
    np.testing.assert_allclose([s.value for s in found.saddles], heights, rtol=2e-3)
    (hill,) = found.maxima
    np.testing.assert_allclose(tuple(hill.coordinates.values()), (-0.270845, -0.923039), atol=0.0126)
    assert hill.value == pytest.approx(181.6165, rel=1e-4)
    assert not any(point.boundary for point in (*found.minima, *found.saddles, *found.maxima))


def test_mueller_brown_has_three_minima_two_saddles_and_the_known_barriers() -> None:
    found = la.topology(field(mueller_brown, (-1.5, 1.2, 271), (-0.2, 2.0, 221), title="Müller–Brown"))
    np.testing.assert_allclose(places(found.minima), [(-0.558, 1.442), (0.623, 0.028), (-0.050, 0.467)], atol=0.006)
    np.testing.assert_allclose([m.value for m in found.minima], [-146.700, -108.167, -80.768], atol=0.02)
    np.testing.assert_allclose(places(found.saddles), [(0.212, 0.293), (-0.822, 0.624)], atol=0.011)
    np.testing.assert_allclose([s.value for s in found.saddles], [-72.249, -40.665], atol=0.02)
    assert len(found.saddles) == 2
    assert found.barrier(0, 1) == pytest.approx(106.035, abs=0.03)
    assert found.barrier(1, 0) == pytest.approx(67.502, abs=0.03)
    assert found.barrier(1, 2) == pytest.approx(35.918, abs=0.03)
    assert found.barrier(2, 1) == pytest.approx(8.519, abs=0.03)
    assert found.barrier(2, 0) == pytest.approx(40.103, abs=0.03)
    assert found.barrier(1, 1) == 0
    assert "3 minima, 2 saddles" in found.words


@pytest.mark.parametrize("shape", [(200,), (31, 17), (9, 12, 7)])
def test_gudhi_finds_the_same_minima_and_passes(shape) -> None:
    for seed in range(5):
        values = np.random.default_rng(seed).normal(size=shape)
        cubes = gudhi.CubicalComplex(top_dimensional_cells=values)
        cubes.compute_persistence()
        births, deaths = cubes.cofaces_of_persistence_pairs()[0][0].T
        pairs = {(values.ravel("F")[b], values.ravel("F")[d]) for b, d in zip(births, deaths)}
        assert {(values.flat[m.younger], values.flat[m.saddle]) for m in merge_tree(values).merges} == pairs


def test_every_cell_belongs_to_the_minimum_it_runs_down_to() -> None:
    """On a field of two wells the basins are the half planes; a mere cell of noise has no basin of its own."""
    wells = field(lambda x, y: (x**2 - 1) ** 2 + y**2, (-2, 2, 41), (-1, 1, 21))
    found = la.topology(wells)
    left = found.basins[np.linspace(-2, 2, 41) < -0.01]
    right = found.basins[np.linspace(-2, 2, 41) > 0.01]
    assert len(np.unique(left)) == len(np.unique(right)) == 1
    assert left[0, 0] != right[0, 0]
    dented = wells.copy(deep=True)
    dented["loss"][10, 14] -= 0.1
    assert len(la.topology(dented).minima) == 3
    one_well_less = la.topology(dented, threshold=0.05)
    np.testing.assert_array_equal(one_well_less.basins, found.basins)
    assert one_well_less.dropped == 1


def test_a_shallow_basin_joins_the_one_beside_it_and_not_the_deepest() -> None:
    #           0    1    2    3    4    5     6    7    (two deep wells, and a dent beside the second)
    values = [9.0, 0.0, 5.0, 1.0, 8.0, 7.9, 8.5, 9.0]
    assert merge_tree(np.array(values), slack=0.2).labels.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]


def test_a_sphere_in_space_has_one_shell() -> None:
    found = la.topology(
        field(lambda x, y, z: (np.sqrt(x**2 + y**2 + z**2) - 1) ** 2, *[(-2, 2, 33)] * 3), threshold=0.3
    )
    (peak,) = [point for point in found.maxima if not point.boundary]
    assert peak.coordinates == {"x": 0.0, "y": 0.0, "z": 0.0}
    assert peak.value == 1
    assert len(found.minima) == 1


def test_on_a_line_what_parts_two_minima_is_a_maximum() -> None:
    found = la.topology(field(lambda x: np.cos(x), (-10, 10, 201)))
    assert not any(m.boundary for m in found.minima)
    np.testing.assert_allclose(
        sorted(m.coordinates["x"] for m in found.minima), [-3 * np.pi, -np.pi, np.pi, 3 * np.pi], atol=0.06
    )
    assert found.saddles == ()
    np.testing.assert_allclose(sorted(m.coordinates["x"] for m in found.maxima), [-2 * np.pi, 0, 2 * np.pi], atol=0.06)


def test_a_minimum_on_the_edge_says_so() -> None:
    for slope in (1, -1):
        found = la.topology(field(lambda x, y, slope=slope: slope * x + y**2, (-1, 1, 9), (-1, 1, 9)))
        assert [m.boundary for m in found.minima] == [True]
    assert "0 minima and 1 on the edge" in found.words
    assert "need not be one of the network" in found.caveat


def test_noise_within_the_error_of_the_field_makes_no_minima() -> None:
    noise = 1e-5 * np.random.default_rng(0).uniform(-1, 1, size=(41, 41))
    bowl = lambda x, y: 100 + 1e-5 * (x**2 + y**2) + noise
    as_doubles = la.topology(field(bowl, (-1, 1, 41), (-1, 1, 41)))
    as_floats = la.topology(field(bowl, (-1, 1, 41), (-1, 1, 41), dtype="float32"))
    assert len(as_doubles.minima) > 5
    assert len(as_floats.minima) == 1
    assert as_floats.saddles == as_floats.maxima == ()
    assert as_floats.dropped > 5
    assert "float32 rounding" in as_floats.words


def test_what_was_interpolated_must_stand_out_of_its_stated_error() -> None:
    rough = field(lambda x, y: x**2 + y**2 + 0.1 * np.cos(20 * x), (-1, 1, 41), (-1, 1, 41))
    assert len(la.topology(rough).minima) > 3
    with_uncertainty(rough, "loss", np.full((41, 41), 0.1))  # a tenth of the range from 0 to 2
    assert len(la.topology(rough).minima) == 1
    error, words = stated_error(rough)
    assert error[20, 20] == pytest.approx(0.1 * float(rough["loss"].max() - rough["loss"].min()), rel=0.3)
    assert words.endswith("the stated error of interpolated cells")
    rough.attrs["sampling"] = json.dumps({"kind": "subset"})
    assert stated_error(rough)[1].endswith("the stated error of cells that were not evaluated on all samples")


def test_holes_are_counted_and_never_filled() -> None:
    values = field(himmelblau, (-5, 5, 21), (-5, 5, 21))
    status = np.full((21, 21), Status.OK, np.int8)
    status[3, 4:8] = Status.NOT_SAMPLED
    values["loss"][3, 4:8] = np.nan
    values["loss"][10, 10] = np.inf
    status[10, 10] = Status.NON_FINITE
    values["status"][:] = status
    with pytest.raises(la.SpecError, match=r"5 of 441 cells \(4 not sampled, 1 non finite\)"):
        la.topology(values)
    assert np.isnan(values["loss"].values).sum() == 4


def test_noise_has_a_minimum_for_about_every_ninth_cell() -> None:
    """A cell of noise is lower than its 8 neighbours with probability 1/9."""
    noise = field(lambda x, y: np.random.default_rng(0).normal(size=x.shape), (-1, 1, 81), (-1, 1, 81))
    assert len(la.topology(noise).minima) == pytest.approx(81 * 81 / 9, rel=0.1)


def test_bad_input_is_refused() -> None:
    bowl = field(lambda x, y: x**2 + y**2, (-1, 1, 5), (-1, 1, 5))
    with pytest.raises(la.SpecError, match="choose one of: loss"):
        la.topology(bowl, "error")
    with pytest.raises(la.SpecError, match="threshold=-1"):
        la.topology(bowl, threshold=-1)
    with pytest.raises(la.SpecError, match="minima 0 to 0"):
        la.topology(bowl).barrier(0, 1)


def test_the_tree_is_drawn_without_crossings(tmp_path) -> None:
    found = la.topology(field(himmelblau, (-5, 5, 61), (-5, 5, 61), title="Himmelblau"))
    plot = found.plot()
    tree, diagram = plot.panels
    assert found.caveat in plot.caption
    assert leaf_order(found) == sorted(range(4), key=leaf_order(found).index)
    assert set(leaf_order(found)) == set(range(4))
    segments = tree.series[0]
    assert np.nanmax(segments.y) >= found.saddles[2].value
    # Two branches cross where one stands under the bridge of two others without belonging to either.
    order = leaf_order(found)
    groups = {n: {n} for n in range(4)}
    for younger, elder, _ in found.merges:
        groups[elder] |= groups.pop(younger)
        span = sorted(order.index(n) for n in groups[elder])
        assert span == list(range(span[0], span[-1] + 1))
    assert la.draw(found, tmp_path / "tree.png").stat().st_size > 1000
    assert len(diagram.series) == 3


def test_a_diagram_without_a_point_says_so_on_the_picture(tmp_path) -> None:
    empty = la.topology(field(lambda x, y: x**2 + 3 * y**2, (-1, 1, 21), (-1, 1, 21))).plot()
    (diagram,) = empty.panels
    assert len(diagram.series) == 1 and empty.caption[0] == EMPTY
    for name in ("a.svg", "a.html"):
        assert "no point off its diagonal" in " ".join(la.draw(empty, tmp_path / name).read_text().split()), name
    ringed = la.topology(field(lambda x, y: np.exp(-8 * (x**2 + y**2)) + 0.2 * x + 0.1 * y, (-1, 1, 41), (-1, 1, 41)))
    assert len(ringed.minima) == 1 and len(ringed.maxima) == 1
    assert ringed.plot().caption[0] == ALONE and len(ringed.plot().panels[0].series) == 2
