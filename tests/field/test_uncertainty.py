"""Is what is said of the error over samples and of the spread over seeds right, and is nothing more said?"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import scipy.stats
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.draw.statement import statement
from lossatlas.errors import SpecError
from lossatlas.field.stated import stated_error
from lossatlas.field.uncertainty import Seeds, compare
from lossatlas.figure.parts import Number
from lossatlas.figure.words import number
from lossatlas.objective.metrics import Weighted
from lossatlas.objective.spread import measure_with_errors, standard_errors
from lossatlas.results.landscape import About, Axis, build
from lossatlas.results.store import RunFolder

GRID = la.Grid(x=(-1, 1, 5))


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(23, 4, generator=generator)
    return x, (x[:, :3] + 0.7 * torch.randn(23, 3, generator=generator)).argmax(1)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def of(net, data, **options) -> la.Objective:
    x, y = data
    metrics = {"error": la.metrics.error}
    return la.Objective(net, (x.double(), y), F.cross_entropy, metrics=metrics, batch_size=8, **options)


def test_the_error_at_a_cell_is_the_deviation_over_the_root_of_the_samples(net) -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(120, 4, generator=generator)
    data = x, (x[:, :3] + 0.7 * torch.randn(120, 3, generator=generator)).argmax(1)
    objective = of(net, data)
    plane = la.Plane.random(objective, seed=1, axes=("x",))
    found = la.sample(objective, plane, GRID, standard_error=True)
    plain = la.sample(objective, plane, GRID, plan="plain")
    for x in (-1.0, 0.5):
        there = plane.at({"x": x})
        logits = torch.func.functional_call(net, there, data[0].double())
        for name, each in (
            ("loss", F.cross_entropy(logits, data[1], reduction="none")),
            ("error", (logits.argmax(1) != data[1]).double()),
        ):
            exact = np.std(each.detach().numpy(), ddof=1) / np.sqrt(120)
            assert float(found[f"{name}_se"].sel(x=x)) == pytest.approx(exact, rel=1e-12)
    assert np.array_equal(found["loss"].values, plain["loss"].values)  # bit for bit
    assert found["loss_se"].attrs["kind"] == "standard error"
    assert "over 120 samples" in found["loss_se"].attrs["long_name"]


SKEWED = {
    "exponential": (lambda random, shape: random.exponential(size=shape), 1.0),
    "log-normal": (lambda random, shape: np.exp(random.normal(size=shape)), np.exp(0.5)),
    "squared normal": (lambda random, shape: random.normal(size=shape) ** 2, 1.0),
    "uniform": (lambda random, shape: random.uniform(size=shape), 0.5),
}


@pytest.mark.parametrize("name", SKEWED)
def test_twice_the_error_of_few_samples_covers_the_mean_of_skewed_losses(name) -> None:
    draw, mean = SKEWED[name]
    for count, least in ((10, 0.92), (20, 0.95), (60, 0.95), (99, 0.95)):
        values = draw(np.random.default_rng(count), (count, 4000))
        errors = standard_errors(values, np.ones_like(values))
        plain = values.std(axis=0, ddof=1) / np.sqrt(count)
        off = np.abs(values.mean(axis=0) - mean)
        assert np.mean(off <= 2 * errors) >= least
        assert np.median(errors / plain) < 2.8  # no bound that covers by being endless
        if count == 10 and name == "log-normal":
            assert np.mean(off <= 2 * plain) < 0.85  # what it is there for


@pytest.mark.parametrize("share", [0.03, 0.1, 0.5])
def test_twice_the_error_of_few_scores_covers_their_share_also_where_none_is_wrong(share) -> None:
    for count in (10, 30, 90):
        scores = (np.random.default_rng(count).random((count, 4000)) < share).astype(float)
        errors = standard_errors(scores, np.ones_like(scores))
        assert np.mean(np.abs(scores.mean(axis=0) - share) <= 2 * errors) >= 0.93
    assert standard_errors(np.zeros((10, 1)), np.ones((10, 1)))[0] > 0.1


def test_the_error_of_a_mean_over_tokens_is_that_of_a_ratio(net, data) -> None:
    """The bootstrap over whole samples is the independent truth."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(160, 5, generator=generator).double() * torch.linspace(0.1, 3, 160)[:, None]  # tokens go together
    weights = (torch.rand(160, 5, generator=generator) < torch.linspace(0.2, 1, 160)[:, None]).double()
    weights[:, 0] = 1
    model = nn.Linear(5, 5).double()
    model.weight.data.copy_(torch.eye(5))

    def loss(outputs, targets):
        return Weighted(outputs.square(), targets)

    values, errors = measure_with_errors(la.Objective(model, (x, weights), loss, batch_size=16))
    each = model(x).square().detach().numpy()
    sums, shares = (each * weights.numpy()).sum(1), weights.numpy().sum(1)
    assert values["loss"] == pytest.approx(sums.sum() / shares.sum())
    draws = np.random.default_rng(0).integers(160, size=(4000, 160))
    boot = (sums[draws].sum(1) / shares[draws].sum(1)).std()
    assert errors["loss_se"] == pytest.approx(boot, rel=0.08)
    tokens_alone = np.std(each[weights.numpy() > 0], ddof=1) / np.sqrt(shares.sum())  # as if tokens were independent
    assert tokens_alone < 0.9 * boot


