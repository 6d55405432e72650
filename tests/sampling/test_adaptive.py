"""Does the adaptive sampler need few points, say how wrong it may be, and know when it is beaten?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator
from torch import nn

import lossatlas as la
from lossatlas.draw import static
from lossatlas.draw.captions import caveat
from lossatlas.draw.view import compile
from lossatlas.errors import SpecError
from lossatlas.evaluate.evaluator import Answer
from lossatlas.field.stated import on_view
from lossatlas.results.landscape import Axis, Status, build
from lossatlas.results.spec import Block
from lossatlas.sampling import surrogate
from lossatlas.sampling.adaptive import FIRST, coarse_cells
from lossatlas.sampling.executors import Work
from lossatlas.sampling.fresh import Fresh
from lossatlas.sampling.loop import Places, visit

N = 51
X, Y = np.meshgrid(np.linspace(-1, 1, N), np.linspace(-1, 1, N), indexing="ij")


def run(truth: np.ndarray, sampler: la.Adaptive, block: int = 500, told: Block | None = None):
    """Sample a known field; gives the finished Landscape and how often each cell was asked for."""
    flat, asked = truth.ravel(), np.zeros(truth.size, int)
    status = np.where(np.isfinite(flat), Status.OK, Status.NON_FINITE).astype(np.int8)
    known = Block.joined([told] if told else [], 1)
    asked[known.indices] += 1
    queue = sampler.start(known)
    while len(indices := queue.ask(block)):
        assert len(indices) <= block
        asked[indices] += 1
        queue.tell(Block(indices=indices, values=flat[indices, None], status=status[indices]))
    axes = {name: Axis(coordinates=c, length=1.0) for name, c in sampler.axes.items()}
    shape = truth.shape
    seen = asked.reshape(shape) > 0
    cells = np.where(seen, status.reshape(shape), Status.NOT_SAMPLED)
    return sampler.finish(build(axes, {"loss": np.where(seen, truth, np.nan)}, cells)), asked


def square(**options) -> la.Adaptive:
    return la.Adaptive(x=(-1, 1, N), y=(-1, 1, N), **options)


def judged(truth: np.ndarray, sampler: la.Adaptive):
    """Points used, true errors as shares of the range of the whole truth; of the interpolated cells, the share that is
    covered and mean stated over mean true error."""
    found, asked = run(truth, sampler)
    assert asked.max() == 1
    shown = sampler.shown(truth)
    true = np.abs(shown.heights(found["loss"].values) - shown.heights(truth)) / np.ptp(shown.limits)
    if "loss_uncertainty" not in found:
        assert asked.min() == 1
        return asked.sum(), true, 1.0, 1.0
    stated = found["loss_uncertainty"].values
    assert np.array_equal(stated == 0, asked.reshape(truth.shape) == 1)
    own = stated > 0
    return asked.sum(), true, np.mean(stated[own] >= true[own] - 1e-12), stated.mean() / max(true.mean(), 1e-12)


def rough() -> np.ndarray:
    random = np.random.default_rng(3)
    total = X**2 + Y**2
    for _ in range(60):
        a, b = random.normal(0, 9, 2)
        total = total + 0.25 * np.abs(np.sin(a * X + b * Y + random.uniform(0, 6))) / (1 + 0.05 * np.hypot(a, b))
    return total


@pytest.mark.shared
def test_the_real_surface_of_a_residual_network_needs_few_points(shared_data: Path):
    truth = np.load(shared_data / "resnet56_dense51.npz")["loss"]
    points, true, covered, ratio = judged(truth, square(tolerance=0.02, scale="log", clip=None))
    assert points <= 230
    assert np.mean(true <= 0.02) >= 0.99
    assert covered >= 0.95
    assert ratio <= 4
    points, true, covered, _ = judged(truth, square(tolerance=0.0125, scale="log", clip=None))
    assert points <= 380
    assert np.mean(true <= 0.02) >= 0.998
    assert covered >= 0.95
    points, true, covered, ratio = judged(truth, square(tolerance=0.02, scale="linear", clip=10.0))
    assert points <= 420
    assert np.mean(true <= 0.02) >= 0.99
    assert covered >= 0.95
    assert ratio <= 5


def test_a_network_without_shortcuts_is_covered_by_its_stated_error():
    truth = np.load(Path(__file__).with_name("noskip51.npz"))["loss"].astype(float)
    points, true, covered, ratio = judged(truth, square(tolerance=0.02))
    assert 300 < points <= 600
    assert np.mean(true <= 0.02) >= 0.99
    assert covered >= 0.95
    assert ratio <= 3.5


def test_a_bowl_needs_few_points_and_is_right():
    truth = 0.5 + X**2 + 2 * Y**2 + 0.3 * np.sin(2 * X + Y)
    points, true, covered, _ = judged(truth, square(tolerance=0.02))
    assert points <= 60
    assert true.max() <= 0.02
    assert covered >= 0.95


@pytest.mark.parametrize("floor", [1e-3, 0.011])
def test_the_lowest_point_of_a_bowl_beside_zero_is_evaluated_before_a_logarithm_is_believed(floor):
    """Once such a run stopped within 60 points and was off by a quarter of the range around its minimum."""
    truth = X**2 + 2 * Y**2 + 0.3 * np.sin(2 * X + Y)
    truth = truth - truth.min() + floor
    for factor in (1.0, 0.1):
        points, true, covered, _ = judged(factor * truth, square(tolerance=0.02, scale="log", clip=None))
        assert points <= 80
        assert true.max() <= 0.02
        assert covered >= 0.95


@pytest.mark.parametrize("name", ["rough", "noise"])
def test_a_rough_surface_is_evaluated_whole_and_says_so(name):
    truth = rough() if name == "rough" else np.random.default_rng(0).uniform(size=(N, N))
    found, asked = run(truth, square(tolerance=0.02, clip=None))
    assert asked.min() == asked.max() == 1
    assert np.array_equal(found["loss"].values, truth)
    assert "all 2601 points were needed: the surface is rough" in json.loads(found.attrs["sampling"])["verdict"]


def test_a_cliff_is_followed_and_a_needle_is_covered_elsewhere():
    cliff = np.where(X + 0.3 * Y > 0.13, 1.0, 0.0) + 0.1 * X**2
    points, true, covered, ratio = judged(cliff, square(tolerance=0.02, scale="linear", clip=None))
    assert points < 800
    assert np.mean(true <= 0.02) >= 0.99
    assert covered >= 0.95
    assert ratio <= 6
    needle = X**2 + Y**2
    needle[33, 17] += 5
    points, true, covered, ratio = judged(needle, square(tolerance=0.02, scale="linear", clip=None))
    assert points < 60
    assert np.mean(true > 0.02) * N**2 <= 1
    assert covered >= 0.99
    assert ratio <= 3


def test_the_share_that_bends_down_is_of_what_was_evaluated_and_says_so():
    axes = {name: Axis(coordinates=np.linspace(-1, 1, N), length=1.0) for name in "xy"}
    status = np.where((X > 0.61) & (Y > 0.61), Status.OK, Status.INTERPOLATED)  # 10 × 10, of which 8 × 8 are inside
    words = caveat([build(axes, {"loss": 2 + X**2 - Y**2}, status)], "loss")
    assert "of the area with evaluated neighbours (64 cells) bends down" in words
    words = caveat([build(axes, {"loss": 2 + X**2 - Y**2})], "loss")
    assert "of the area bends down" in words


def kept() -> dict[str, tuple[np.ndarray, dict[str, object]]]:
    """Fields with their views on which luck once stopped a run, or a small error was stated."""
    bowl, noise = X * X + Y * Y, np.random.default_rng(11).normal(size=(N, N))
    away, apart = np.hypot(X, Y), np.hypot(X - 0.2, Y + 0.1)
    linear: dict[str, object] = {"scale": "linear", "clip": None}
    return {
        "softplus bowl": (np.log1p(np.exp(8 * away - 4)) + 1e-4, {"scale": "log", "clip": None}),
        "checkerboard of 1 %": (bowl + 0.01 * np.where(np.indices(bowl.shape).sum(0) % 2 == 0, 1, -1), linear),
        "white noise of 1 %": (bowl + 0.01 * noise, linear),
        "plateau and cliff": (np.where(apart < 0.45, apart**2, 2.3), linear),
        "narrow ring": (X + np.exp(-((bowl - 0.45**2) ** 2) / 0.2**4), linear),
        "ridge": (bowl + 0.4 / (1 + (20 * (X - Y + 0.2)) ** 2), linear),
        "bumps": (bowl - 0.8 * np.exp(-((X - 0.5) ** 2 + (Y - 0.3) ** 2) / 0.02), linear),
        "waves": (np.sin(4 * X) * np.cos(5 * Y) + 0.3 * bowl, linear),
        "exponential, clipped": (np.exp(4 * away) + np.sin(5 * X), {"scale": "linear", "clip": 8.0}),
    }


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.soak] * (name in ("plateau and cliff", "ridge"))) for name in kept()]
)
def test_stated_errors_cover_the_interpolated_cells_and_no_run_stops_by_luck(name):
    truth, view = kept()[name]
    points, true, covered, ratio = judged(truth, square(tolerance=0.02, **view))
    assert points >= 25 + 29  # the coarse grid, and enough random cells to meet a feature of a tenth of the plane
    assert covered >= 0.93
    assert np.mean(true <= 0.02) >= 0.98
    assert ratio < 10


def test_noise_of_one_part_in_a_hundred_has_a_stated_error_of_about_that():
    """Its standard deviation is half a per cent of the range; of the interpolation, which is noisy too, 0.6 %.

    The stated error is to cover 19 cells of 20, and 70 points do not tell that quantile of noise well.
    """
    found, _ = run(kept()["white noise of 1 %"][0], square(tolerance=0.02, scale="linear", clip=None))
    stated = found["loss_uncertainty"].values
    assert 0.008 < np.median(stated[stated > 0]) < 0.025


def test_what_is_said_was_checked_on_cells_drawn_at_random_and_can_be_found_again():
    truth = 0.1 + X**2 + 2 * Y**2 + 0.5 * np.sin(3 * X + Y) ** 2
    sampler = square(tolerance=0.02)
    found, asked = run(truth, sampler)
    facts = json.loads(found.attrs["sampling"])
    assert (facts["fresh"], facts["fresh_within"]) == (12, 12)
    assert "12 of 12 fresh points" in facts["verdict"]
    assert "% of the cells within" not in facts["verdict"]
    drawn = Fresh.of(N * N, coarse_cells(sampler.axes, FIRST)).evaluated(asked > 0)
    assert len(drawn) == facts["random"] >= 29
    assert "covers less than" in facts["verdict"]
    # Predicted as by somebody who has only the cells that were evaluated before them.
    last, known = drawn[-12:], np.flatnonzero(asked)
    before = known[~np.isin(known, last)]
    cells = surrogate.places((N, N))
    spline = RBFInterpolator(cells[before], np.log10(truth.ravel()[before]), kernel="cubic", degree=2)
    plain = RBFInterpolator(cells[before], truth.ravel()[before], kernel="cubic", degree=2)
    guesses = (10 ** spline(cells[last]), plain(cells[last]))
    shown = sampler.shown(truth)
    wrong = [
        np.abs(shown.heights(guess) - shown.heights(truth.ravel()[last])) / np.ptp(shown.limits) for guess in guesses
    ]
    assert min(each.max() for each in wrong) <= 0.02


@pytest.mark.parametrize("block", [1, 5])
def test_slow_points_asked_for_one_by_one_are_no_more_than_those_of_large_blocks(block):
    truth = 1 + X**2 + 2 * Y**2 + 0.3 * np.cos(3 * X)
    found, asked = run(truth, square(tolerance=0.02), block=block)
    _, at_once = run(truth, square(tolerance=0.02))
    assert asked.sum() <= 1.1 * at_once.sum()
    facts = json.loads(found.attrs["sampling"])
    assert (facts["fresh"], facts["fresh_within"]) == (12, 12)
    assert facts["random"] >= 29


@pytest.mark.parametrize("name", ["softplus bowl", "white noise of 1 %"])
def test_the_points_do_not_depend_on_blocks_on_who_evaluates_or_on_an_interruption(name):
    truth, view = kept()[name]
    flat, sampler = truth.ravel(), square(**view)

    def block(indices):
        return Block(indices=indices, values=flat[indices, None], status=np.ones(len(indices), np.int8))

    def asked(count, under_way, told=(), stop=N * N):
        queue, sent, found = sampler.start(block(np.sort(np.array(told, np.int64)))), [], list(told)
        while len(found) < stop:
            indices = queue.ask(count)
            sent += [indices] if len(indices) else []
            if not len(indices) or len(sent) == under_way:
                if not sent:
                    break
                found += sent[0].tolist()
                queue.tell(block(sent.pop(0)))
        return found

    alone = asked(500, 1)
    interrupted = asked(3, 3, stop=61)
    for points in (asked(3, 1), asked(2, 4), asked(5, 2, told=interrupted)):
        assert sorted(points) == sorted(alone)
    assert len(set(alone)) == len(alone)


def test_all_who_evaluate_have_work_while_a_round_is_under_way():
    """Once one block at a time was under way, whoever evaluated."""
    truth, view = kept()["softplus bowl"]
    most, busy = [0], []

    class Four:
        room = 4

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def start(self, work):
            return self

        def submit(self, coordinates):
            most[0] += 1
            busy.append(most[0])
            cells = [tuple(np.abs(X[:, 0] - value).argmin() for value in point) for point in coordinates]
            values = np.array([[truth[cell]] for cell in cells])
            answer = Answer(values=values, status=np.ones(len(values), np.int8), notes=("",) * len(values))

            class Pending:
                def result(self):
                    most[0] -= 1
                    return answer

            return Pending()

    class Kept:
        def commit(self, block):
            pass

    sampler, four = square(**view), Four()
    queue = sampler.start(Block.joined([], 1))
    work = Work(make=lambda: None, width=1, decisive=(0,))
    visit(work, Places(sampler.axes, ("x", "y")), queue, Kept(), four, seconds=1e-3, size=N * N, progress=False)
    assert max(busy) == 4
    assert np.mean(np.array(busy) >= 2) > 0.7


def test_random_cells_are_not_chosen_for_what_was_found():
    sampler = square()
    fresh = Fresh.of(N * N, coarse_cells(sampler.axes, FIRST))
    for name in ("softplus bowl", "bumps", "exponential, clipped"):
        truth, view = kept()[name]
        _, asked = run(truth, square(**view))
        drawn = fresh.evaluated(asked > 0)
        assert not asked[fresh.cells[len(drawn) :]].any()  # a prefix of an order that was fixed before


def test_a_clip_leaves_no_cell_beside_or_above_it_without_an_error():
    truth = 0.1 + 20 * (X**2 + Y**2) + 3 * np.sin(6 * X)
    sampler = square(tolerance=0.02, scale="linear", clip=10.0)
    found, _ = run(truth, sampler)
    stated, own = found["loss_uncertainty"].values, found["status"].values == Status.INTERPOLATED
    beside = own & (np.abs(truth - 10.0) < 0.5)
    above = own & (truth > 10.5)
    assert (stated[beside] > 1e-6).all()
    assert (stated[above] > 1e-6).all()
    shown = sampler.shown(truth)
    true = np.abs(shown.heights(found["loss"].values) - shown.heights(truth)) / np.ptp(shown.limits)
    assert np.mean(stated[beside] >= true[beside]) >= 0.93


def test_a_claim_about_the_loss_is_none_about_a_metric():
    torch.manual_seed(0)
    x, y = la.zoo.data("digits")
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
    objective = la.Objective(net, (x[:200], y[:200]), nn.functional.cross_entropy, metrics={"error": la.metrics.error})
    found = la.sample(objective, la.Plane.random(objective, seed=0), la.Adaptive(x=(-1, 1, 21), y=(-1, 1, 21)))
    assert "were checked for" not in " ".join(compile(found, la.View()).caption.sentences)
    said = " ".join(compile(found, la.View(value="error")).caption.sentences)
    assert "The interpolated cells were checked for the loss; for error their stated error is " in said


def test_a_claim_belongs_to_its_view_and_another_picture_restates_the_error():
    truth = np.exp(4 * np.hypot(X, Y)) + np.sin(5 * X) + 1.0
    found, _ = run(truth, square(tolerance=0.02, scale="linear", clip=8.0))
    own = compile(found, la.View(scale="linear", clip=8.0)).caption.sentences
    assert not any("another view" in sentence for sentence in own)
    other = " ".join(compile(found, la.View(scale="log", clip=None)).caption.sentences)
    assert "were checked for another view (linear" in other
    assert "above the clip of that view" in other
    shown = compile(found, la.View(scale="log", clip=None)).panels[0]
    assert shown is not None
    seen = la.Adaptive(x=(-1, 1, N), y=(-1, 1, N), scale="log", clip=None).shown(found["loss"].values)
    errors = on_view(found, seen)
    true = np.abs(np.log10(found["loss"].values / truth)) / np.ptp(seen.limits)
    below = (found["status"].values == Status.INTERPOLATED) & (truth < 8.0)
    assert np.mean(errors[below] >= true[below]) >= 0.93
    assert (errors[found["status"].values == Status.OK] == 0).all()


def test_holes_are_never_interpolated_over():
    truth = 0.1 + X**2 + Y**2
    truth[(X - 0.6) ** 2 + (Y - 0.2) ** 2 < 0.06] = np.nan  # where the first grid has a point
    found, asked = run(truth, square(tolerance=0.02))
    assert asked.max() == 1
    hole = np.isnan(truth)
    assert (asked.reshape(N, N)[hole] == 1).all()
    assert np.isnan(found["loss"].values[hole]).all()
    assert np.isfinite(found["loss"].values[~hole]).all()
    assert asked.sum() < 1200


def test_interrupted_runs_go_on_and_ask_nothing_twice():
    truth = 0.1 + X**2 + 2 * Y**2 + 0.5 * np.sin(3 * X + Y) ** 2
    sampler = square(tolerance=0.02)
    whole, asked = run(truth, sampler, block=7)
    order = np.flatnonzero(asked)[: asked.sum() // 2]
    told = Block(indices=order, values=truth.ravel()[order, None], status=np.ones(len(order), np.int8))
    again, twice = run(truth, sampler, block=7, told=told)
    assert twice.max() == 1
    for found in (whole, again):
        assert np.mean(np.abs(found["loss"].values - truth) <= 0.02 * np.ptp(truth)) >= 0.99
    same, _ = run(truth, sampler, block=7)
    assert same.identical(whole)


@pytest.mark.parametrize("shape", [(101,), (15, 15, 15), (41, 7)])
def test_lines_spaces_and_flat_grids(shape):
    axes = {name: (-1, 1, n) for name, n in zip("xyz", shape, strict=False)}
    sampler = la.Adaptive(tolerance=0.03, **axes)
    truth = 1 + sum(c**2 for c in np.meshgrid(*sampler.axes.values(), indexing="ij"))
    found, asked = run(np.asarray(truth), sampler)
    assert asked.sum() < 0.7 * truth.size
    assert np.mean(np.abs(found["loss"].values - truth) <= 0.03 * np.ptp(truth)) >= 0.98


def test_a_constant_needs_only_the_first_points():
    found, asked = run(np.full((N, N), 2.5), square())
    assert asked.sum() == 25 + 29  # the coarse grid, and the random cells that were asked for to check it
    assert (found["loss"].values == 2.5).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0.0}, "tolerance=0.0; expected a share"),
        ({"tolerance": 1.0}, "tolerance=1.0; expected a share"),
        ({"scale": "cubic"}, "scale='cubic' is unknown; choose one of: auto, linear, log"),
        ({"x": (1, -1, 5)}, "reversed bounds"),
    ],
)
def test_bad_samplers_are_named(options, message):
    with pytest.raises(SpecError, match=message):
        la.Adaptive(**{"x": (-1, 1, 5), **options})


def test_a_run_from_objective_to_picture(tmp_path: Path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    objective = la.Objective(
        net,
        (torch.randn(40, 4), torch.randint(0, 3, (40,))),
        nn.functional.cross_entropy,
        metrics={"error": la.metrics.error},
    )
    plane = la.Plane.random(objective, seed=0)
    sampler = la.Adaptive(x=(-1, 1, 31), y=(-1, 1, 31), tolerance=0.02)
    found = la.sample(objective, plane, sampler, run=tmp_path / "run", plan="plain")
    exact = la.sample(objective, plane, la.Grid(x=(-1, 1, 31), y=(-1, 1, 31)), plan="plain")
    interpolated = found["status"].values == Status.INTERPOLATED
    assert 0.5 < interpolated.mean() < 1
    assert np.array_equal(found["loss"].values[~interpolated], exact["loss"].values[~interpolated])
    span = np.ptp(exact["loss"].values)
    assert np.mean(np.abs(found["loss"] - exact["loss"]).values <= 0.03 * span) >= 0.98
    assert la.open(tmp_path / "run").identical(found)
    page = la.draw(found, tmp_path / "a.html").read_text()
    assert "points evaluated, the others interpolated" in page
    figure = static.figure(compile(found, la.View(points=True)))
    (dots,) = (line for line in figure.axes[0].lines if line.get_gid() == "evaluated")
    assert len(dots.get_xdata()) == (~interpolated).sum()
    assert {*zip(*dots.get_data(), strict=True)} >= {(-1.0, -1.0), (1.0, 1.0)}
    with pytest.raises(la.RunMismatchError, match="sampler kind is adaptive there and grid here"):
        la.sample(objective, plane, la.Grid(x=(-1, 1, 31), y=(-1, 1, 31)), run=tmp_path / "run")


# Fields that no constant of the sampler was chosen on, but that one power in the factor of stated errors was rounded to
# the careful side. They were written down once, after the sampler, and nothing more is to be tuned on them.

LINEAR: dict[str, object] = {"scale": "linear", "clip": None}
LOG: dict[str, object] = {"scale": "log", "clip": None}


def bananas() -> np.ndarray:
    """Rosenbrock's valley."""
    return (0.4 - X) ** 2 + 20 * (1.2 * Y + 0.5 - (1.2 * X) ** 2) ** 2 + 0.02


