"""Does the study of paths claim nothing of random walks, find its angles right, and record paths that survive a stop?"""

from __future__ import annotations

import csv

import numpy as np
import pytest
import scipy.stats
import torch
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.zoo.train import TrainRecipe
from lossatlas_studies import networks, path_measures, trajectories
from lossatlas_studies.networks import Net, load, recorded
from lossatlas_studies.stages import Bench
from lossatlas_studies.verdicts import LEVEL, NOT_SEEN, SEEN

DIMENSION, CHECKPOINTS = 120, 22


def path_of(points):
    return la.Trajectory.open([{"w": torch.from_numpy(point)} for point in points])


def points_of(kind, seed):
    """Points [n, P]: a walk whose steps grow short, as after a fall of the learning rate; a drift; or no memory at all."""
    rng = np.random.default_rng(seed)
    lengths = np.repeat([1.0, 0.2], [CHECKPOINTS // 2, CHECKPOINTS - CHECKPOINTS // 2])
    steps = rng.standard_normal((CHECKPOINTS, DIMENSION)) * lengths[:, None]
    if kind == "drift":
        steps[:, 0] += 6 * lengths
    return steps if kind == "no memory" else steps.cumsum(axis=0)


def way_of(kind, seed, optimizer, size):
    numbers = path_measures.variance(path_of(points_of(kind, seed)), draws=60, seed=seed) | {"ratio": 1.0}
    return trajectories.Course(
        optimizer=optimizer, size=size, seed=seed, numbers=numbers, cosines=np.full(3, 0.5), rates=np.ones(4),
        own=np.ones(4), surface=np.ones(4),
    )  # fmt: skip


def word_of(kind, run):
    kinds = [kind for kind in trajectories.KINDS.values() for _ in range(2)]
    ways = [way_of(kind, 100 * run + number, *chosen) for number, chosen in enumerate(kinds)]
    return trajectories.judge(ways)[0].word


def test_of_random_walks_nothing_is_claimed_beyond_the_nominal_rate():
    runs = 40
    claims = sum(word_of("walk", run) == SEEN for run in range(runs))
    assert claims <= scipy.stats.binom.ppf(0.999, runs, LEVEL)


def test_a_path_that_drifts_is_seen_and_one_without_memory_is_not():
    assert word_of("drift", 0) == SEEN
    assert word_of("no memory", 0) == NOT_SEEN


def test_the_variance_is_that_of_a_singular_value_decomposition():
    points = points_of("drift", 0)
    found = path_measures.variance(path_of(points), draws=10)
    for name, centre in (("share", points.mean(axis=0)), ("last", points[-1])):
        squares = np.linalg.svd(points - centre, compute_uv=False) ** 2
        assert found[name] == pytest.approx(squares[:2].sum() / squares.sum(), rel=1e-9)
    assert found["low"] < found["walk"] < found["high"] < found["share"]


def test_random_planes_hold_two_of_the_dimensions():
    found = [path_measures.chance(path_of(points_of("walk", seed)), 20) for seed in range(12)]
    assert np.mean([one["ratio"] for one in found]) == pytest.approx(1.0, abs=0.2)
    assert found[0]["random"] == pytest.approx(found[0]["ratio"] * 2 / DIMENSION)


def bowl():
    """A loss of w1² + w2², and its plane."""
    model = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    data = (2**0.5 * torch.eye(2), torch.zeros(2, 1))
    here = la.Objective(model, data, loss=torch.nn.functional.mse_loss)
    axes = {"x": {"weight": torch.tensor([[1.0, 0.0]])}, "y": {"weight": torch.tensor([[0.0, 1.0]])}}
    return here, la.Plane(here, axes)


def test_the_way_down_a_bowl_has_cosine_one_and_a_contour_zero():
    here, plane = bowl()
    path = np.array([[4.0, 0.0], [2.0, 0.0], [2.0, 0.5], [2.0, 0.5], [3.0, 0.75], [0.0, 0.0], [1.0, 0.0]])
    found = path_measures.downhill(here, plane, path)
    assert found[:2] == pytest.approx([1.0, 0.0], abs=1e-6)
    assert np.isnan(found[2])  # nothing moves
    assert found[3:5] == pytest.approx([-1.0, 1.0], abs=1e-6)
    assert np.isnan(found[5])  # the bottom is flat


def test_steps_are_parted_where_the_learning_rate_falls():
    way = trajectories.Course(
        optimizer="sgd", size="small", seed=0, numbers={}, rates=np.array([1, 1, 1, 1, 1, 0.1, 0.1]),
        cosines=np.arange(6.0),
    )  # fmt: skip
    assert trajectories.before(way).tolist() == [0, 1, 2, 3]
    assert trajectories.late(way).tolist() == [2, 3]
    assert trajectories.after(way).tolist() == [4, 5]


def test_a_recorded_training_that_was_stopped_leaves_the_same_path(tmp_path, monkeypatch):
    data = load("digits", samples=60)
    net = Net(label="n", model="mlp", options={"widths": [64, 8, 10]}, recipe=TrainRecipe(epochs=4, batch_size=20))
    whole = recorded(Bench(folder=tmp_path / "a", device="cpu"), net, data)[1]
    train = networks.train

    def stopped(*arguments, watch, **options):
        def watching(epochs, model):
            watch(epochs, model)
            if epochs == 2:
                raise KeyboardInterrupt

        return train(*arguments, watch=watching, **options)

    bench = Bench(folder=tmp_path / "b", device="cpu")
    monkeypatch.setattr(networks, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        recorded(bench, net, data)
    monkeypatch.setattr(networks, "train", train)
    with pytest.warns(UserWarning, match="went back to step 2"):
        again = recorded(bench, net, data)[1]
    paths = [la.Trajectory.open(folder) for folder in (whole, again)]
    assert [len(path) for path in paths] == [5, 5]
    for index in range(5):
        first, second = (path.at(index) for path in paths)
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_the_study_leaves_a_page_and_the_paths_as_numbers(tmp_path):
    tiny = {"train_samples": 60, "width": 2, "seeds": 2, "epochs": 4, "samples": 20, "points": 3, "random_planes": 2}
    sets = [word for name, value in tiny.items() for word in ("--set", f"{name}={value}")]
    done = CliRunner().invoke(atlas, ["study", "trajectories", *sets, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    place = tmp_path / "small" / "trajectories"
    upon = list(csv.DictReader((place / "figures/path-sgd-small-batch-upon.csv").open()))
    assert [row["panel"] for row in upon] == ["0"] * 5 + ["1"] * 5
    assert float(upon[4]["x"]) == float(upon[4]["y"]) == 0.0
    assert [len(list(csv.DictReader((place / f"tables/{name}.csv").open()))) for name in ("trainings", "surfaces")] == [
        8,
        8,
    ]
    assert "| `trajectories` | Two directions hold more" in (tmp_path / "small/results.md").read_text()