def test_a_run_with_errors_resumes_and_refuses_one_without(net, data, tmp_path) -> None:
    objective = of(net, data)
    plane = la.Plane.random(objective, axes=("x",))
    first = la.sample(objective, plane, GRID, standard_error=True, run=tmp_path / "a")
    assert la.open(tmp_path / "a")["loss_se"].equals(first["loss_se"])
    again = la.sample(objective, plane, GRID, standard_error=True, run=tmp_path / "a")
    assert again.equals(first)
    with pytest.raises(la.RunMismatchError, match="standard errors"):
        la.sample(objective, plane, GRID, run=tmp_path / "a")


def test_errors_that_cannot_be_had_are_refused_before_a_folder_is_made(net, data, tmp_path) -> None:
    objective = of(net, data)
    plane = la.Plane.random(objective, axes=("x",))
    sampled = {"standard_error": True, "run": tmp_path / "a"}
    with pytest.raises(la.SpecError, match="leave out plan"):
        la.sample(objective, plane, GRID, plan="graph", **sampled)
    with pytest.raises(la.SpecError, match="use a Grid"):
        la.sample(objective, plane, la.Adaptive(x=(-1, 1, 33)), **sampled)
    one = la.Objective(net, (data[0][:1].double(), data[1][:1]), F.cross_entropy)
    with pytest.raises(la.SpecError, match="one sample has no spread"):
        la.sample(one, plane, GRID, **sampled)

    def odd(outputs, targets):
        return F.cross_entropy(outputs, targets) ** 2  # no mean over samples

    with pytest.warns(UserWarning, match="odd"), pytest.raises(la.SpecError, match="not the mean over its samples"):
        la.sample(la.Objective(net, (data[0].double(), data[1]), odd, batch_size=23), plane, GRID, **sampled)
    with pytest.raises(la.SpecError, match="'loss_se' cannot name a value"):
        la.Objective(net, (data[0].double(), data[1]), F.cross_entropy, metrics={"loss_se": la.metrics.error})
    assert not (tmp_path / "a").exists()


def test_a_point_that_overflows_has_no_error_and_says_so(data) -> None:
    def fourth(outputs, targets):
        return outputs.square().square().mean(dim=1)

    objective = la.Objective(nn.Linear(4, 3).double(), (data[0].double(), data[1]), fourth)
    plane = la.Plane(objective.origin, {"x": {"weight": torch.full((3, 4), 1e100, dtype=torch.float64)}})
    found = la.sample(objective, plane, la.Grid(x=(0, 1, 3)), standard_error=True)
    assert found["status"].values.tolist() == [1, 2, 2]
    assert np.isnan(found["loss_se"].values[1:]).all()


def test_topology_counts_two_standard_errors(net, data) -> None:
    objective = of(net, data)
    found = la.sample(objective, la.Plane.random(objective, axes=("x",)), GRID, standard_error=True)
    error, words = stated_error(found)
    bare, _ = stated_error(found.drop_vars("loss_se"))
    assert error - bare == pytest.approx(2 * found["loss_se"].values)
    assert "2 standard errors over 23 samples" in words


