"""Do the numbers tell a step from a slope, on a line and on a plane?"""

from __future__ import annotations

import numpy as np
import pytest

import lossatlas as la
from lossatlas import SpecError
from lossatlas.field.steps import steps_of
from lossatlas.results.landscape import About, Axis, Count, build


def landscape(shape, **values):
    axes = {
        axis: Axis(coordinates=np.linspace(-1, 1, n), length=1.0, label=f"direction {axis}")
        for axis, n in zip("xy", shape)
    }
    grids = np.meshgrid(*(axis.coordinates for axis in axes.values()), indexing="ij")
    counts = {"solved": {"unit": "problem", "number": 40, "zero_one": True}}
    return build(axes, {name: make(*grids) for name, make in values.items()}, about=About(counts=counts))


def test_a_slope_and_a_step_on_a_line():
    found = steps_of(landscape((21,), loss=lambda x: 3 * x, solved=lambda x: (x > 0.31) * 1.0), "solved")
    assert (found.smooth.steepest, found.score.steepest) == (pytest.approx(1 / 20), 1)
    assert (found.smooth.concentration, found.score.concentration) == (pytest.approx(0.1), 1)
    assert "100 % of its range across its steepest border" in found.sentence


def test_a_slope_and_a_step_on_a_plane():
    found = steps_of(landscape((21, 11), loss=lambda x, y: x + 0 * y, solved=lambda x, y: (x > 0.31) * 1.0), "solved")
    assert found.smooth.borders == 20 * 11 + 21 * 10
    assert found.score.steepest == 1
    assert found.score.concentration == 1
    # Half of the borders run along x and carry all of the slope's change.
    assert found.smooth.concentration == pytest.approx(43 / 220, rel=1e-9)


def test_a_limit_takes_away_the_far_corner():
    spike = landscape((21,), loss=lambda x: np.where(x > 0.95, 1000.0, x + 1), solved=lambda x: (x > 0.31) * 1.0)
    assert steps_of(spike, "solved").smooth.steepest > 0.99
    assert steps_of(spike, "solved", limit=2.0).smooth.steepest == pytest.approx(0.05, rel=0.1)


def test_cells_without_a_value_do_not_count():
    holes = landscape((21,), loss=lambda x: np.where(np.abs(x) < 0.01, np.nan, x), solved=lambda x: (x > 0.31) * 1.0)
    assert steps_of(holes, "solved").smooth.borders == 18


def test_what_cannot_be_compared_is_refused():
    flat = landscape((5,), loss=lambda x: 0 * x, solved=lambda x: x)
    with pytest.raises(SpecError, match="'loss' has the same value in every cell"):
        steps_of(flat, "solved")
    with pytest.raises(SpecError, match="score='f1' is unknown; choose one of: loss, solved"):
        steps_of(flat, "f1")


def test_the_plot_has_the_scores_interval(tmp_path):
    found = steps_of(
        landscape((9, 9), loss=lambda x, y: x**2 + y**2, solved=lambda x, y: (x**2 + y**2 < 0.5) * 1.0), "solved"
    )
    plot = found.plot()
    assert [panel.y_label for panel in plot.panels] == ["loss", "solved (share of 40 problems)"]
    band = plot.panels[1].series[0]
    assert band.low is not None
    assert bool((band.low <= band.y).all() and (band.high >= band.y).all())
    assert la.draw(found, tmp_path / "a.png").stat().st_size > 5000
    from lossatlas.draw.report import report

    page = report(tmp_path / "page.html", "Loss and score", found.parts()).read_text()
    assert page.count("<img") + page.count("<svg") >= 3
    assert "share of all change on the steepest tenth" in page
    assert Count(unit="problem", number=40).zero_one is False