def two_wells() -> np.ndarray:
    return (X**2 - 0.35) ** 2 + 0.3 * Y**2 + 0.05 * X + 0.06


def saddle() -> np.ndarray:
    return X**2 - Y**2 + 0.5 * X * Y + 0.1 * X**3


def hinges() -> np.ndarray:
    """The largest of several planes, as a piecewise linear loss is."""
    turns = np.linspace(0.3, 5.7, 7)
    return np.max([np.cos(t) * X + np.sin(t) * Y + 0.1 * np.sin(3 * t) for t in turns], axis=0) + 0.7


def logistic() -> np.ndarray:
    """Cross-entropy of ten samples on a plane of weights."""
    random = np.random.default_rng(41)
    rows = random.normal(0, 3, (10, 3))
    return np.mean([np.log1p(np.exp(-(a * (X - 0.3) + b * (Y + 0.2) + c))) for a, b, c in rows], axis=0)


def flat_then_steep() -> np.ndarray:
    return 2.3 / (1 + np.exp(-12 * (np.hypot(X + 0.1, 1.4 * Y) - 0.6))) + 0.01


def ripples() -> np.ndarray:
    return 1 + X**2 + Y**2 + 0.15 * np.cos(9 * np.hypot(X, Y))


def spiral() -> np.ndarray:
    return 0.6 * np.hypot(X, Y) + 0.2 * np.sin(2 * np.arctan2(Y, X + 1e-9) + 5 * np.hypot(X, Y)) + 0.5


