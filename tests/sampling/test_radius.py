"""Is the range found the one that the closed form of a quadratic asks for, and the same each time?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli.radius import reaching
from lossatlas.cli.scan import Scan
from lossatlas.errors import SpecError
from lossatlas.results.landscape import structured
from lossatlas.sampling import radius


class Quadratic(torch.nn.Module):
    """Its loss is ½ wᵀ A w, whatever the data."""

    def __init__(self, matrix, at=None):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(len(matrix), dtype=torch.float64) if at is None else at.double())
        self.matrix = torch.tensor(matrix, dtype=torch.float64)

    def forward(self, x):
        return (0.5 * self.w @ self.matrix @ self.w).expand(len(x))


def objective_of(matrix, **options):
    data = torch.zeros(2, 1), torch.zeros(2)
    return la.Objective(Quadratic(matrix, **options), data, lambda outputs, _: outputs)


def plane_of(objective, axes="xy"):
    rows = torch.eye(len(objective.origin["w"]), dtype=torch.float64)
    return la.Plane(objective, {axis: {"w": row} for axis, row in zip(axes, rows, strict=False)})


@pytest.mark.parametrize(("bend", "rise", "fill"), [(1.0, 2.0, 0.5), (400.0, 0.5, 0.25), (1e-4, 3.0, 0.8)])
def test_a_parabola_gets_the_range_of_its_closed_form(bend, rise, fill):
    objective = objective_of([[bend]])
    found = radius.find(objective, plane_of(objective, "x"), rise=rise, fill=fill)
    assert math.isclose(found.basins[0], math.sqrt(2 * rise / bend), rel_tol=0.011)  # the level within 2 %
    assert math.isclose(found.radius, found.basins[0] / fill, rel_tol=0.05)


@pytest.mark.parametrize("matrix", [[[2.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [0.0, 1.0]], [[2.0, 0.7], [0.7, 1.0]]])
def test_a_bowl_fills_the_stated_part_of_the_picture(matrix):
    objective = objective_of(matrix)
    rise = 1.5
    found = radius.find(objective, plane_of(objective), rise=rise, fill=0.5)
    area = 2 * math.pi * rise / math.sqrt(np.linalg.det(matrix))  # of the ellipse wᵀAw < 2 rise
    assert math.isclose(math.pi * found.basins[0] ** 2, area, rel_tol=0.05)
    axes = la.Grid.auto(objective, plane_of(objective), rise=rise, fill=0.5, points=201).axes
    points = np.stack(np.meshgrid(*axes.values()), axis=-1)
    share = float((0.5 * np.einsum("...i,ij,...j", points, np.array(matrix), points) < rise).mean())
    assert math.isclose(share, math.pi * 0.5**2 / 4, rel_tol=0.12)  # two digits of the range are 5 % of its square


def test_a_ball_in_three_axes_has_its_radius():
    objective = objective_of((2 * np.eye(3)).tolist())
    found = radius.find(objective, plane_of(objective, "xyz"), rise=4.0)
    assert math.isclose(found.basins[0], 2.0, rel_tol=0.011)


def test_few_points_are_enough():
    objective = objective_of([[2.0, 0.3], [0.3, 5.0]])
    assert radius.find(objective, plane_of(objective), rise=1.0).evaluations <= 40


def test_what_is_compared_gets_the_widest_of_its_basins():
    narrow, wide = objective_of([[100.0]]), objective_of([[1.0]])
    planes = [plane_of(one, "x") for one in (narrow, wide)]
    both = la.Grid.auto([narrow, wide], planes, rise=2.0)
    assert np.array_equal(both.axes["x"], la.Grid.auto(wide, planes[1], rise=2.0).axes["x"])
    assert "the widest basin" in both.range_words


def test_without_a_rise_the_basin_ends_half_way_to_a_network_that_sees_nothing():
    torch.manual_seed(0)
    x = torch.randn(256, 6, dtype=torch.float64)
    model = torch.nn.Linear(6, 2, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(8 * torch.tensor([[1.0, 0, 0, 0, 0, 0], [-1.0, 0, 0, 0, 0, 0]]))
    objective = la.Objective(model, (x, (x[:, 0] < 0).long()), torch.nn.functional.cross_entropy)
    plane = la.Plane.random(objective, seed=0)
    centre = objective()["loss"]
    found = radius.find(objective, plane)
    assert math.isclose(found.levels[0], (centre + math.log(2)) / 2, rel_tol=1e-9)


def test_the_same_question_gets_the_same_range_and_the_model_stays():
    objective = objective_of([[2.0, 0.3], [0.3, 5.0]], at=torch.tensor([0.25, -0.5]))
    before = objective.model.w.detach().clone()
    first, again = (radius.find(objective, plane_of(objective), rise=1.0) for _ in range(2))
    assert first == again
    assert torch.equal(objective.model.w.detach(), before)
    assert objective()["loss"] == pytest.approx(float(0.5 * before @ objective.model.matrix @ before), rel=1e-12)


def test_the_range_is_said_in_the_caption_and_a_resumed_run_is_the_same(tmp_path):
    objective = objective_of([[2.0, 0.0], [0.0, 5.0]])
    for _ in range(2):
        grid = la.Grid.auto(objective, plane_of(objective), points=5, rise=1.0)
        landscape = la.sample(objective, plane_of(objective), grid, run=tmp_path / "run", progress=False)
        assert structured(landscape, "sampling")["range"] == grid.range_words
    assert grid.range_words in la.draw.compile(la.open(tmp_path / "run")).caption.about


def test_an_adaptive_scan_of_a_range_that_was_found_says_so_too():
    objective = objective_of([[2.0]])
    grid = la.Grid.auto(objective, plane_of(objective, "x"), points=9, rise=1.0)
    sampler = la.Adaptive.of(grid, tolerance=0.1)
    assert sampler.axes == grid.axes
    landscape = la.sample(objective, plane_of(objective, "x"), sampler, progress=False)
    assert structured(landscape, "sampling")["range"] == grid.range_words


def test_a_loss_that_never_rises_has_no_basin():
    objective = objective_of([[0.0]])
    with pytest.raises(SpecError, match="rises by 1 above the centre .* on 0 of 2 rays .* state the range"):
        radius.find(objective, plane_of(objective, "x"), rise=1.0)


@pytest.mark.parametrize(("options", "words"), [({"fill": 0}, "fill=0"), ({"rise": -1.0}, "rise=-1.0")])
def test_a_share_that_is_none_is_refused(options, words):
    objective = objective_of([[1.0]])
    with pytest.raises(SpecError, match=words):
        la.Grid.auto(objective, plane_of(objective, "x"), **options)


def test_a_wall_of_nothing_finite_bounds_a_basin():
    def above(distance):
        return math.inf if distance > 0.3 else 0.001 * distance

    assert math.isclose(radius.crossing(above, 1.0, 0.25), 0.3, rel_tol=0.02)


def test_a_basin_is_looked_for_by_halving_down_to_the_nearest_distance_and_no_further():
    tried = []

    def above(distance):
        assert len(tried) < 100, "the search does not end"
        tried.append(distance)
        return 5.0

    assert radius.crossing(above, 1.0, 0.25) <= radius.NEAR
    halved = [0.25 / 2**step for step in range(19)]
    assert tried[:19] == halved
    assert halved[-1] == radius.NEAR


def test_a_narrow_basin_is_found_from_far_outside():
    assert radius.crossing(lambda distance: (distance / 1e-4) ** 2, 1.0, 0.25) == pytest.approx(1e-4, rel=0.02)
    assert radius.crossing(lambda distance: (distance / 1e4) ** 2, 1.0, 0.25) == pytest.approx(1e4, rel=0.02)
    assert radius.crossing(lambda distance: (distance / 1e6) ** 2, 1.0, 0.25) == math.inf


def test_the_flag_takes_a_number_or_the_word():
    assert reaching({"x": (-1.0, 1.0, 9)}, "2") == {"x": (-2.0, 2.0, 9)}
    for bad in ("0", "-1", "nan", "wide"):
        with pytest.raises(SpecError, match="expected a number above 0, or auto"):
            reaching({"x": (-1.0, 1.0, 9)}, bad)
    scan = Scan(model="zoo:mlp", data="zoo:digits", radius="auto", x=(-1.0, 1.0, 7))
    assert "la.Grid.auto(objective, plane, points={'x': 7})" in scan.to_python()


def test_the_command_line_finds_the_range_and_says_it(tmp_path, monkeypatch):
    from lossatlas.cli import atlas

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "def model():\n    torch.manual_seed(0); return torch.nn.Linear(2, 2)\n"
        "def data():\n    torch.manual_seed(1); return torch.randn(16, 2), torch.randint(2, (16,))\n"
    )
    line = ["sample", "--model", "mine.py:model", "--data", "mine.py:data", "--radius", "auto", "--x", "-1", "1", "5"]
    done = CliRunner().invoke(atlas, [*line, "--run", "runs/a"])
    assert done.exit_code == 0, done.output
    assert "chosen so that the basin" in done.stderr and "--radius" in done.stderr
    found = la.open("runs/a")
    assert found["x"].values[0] == -found["x"].values[-1] != -1.0
    assert len(found["x"]) == 5