def test_seeds_are_the_same_as_runs_one_by_one(net, data, tmp_path) -> None:
    objective = of(net, data)
    found = la.seeds(objective, GRID, range(4), run=tmp_path / "s")
    one = la.sample(objective, la.Plane.random(objective, seed=2, axes=("x",)), GRID)
    assert found.runs[2]["loss"].equals(one["loss"])
    table = np.stack([run["loss"].values for run in found.runs])
    assert found.mean().values == pytest.approx(table.mean(0))
    assert found.spread().values == pytest.approx(np.std(table, axis=0, ddof=1))
    assert found.landscape["loss"].values == pytest.approx(np.median(table, axis=0))
    assert found.landscape["loss_spread"].values == pytest.approx(found.spread().values)
    assert found.summary() == pytest.approx(table.mean(1))
    said = found.words()
    assert "over 4 direction seeds" in said
    assert "4 seeds determine their spread poorly" in found.caveat
    reopened = Seeds.open(tmp_path / "s")
    assert reopened.seeds == (0, 1, 2, 3)
    assert reopened.words() == said


def test_seeds_resume_where_they_were_and_take_more(net, data, tmp_path, monkeypatch) -> None:
    objective = of(net, data)
    la.seeds(objective, GRID, range(2), run=tmp_path / "s")
    calls = []
    measure = la.Objective.measure
    monkeypatch.setattr(la.Objective, "measure", lambda self, *a, **k: calls.append(1) or measure(self, *a, **k))
    la.seeds(objective, GRID, range(2), run=tmp_path / "s")
    known = len(calls)  # only the probes of the centre
    la.seeds(objective, GRID, range(3), run=tmp_path / "s")
    assert (
        len(calls) - known == known * 3 // 2 + 4 + 1
    )  # of one new seed, four points beside its centre, and that in the end


def runs(values, title="A", samples_error=None):
    axis = Axis(coordinates=np.linspace(-1, 1, values.shape[1]), length=1.0)
    made = [build({"x": axis}, {"loss": row}, about=About(title=title, samples=10)) for row in values]
    if samples_error is not None:
        for one in made:
            one["loss_se"] = ("x", np.full(values.shape[1], samples_error), {"kind": "standard error"})
    return made