def decades() -> np.ndarray:
    return 10 ** (4 * np.hypot(0.9 * X, 1.1 * Y) - 2 + 0.3 * np.sin(3 * X + 2 * Y))


def noisy() -> np.ndarray:
    return 0.5 + X**2 + 1.5 * Y**2 + 0.004 * np.random.default_rng(43).standard_t(4, size=X.shape)


FIELDS = {
    bananas: LOG,
    two_wells: LOG,
    saddle: LINEAR,
    hinges: LINEAR,
    logistic: LINEAR,
    flat_then_steep: LINEAR,
    ripples: LINEAR,
    spiral: LINEAR,
    decades: LOG,
    noisy: LINEAR,
}


@pytest.mark.soak
def test_stated_errors_cover_on_fields_that_nothing_was_tuned_on():
    found = {field.__name__: judged(field(), square(tolerance=0.02, **view)) for field, view in FIELDS.items()}
    for name, (points, true, covered, ratio) in found.items():
        within = np.mean(true <= 0.02)
        print(f"{name:16} {points:5} points, {within:.3f} within 2 %, covered {covered:.3f}, stated / true {ratio:.1f}")
    covers = sorted(covered for _, _, covered, _ in found.values())
    # Nine of ten: heavy-tailed noise had 0.948 while its errors were believed to be smaller in smaller holes.
    assert covers[1] >= 0.95
    assert covers[0] >= 0.88  # the kinks of "hinges": 0.89, which the docs state
    assert all(np.mean(true <= 0.02) >= 0.97 for _, true, _, _ in found.values())


