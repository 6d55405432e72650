"""Is a planted fault of a picture found, and is a good picture left in peace?"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.draw.view import View, compile
from lossatlas.errors import SpecError
from lossatlas.field.checks import check
from lossatlas.field.usual import usual
from lossatlas.figure.words import number
from lossatlas.results.landscape import Axis, build

X = np.linspace(-1, 1, 21)
BOWL = 0.1 + X[:, None] ** 2 + 2 * X**2


def field(loss, x=X, **about):
    return la.landscape(x=x, y=x, loss=loss, **about)


def odd(found):
    return {finding.question for finding in found if finding.verdict == "odd"}


def test_a_bowl_around_its_minimum_is_fine():
    found = check(field(BOWL), [field(BOWL.T)], expected=0.1)
    assert odd(found) == set()
    assert {finding.verdict for finding in found} == {"fine"}


PLANTED = {
    "Is the centre a minimum of the slice?": field(0.1 + (X[:, None] - 0.5) ** 2 + X**2),
    "Is the range sensible?": field(1 + 1e-3 * (X[:, None] ** 2 + X**2)),
    "Is every point there and finite?": field(np.where(X[:, None] > 0.8, np.nan, BOWL)),
}


@pytest.mark.parametrize("question", PLANTED)
def test_a_planted_fault_is_found_and_nothing_else(question):
    assert odd(check(PLANTED[question])) == {question}


def test_a_centre_none_of_whose_neighbours_is_known_is_not_called_a_minimum():
    only = np.where((X[:, None] == 0) & (X == 0), BOWL, np.nan)
    found = said(only, "Is the centre a minimum of the slice?")
    assert found.verdict == "unknown"
    assert "None of those beside it has been evaluated" in found.words


def test_a_range_that_hides_the_valley_is_odd():
    needle = 1 - np.exp(-((X[:, None] ** 2 + X**2) / 1e-3))
    assert "Is the range sensible?" in odd(check(field(needle)))


def said(loss, question="Is the range sensible?", **options):
    return next(finding for finding in check(field(loss), **options) if finding.question == question)


@pytest.mark.parametrize("loss", [X[:, None] * X, 3 + X[:, None] + 0 * X, np.sin(3 * X[:, None]) * np.cos(2 * X)])
def test_a_slope_or_a_saddle_is_not_called_flat_nor_does_it_have_a_valley(loss):
    """Its edge is as high as its centre in the median, and still differs from it by half of all there is to see."""
    found = said(loss)
    assert found.verdict == "unknown"
    assert found.words.startswith("Half of the points on the edge are no higher than the centre")


def test_a_field_that_falls_to_its_edge_has_no_lowest_tenth_of_a_rise():
    assert "lowest tenth" not in said(0.9 - 0.3 * (X[:, None] ** 2 + X**2)).words


def test_where_the_zero_is_arbitrary_a_rise_is_not_measured_by_it():
    """An energy of -76.4 that rises by 0.02 is a landscape; a positive loss that does is flat."""
    bowl = X[:, None] ** 2 + X**2
    assert said(-76.4 + 0.02 * bowl).verdict == "fine"
    assert said(-76.4 + 0.0 * bowl).verdict == "odd"
    flat = said(76.4 + 0.02 * bowl)
    edge = np.concatenate([bowl[[0, -1]].ravel(), bowl[1:-1, [0, -1]].ravel()])
    assert flat.verdict == "odd"
    assert (
        flat.words
        == f"Half of the points on the edge differ from the centre by {number(0.02 * np.median(edge))} or less."
    )


def test_a_score_is_not_expected_to_be_lowest_at_the_centre():
    found = check(field(BOWL, accuracy=1 - 0.3 * (X[:, None] ** 2 + X**2)), value="accuracy")
    assert odd(found) == set()
    assert not any("lower" in finding.words or "Lowest" in finding.words for finding in found)


def test_points_that_a_table_lacks_are_not_to_be_resumed():
    there = np.array([(x, y) for x in X for y in X if (x, y) != (X[3], X[4])])
    table = la.landscape(x=there[:, 0], y=there[:, 1], loss=(there**2).sum(1))
    (found,) = (one for one in check(table) if one.question == "Is every point there and finite?")
    assert found.words == "1 of 441 points has not been evaluated."
    assert found.advice == "Import them with the others."


def test_a_floor_is_told_of_as_a_clip_is():
    deep = 1e-16 + 1e-6 * (X[:, None] ** 2 + X**2) ** 2
    shown = compile(field(deep)).range
    assert shown.floored is not None
    assert (
        said(deep, "How much is clipped?").words
        == f"0.2 % of the cells lie below {number(shown.floored)}, down to 10⁻¹⁶."
    )


def test_another_loss_at_the_centre_is_odd():
    assert odd(check(field(BOWL), expected=0.3)) == {"Is the loss at the centre the one you expect?"}
    assert odd(check(field(BOWL), expected=0.101)) == set()


def test_seeds_that_differ_are_odd():
    assert odd(check(field(BOWL), [field(0.1 + 5 * X[:, None] ** 2 + 9 * X**2)])) == {"Are two seeds alike?"}
    assert "Are two seeds alike?" in odd(check(field(BOWL), [field(0.1 + 0.1 * X[:, None] ** 2 + np.cos(9 * X) ** 2)]))


def test_another_grid_is_refused():
    with pytest.raises(SpecError, match="another grid"):
        check(field(BOWL), [field(BOWL, x=2 * X)])


def test_frozen_statistics_on_the_way_to_another_network_are_odd():
    def net(seed):
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3)).eval()

    data = torch.randn(30, 4), torch.randint(3, (30,))
    for mode, wrong in (("frozen", True), ("recalibrated", False)):
        objective = la.Objective(net(0), data, torch.nn.functional.cross_entropy, batchnorm=mode)
        found = check(la.interpolate(objective, net(0), net(1), steps=5))
        assert ("Did BatchNorm lose its statistics?" in odd(found)) == wrong


def test_frozen_statistics_on_a_plane_towards_another_network_are_odd_too():
    bowl = field(BOWL).assign_attrs(batchnorm="frozen")
    assert "Did BatchNorm lose its statistics?" not in odd(check(bowl))
    for label in ("towards b.pt", "fraction of the Bézier curve"):
        bowl["x"].attrs["long_name"] = label
        assert "Did BatchNorm lose its statistics?" in odd(check(bowl)), label


WAY = np.linspace(0, 1, 21)


@pytest.mark.parametrize("label", ["random direction", "from a.pt (0) to b.pt (1)", "fraction of the Bézier curve"])
@pytest.mark.parametrize(
    "loss", [1e-3 + 4 * WAY * (1 - WAY), 0.1 + WAY**40 * 1e5, 1 + WAY], ids=["hill", "cliff", "flat"]
)
def test_clipping_is_told_of_the_scale_that_a_picture_has(loss, label):
    axis = Axis(coordinates=WAY, length=1.0, label=label)
    way = build({"x": axis}, {"loss": loss})
    drawn, said = compile(way).range, {finding.question: finding.words for finding in check(way)}
    if drawn.clipped is None:
        scale = {"linear": "linear", "log": "logarithmic"}[drawn.scale]
        assert said["How much is clipped?"] == f"Nothing is, on a {scale} scale."
    else:
        assert f"lie above {number(drawn.clipped)}, up to" in said["How much is clipped?"]


def test_clipping_is_told_of_maps_of_curvature_and_scores_as_they_are_drawn():
    ratio = np.geomspace(1e-4, 1.0, 9 * 9).reshape(9, 9)
    x = Axis(coordinates=np.linspace(-1, 1, 9), length=1.0)
    curved = build({"x": x, "y": x}, {"ratio": ratio})
    curved["ratio"].attrs["quantity"] = "ratio"
    scored = build({"x": x, "y": x}, {"loss": ratio, "error": 100 * ratio})
    for one, value in ((curved, "ratio"), (scored, "error")):
        assert usual(one, value).scale == compile(one, View(value=value)).range.scale == "linear"
        assert {f.words for f in check(one, value=value)} >= {"Nothing is, on a linear scale."}


def test_the_command_says_what_is_odd_and_what_to_do(tmp_path):
    from lossatlas.results.landscape import save

    good, bad = tmp_path / "good.nc", tmp_path / "bad.nc"
    save(field(BOWL), good)
    save(PLANTED["Is the centre a minimum of the slice?"], bad)
    run = CliRunner().invoke
    said = run(atlas, ["check", str(bad)])
    assert said.exit_code == 0
    assert "ODD      Is the centre a minimum of the slice?" in said.output
    assert "→ Train further" in said.output
    assert run(atlas, ["check", str(bad), "--strict"]).exit_code == 1
    assert run(atlas, ["check", str(good), "--strict"]).exit_code == 0
    verdicts = [finding["verdict"] for finding in json.loads(run(atlas, ["check", str(bad), "--json"]).stdout)]
    assert verdicts.count("odd") == 1