def test_a_comparison_is_welchs_interval_of_the_means_over_the_grid() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(2.0, 0.3, (6, 7)), random.normal(1.5, 0.1, (4, 7))
    found = compare(runs(a), runs(b, "B"), scale="linear")
    test = scipy.stats.ttest_ind(a.mean(1), b.mean(1), equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((test.low, test.high))
    assert found.differ == (test.low > 0)
    assert "A minus B" in found.words
    assert "The interval leaves out the error over samples" in found.caveat
    geometric = compare(runs(np.exp(a)), runs(np.exp(b), "B"), scale="log")
    assert (geometric.low, geometric.high) == pytest.approx((np.exp(test.low), np.exp(test.high)))
    assert "times B" in geometric.words


def test_two_draws_of_one_model_seldom_differ() -> None:
    random = np.random.default_rng(1)
    wrong = [
        compare(runs(random.normal(5, 1, (4, 3))), runs(random.normal(5, 1, (4, 3)), "B")).differ for _ in range(200)
    ]
    assert 0.01 < np.mean(wrong) < 0.1  # 5 % at 95 %


def test_the_error_over_samples_widens_a_comparison_until_nothing_is_shown() -> None:
    a, b = np.full((5, 3), 2.0), np.full((5, 3), 1.0)
    a += np.arange(5)[:, None] * 0.01
    assert compare(runs(a, samples_error=0.01), runs(b, "B", samples_error=0.01)).differ
    wide = compare(runs(a, samples_error=1.0), runs(b, "B", samples_error=1.0))
    assert not wide.differ
    assert "no difference is shown" in wide.words
    assert "leaves out the error" not in wide.caveat


def test_cells_without_a_value_are_left_out_of_both_and_counted() -> None:
    a, b = np.array([[1.0, 2, np.nan], [1.1, 2.1, 3]]), np.array([[1.0, 2, 3], [1.1, np.inf, 3.1]])
    found = compare(runs(a), runs(b, "B"))
    assert "2 of 3 cells" in found.caveat
    assert found.difference == pytest.approx(0, abs=1e-12)
    spread = Seeds(runs=tuple(runs(a)), seeds=(0, 1))
    assert np.isnan(spread.mean().values[2])
    assert spread.landscape["status"].values.tolist() == [1, 1, 2]
    assert not spread.words().count("nan")


def test_bad_comparisons_are_refused() -> None:
    few = runs(np.ones((3, 4)))
    with pytest.raises(la.SpecError, match="at least two seeds"):
        compare(few[:1], few)
    with pytest.raises(la.SpecError, match="got one Landscape"):
        compare(few[0], few)
    with pytest.raises(la.SpecError, match="different grids"):
        compare(few, runs(np.ones((3, 5))))
    with pytest.raises(la.SpecError, match="auto, linear, log"):
        compare(few, few, scale="square")
    with pytest.raises(la.SpecError, match="no logarithm"):
        compare(runs(-np.ones((3, 4))), few, scale="log")
    with pytest.raises(la.SpecError, match="different models"):
        Seeds(runs=(few[0], runs(np.ones((1, 4)), "B")[0]), seeds=(0, 1))


def test_what_both_measured_is_compared_also_where_one_measured_more(net, data, tmp_path) -> None:
    more = la.seeds(of(net, data), GRID, seeds=range(2), run=tmp_path / "more")
    objective = la.Objective(net, (data[0].double(), data[1]), F.cross_entropy, batch_size=8, name="other")
    la.seeds(objective, GRID, seeds=range(2), run=tmp_path / "loss")
    assert compare(more, Seeds.open(tmp_path / "loss")).difference == pytest.approx(0.0)
    done = CliRunner().invoke(atlas, ["compare", *(str(tmp_path / name) for name in ("more", "loss"))])
    assert done.exit_code == 0, done.output
    for sides in ((more, Seeds.open(tmp_path / "loss")), (Seeds.open(tmp_path / "loss"), more)):
        with pytest.raises(la.SpecError, match="value='error' is unknown; choose one of: loss$"):
            compare(*sides, "error")


def test_bad_seeds_are_refused(net, data, tmp_path) -> None:
    for wrong in ([0], [1, 1], []):
        with pytest.raises(la.SpecError, match="at least two different seeds"):
            la.seeds(of(net, data), GRID, wrong)
    with pytest.raises(la.SpecError, match="no runs seed-0.*lossatlas sample --seeds K"):
        Seeds.open(tmp_path)


def test_a_run_that_is_there_twice_does_not_make_the_spread_smaller(net, data, tmp_path) -> None:
    found = la.seeds(of(net, data), GRID, seeds=range(2), run=tmp_path / "of")
    with pytest.raises(SpecError, match="the runs of seeds 0 and 5 are the same"):
        Seeds(runs=(*found.runs, found.runs[0]), seeds=(0, 1, 5))
    with pytest.raises(SpecError, match="a different one for each"):
        Seeds(runs=found.runs, seeds=(0, 0))
    shutil.copytree(tmp_path / "of" / "seed-0", tmp_path / "of" / "seed-2")
    with pytest.raises(SpecError, match="the runs of seeds 0 and 2 are the same"):
        Seeds.open(tmp_path / "of")
    for factor in (0, float("nan")):  # nothing moves, or nothing has a value: two planes may agree
        alike = [run.assign(loss=run["loss"] * factor) for run in found.runs]
        assert not np.nan_to_num(Seeds(runs=tuple(alike), seeds=(0, 1)).spread()).any()


def test_a_median_of_slices_is_not_said_to_prove_anything(net, data) -> None:
    found = la.seeds(of(net, data), la.Grid(x=(-1, 1, 5), y=(-1, 1, 4)), range(2))
    assert any("not a slice of the loss" in part for part in statement(found.landscape) if isinstance(part, str))
    from lossatlas.draw.view import View, compile

    assert "not a slice of the loss" in " ".join(compile(found.landscape, View()).caption.sentences)


def test_a_picture_states_the_standard_error_and_may_be_one_of_it(net, data) -> None:
    from lossatlas.draw.view import View, compile

    objective = of(net, data)
    plane = la.Plane.random(objective)
    found = la.sample(objective, plane, la.Grid(x=(-1, 1, 5), y=(-1, 1, 4)), standard_error=True)
    low, high = float(found["loss_se"].min()), float(found["loss_se"].max())
    words = " ".join(compile(found, View()).caption.sentences)
    assert f"Standard error over samples: {number(low, 2)} to {number(high, 2)}." in words
    scene = compile(found, View(value="loss_se"))
    assert scene.panels[0].values["loss_se"] == pytest.approx(found["loss_se"].values)
    assert "over 23 samples, widened as they are few: all cells share these" in " ".join(scene.caption.sentences)
    assert found["loss_se"].attrs["kind"] == "standard error"  # the Landscape stays as it is
    plain = la.sample(objective, plane, la.Grid(x=(-1, 1, 5), y=(-1, 1, 4)))
    assert "Standard error" not in " ".join(compile(plain, View()).caption.sentences)


def test_a_report_on_a_run_holds_its_standard_errors_and_its_shape(net, data) -> None:
    pytest.importorskip("gudhi")
    objective = of(net, data)
    plane = la.Plane.random(objective)
    found = la.sample(objective, plane, la.Grid(x=(-1, 1, 5), y=(-1, 1, 4)), standard_error=True)
    parts = statement(found)
    told = {part.name: part for part in parts if isinstance(part, Number)}
    assert told["standard error of loss"].value == pytest.approx(float(found["loss_se"].max()))
    assert "differences between cells are better known" in told["standard error of error"].caveat
    shape = la.topology(found)
    assert shape.words in [part for part in parts if isinstance(part, str)]
    assert shape.caveat in str(parts)
    found["loss"][1, 1], found["status"][1, 1] = np.nan, 0
    assert any("shape of the field is not known" in part for part in statement(found) if isinstance(part, str))


USER = """
import torch

def make_model():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)

torch.manual_seed(1)
pair = (torch.randn(20, 3), torch.randint(2, (20,)))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "user.py").write_text(USER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments, code=0):
    result = CliRunner().invoke(atlas, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


NAMED = ("--model", "user.py:make_model", "--data", "user.py:pair")


def test_seeds_and_their_comparison_on_the_command_line(here) -> None:
    line = ("sample", *NAMED, "--x", -1, 1, 5, "--seeds", 3, "--standard-error")
    shown = run(*line, "--run", "a", "--out", "a.png").output
    assert "over 3 direction seeds" in shown
    assert "another training run" in shown
    run(*line, "--seed", 7, "--run", "b")
    assert sorted(path.name for path in (here / "b").glob("seed-*")) == ["seed-7", "seed-8", "seed-9"]
    assert "loss_se" in la.open("b/seed-7")
    said = run("compare", "a", "b", "--out", "both.png").output
    assert "95 % from" in said
    assert "make_model (first)" in said
    found = json.loads(run("compare", "a", "b", "--json").stdout)
    assert found["low"] < found["difference"] < found["high"]
    plane = run("sample", *NAMED, "--x", -1, 1, 4, "--y", -1, 1, 3, "--seeds", 2, "--out", "m.png").output
    assert "m-spread.png (standard deviation over seeds)" in plane
    assert (here / "m-spread.png").stat().st_size > 1000
    report = run("report", "a", "-o", "page.html").output
    assert "written" in report
    assert "direction seeds" in (here / "page.html").read_text()


def test_an_interrupted_command_says_what_is_safe_and_goes_on(here, monkeypatch) -> None:
    line = ("sample", *NAMED, "--x", -1, 1, 5, "--seeds", 2, "--run", "a")
    with monkeypatch.context() as patch:
        commit, commits = RunFolder.commit, []

        def once(self, block):
            commits.append(commit(self, block))
            raise KeyboardInterrupt

        patch.setattr(RunFolder, "commit", once)
        assert "safe below a. To continue" in run(*line, code=1).output
    assert commits
    run(*line)
    assert Seeds.open("a").seeds == (0, 1)


def test_flags_that_do_not_go_with_seeds_are_refused(here) -> None:
    assert "random directions on a whole grid" in run("sample", *NAMED, "--seeds", 3, "--adaptive", 0.02, code=2).output
    assert "at least 2 random planes" in run("sample", *NAMED, "--seeds", 1, code=2).output
    assert "all samples" in run("sample", *NAMED, "--standard-error", "--samples", "auto", code=2).output


def test_the_printed_program_for_seeds_gives_the_same(here, capsys) -> None:
    text = run("sample", *NAMED, "--x", -1, 1, 3, "--seeds", 2, "--standard-error", "--print-python").output
    space: dict = {}
    exec(text, space)
    assert space["found"].seeds == (0, 1)
    assert "loss_se" in space["found"].runs[0]
