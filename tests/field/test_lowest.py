"""Is the lowest point of a field named, and a centre that is no minimum called so?"""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from lossatlas.cli import atlas
from lossatlas.draw.statement import statement
from lossatlas.draw.view import compile
from lossatlas.field.lowest import lowest
from lossatlas.results.landscape import About, Axis, Status, build, save

ODD, EVEN = np.linspace(-1, 1, 9), np.linspace(-1, 1, 8)


def field(x, y, function, **about):
    axes = {name: Axis(coordinates=c, length=1.0) for name, c in (("x", x), ("y", y))}
    return build(axes, {"loss": function(x[:, None], y[None, :])}, about=About(**about))


def test_the_lowest_point_has_its_coordinates_in_the_order_of_the_axes():
    found = lowest(field(ODD, EVEN, lambda x, y: (x - 0.25) ** 2 + (y - 1) ** 2 + 3))
    assert found is not None
    assert (found.value, found.at) == (3.0, {"x": 0.25, "y": 1.0})


def test_a_centre_with_a_lower_neighbour_is_no_minimum():
    tilted = field(ODD, ODD, lambda x, y: x**2 + y**2 + 0.5 * x + 1)
    found = lowest(tilted)
    assert found is not None
    assert (found.centre, found.below_centre, found.centre_is_minimum) == (1.0, True, False)
    assert found.at == {"x": -0.25, "y": 0.0}
    words = "Lowest point: 0.938 at x = −0.25, y = 0; the centre, 1, is not a minimum of this slice."
    assert words in compile(tilted).caption.centre
    assert words in statement(tilted)


def test_a_centre_in_a_valley_of_its_own_is_told_apart_from_the_lowest():
    found = lowest(field(ODD, ODD, lambda x, y: x**2 + y**2 - 3 * (np.abs(x - 1) < 0.1) * (np.abs(y - 1) < 0.1)))
    assert found is not None
    assert (found.below_centre, found.centre_is_minimum) == (True, True)
    assert "is no higher than the points beside it" in found.words


@pytest.mark.parametrize("noise", [0.0, 1e-8])
def test_a_bowl_is_lowest_at_its_centre_whatever_rounding_does(noise):
    random = np.random.default_rng(0)
    found = lowest(field(ODD, ODD, lambda x, y: 1e-4 * (x**2 + y**2) + 1 + noise * random.normal(size=(9, 9))))
    assert found is not None
    assert (found.below_centre, found.centre_is_minimum) == (False, True)
    assert found.words.startswith("No evaluated point is lower than the centre")


def test_a_centre_between_the_points_is_compared_by_its_own_value():
    bowl = field(EVEN, EVEN, lambda x, y: x**2 + y**2, centre={"loss": 0.0})
    found = lowest(bowl)
    assert found is not None
    assert (found.centre, found.below_centre, found.centre_is_minimum) == (0.0, False, True)
    found = lowest(field(EVEN, EVEN, lambda x, y: x**2 + y**2, centre={"loss": 5.0}))
    assert found is not None
    assert found.centre_is_minimum is False


def test_a_slice_without_the_centre_is_compared_with_nothing():
    axes = {name: Axis(coordinates=ODD, length=1.0) for name in "xyz"}
    x, y, z = np.meshgrid(ODD, ODD, ODD, indexing="ij")
    whole = build(axes, {"loss": x**2 + y**2 + z**2}, about=About(centre={"loss": 0.0}))
    found = lowest(whole.sel(z=1.0))
    assert found is not None
    assert (found.value, found.centre) == (1.0, None)
    assert found.words == "Lowest point: 1 at x = 0, y = 0."
    through = lowest(whole.sel(z=0.0))
    assert through is not None
    assert through.centre == 0.0
    off = lowest(whole.sel(x=slice(0.5, 1)))
    assert off is not None
    assert off.centre is None


def test_only_evaluated_points_count():
    landscape = field(ODD, ODD, lambda x, y: x**2 + y**2)
    landscape["loss"].values[0, 0], landscape["status"].values[0, 0] = -9.0, Status.INTERPOLATED
    found = lowest(landscape)
    assert found is not None
    assert found.value == 0.0
    landscape["loss"].values[:] = np.nan
    assert lowest(landscape) is None


def test_info_names_the_lowest_point(tmp_path):
    path = save(field(ODD, ODD, lambda x, y: x**2 + y**2 + 0.5 * x + 1), tmp_path / "a.nc")
    shown = CliRunner().invoke(atlas, ["info", str(path)]).output
    assert "lowest: Lowest point: 0.938 at x = −0.25, y = 0; the centre, 1, is not a minimum of this slice." in shown