SMALL = np.meshgrid(np.linspace(-1, 1, 31), np.linspace(-1, 1, 31), indexing="ij")
BASES = {
    "bowl": lambda x, y: (x**2 + y**2) / 2,
    "valley": lambda x, y: (x + 0.4 * y) ** 2 / 2,
    "saddle": lambda x, y: (x**2 - y**2 + x / 2) / 3,
    "flat": lambda x, y: x / 2,
}
NOISES = {
    "normal": lambda random: random.normal(size=(31, 31)),
    "uniform": lambda random: random.uniform(-1, 1, (31, 31)) * np.sqrt(3),
    "heavy tails": lambda random: random.standard_t(3, (31, 31)) / np.sqrt(3),
}


def test_stated_errors_cover_the_cells_of_noisy_surfaces_that_are_not_evaluated_whole():
    sampler = la.Adaptive(x=(-1, 1, 31), y=(-1, 1, 31), tolerance=0.02, scale="linear", clip=None)
    covers, ratios = [], []
    for seed, (base, noise) in enumerate((base, noise) for base in BASES for noise in NOISES):
        truth = BASES[base](*SMALL) + 0.005 * NOISES[noise](np.random.default_rng([seed, 2900]))
        points, _, covered, ratio = judged(truth, sampler)
        print(f"{base:6} {noise:12} {points:4} points, covered {covered:.3f}, stated / true {ratio:.1f}")
        if points < truth.size:
            covers.append(covered)
            ratios.append(ratio)
    assert len(covers) >= 10
    assert np.mean(np.array(covers) >= 0.95) >= 0.9
    assert min(covers) >= 0.93
    assert np.median(ratios) <= 3.9
