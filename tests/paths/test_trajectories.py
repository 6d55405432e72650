"""Does a path's principal plane agree with a whole-matrix decomposition, and does its null with theory?"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import lossatlas as la
from lossatlas.paths import findings, streams, walks
from lossatlas.space.parameters import norm


def path_of(matrix: np.ndarray, split: int = 6) -> list[dict[str, torch.Tensor]]:
    """Rows of a matrix as checkpoints of two tensors."""
    rows = torch.from_numpy(matrix)
    return [{"a": row[:split].reshape(2, -1), "b": row[split:]} for row in rows]


def curved(count: int = 12, dimension: int = 40, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, count)[:, None]
    return np.asarray(
        np.cumsum(rng.standard_normal((count, dimension)), axis=0) * 0.1
        + t * rng.standard_normal(dimension) * 3
        + t**2 * rng.standard_normal(dimension)
    )


@pytest.mark.parametrize("centre", ["mean", "last"])
def test_shares_directions_and_coordinates_are_those_of_the_whole_matrix(centre, monkeypatch):
    monkeypatch.setattr(streams, "BLOCK_BYTES", 8 * 12 * 5)  # parts of five entries
    matrix = curved()
    path = la.Trajectory.open(path_of(matrix))
    about = matrix.mean(axis=0) if centre == "mean" else matrix[-1]
    _, sizes, right = np.linalg.svd(matrix - about, full_matrices=False)
    found = path.principal(3, centre=centre)
    np.testing.assert_allclose(found.shares, (sizes**2 / (sizes**2).sum())[:3], rtol=1e-10)
    for axis, expected in zip(path.directions(("x", "y", "z"), centre=centre).values(), right, strict=False):
        flat = torch.cat([axis["a"].reshape(-1), axis["b"]]).double().numpy()
        assert abs(flat @ expected) == pytest.approx(1, abs=1e-6)
    plane = path.plane(("x", "y", "z"), centre=centre)
    np.testing.assert_allclose(path.project(plane).coordinates, found.coordinates, atol=1e-5)
    assert (found.coordinates[0] >= 0).all()


def test_the_gram_matrix_does_not_depend_on_the_parts(monkeypatch):
    path = path_of(curved())
    whole = la.Trajectory.open(path).gram
    monkeypatch.setattr(streams, "BLOCK_BYTES", 8 * 12 * 7)
    np.testing.assert_allclose(la.Trajectory.open(path).gram, whole, atol=1e-12)
    flat = curved() - curved()[-1]
    np.testing.assert_allclose(whole, flat @ flat.T, atol=1e-12)
    steps = np.linalg.norm(np.diff(curved(), axis=0), axis=1)
    np.testing.assert_allclose(la.Trajectory.open(path).step_lengths, steps, rtol=1e-9)


def test_a_random_walk_explains_what_theory_says():
    lengths = np.ones(800)
    mean = walks.null(lengths, 10**9, centre="mean", components=3, draws=1).shares
    np.testing.assert_allclose(mean, 6 / (np.pi * np.arange(1, 4)) ** 2, rtol=1e-3)
    last = walks.null(lengths, 10**9, centre="last", components=2, draws=1).shares
    np.testing.assert_allclose(last, 8 / (np.pi * np.array([1, 3])) ** 2, rtol=1e-3)
    assert [round(100 * share, 1) for share in (*mean[:2], *last)] == [60.8, 15.2, 81.1, 9.0]


@pytest.mark.parametrize("dimension", [5, 60, 4000])
def test_the_drawn_walks_have_the_spread_of_walks_taken_step_by_step(dimension):
    lengths = np.random.default_rng(1).uniform(0.5, 2, 40)
    found = walks.null(lengths, dimension, components=2, draws=400)
    rng = np.random.default_rng(2)
    taken = []
    for _ in range(400):
        steps = rng.standard_normal((40, dimension))
        steps *= (lengths / np.linalg.norm(steps, axis=1))[:, None]
        points = np.vstack([np.zeros(dimension), np.cumsum(steps, axis=0)])
        taken.append(walks.shares(points @ points.T, "mean", 2))
    np.testing.assert_allclose(np.quantile(taken, 0.05, axis=0), found.low, atol=0.03)
    np.testing.assert_allclose(np.quantile(taken, 0.95, axis=0), found.high, atol=0.03)
    assert dimension < 4000 or np.abs(found.high - found.shares).max() < 0.02


@pytest.mark.parametrize("dimension", [3, 30, 10**6])
def test_drawn_cosines_are_those_of_random_directions(dimension):
    drawn = np.array([walks.random_cosines(10, dimension, np.random.default_rng(seed)) for seed in range(300)])
    np.testing.assert_allclose(np.diagonal(drawn, axis1=1, axis2=2), 1)
    beside = drawn[:, *np.triu_indices(10, 1)]
    assert np.mean(beside) == pytest.approx(0, abs=0.03 / np.sqrt(dimension))
    assert np.mean(beside**2) == pytest.approx(1 / dimension, rel=0.05)


def test_a_walk_through_many_dimensions_is_told_from_its_null_by_nothing():
    rng = np.random.default_rng(0)
    path = la.Trajectory.open(path_of(np.cumsum(rng.standard_normal((60, 20000)), axis=0)))
    found = path.principal(2)
    np.testing.assert_allclose(found.shares, found.null.shares, atol=0.03)
    assert "a random walk with the same step lengths gives 6" in found.words
    straight = la.Trajectory.open(path_of(np.linspace(0, 1, 20)[:, None] * np.ones(30)))
    assert straight.principal(2).shares.tolist() == pytest.approx([1.0])


def test_projection_on_skewed_planes_solves_with_the_gram_matrix():
    matrix = curved()
    path = la.Trajectory.open(path_of(matrix))
    rng = np.random.default_rng(3)
    first = rng.standard_normal(40)
    second = first + 0.2 * rng.standard_normal(40)  # nearly parallel
    x, y = path_of(np.vstack([first, second]))
    plane = la.Plane(path.at(-1), {"x": x, "y": y})
    found = path.project(plane)
    basis = np.vstack([first, second]).T
    for index, row in enumerate(matrix - matrix[-1]):
        expected, *_ = np.linalg.lstsq(basis, row, rcond=None)
        np.testing.assert_allclose(found.coordinates[index], expected, atol=1e-9)
        assert found.residual[index] == pytest.approx(np.linalg.norm(row - basis @ expected), abs=1e-9)
        one = plane.project(path.at(index))
        assert found.share[index] == pytest.approx(one.residual, abs=1e-9)


def test_axes_hold_the_path_and_the_centre():
    path = la.Trajectory.open(path_of(curved()))
    found = path.project(path.plane())
    for axis, values in zip(("x", "y"), found.coordinates.T, strict=True):
        low, high, points = found.bounds(21)[axis]
        assert low < min(values.min(), 0)
        assert high > max(values.max(), 0)
        assert points == 21
    la.Grid(**found.bounds(5))
    with pytest.raises(la.SpecError, match="points=1"):
        found.bounds(1)


def test_random_directions_see_next_to_nothing():
    rng = np.random.default_rng(0)
    path = la.Trajectory.open(path_of(np.linspace(1, 0, 8)[:, None] * rng.standard_normal(20000)))
    drawn = [path.contrast(seed=seed) for seed in range(30)]
    sizes = np.abs([cosine for one in drawn for cosine in one.cosines])
    assert sizes.mean() == pytest.approx(drawn[0].expected, rel=0.3)
    assert np.mean([one.share for one in drawn]) == pytest.approx(drawn[0].expected_share, rel=0.5)
    assert drawn[0].expected == pytest.approx(np.sqrt(2 / (np.pi * 20000)))
    # Where the random plane is the whole space it holds everything.
    flat = la.Trajectory.open([{"w": torch.tensor([float(i), i**2])} for i in range(5)])
    assert flat.contrast().share == pytest.approx(1)
    assert "(expected 100 %)" in flat.contrast().words


def recorded(folder, steps: int = 9, **options) -> tuple[la.Objective, nn.Module]:
    torch.manual_seed(0)
    x, y = torch.randn(60, 4), torch.randint(3, (60,))
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    recorder = la.Recorder(folder, **options)
    for step in range(steps):
        if step == steps // 2:
            optimizer.param_groups[0]["lr"] = 0.02
        loss = F.cross_entropy(model(x), y)
        recorder.step(model, epoch=step / 2, loss=loss, lr=optimizer)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    recorder.step(model, epoch=steps / 2, lr=optimizer)
    return la.Objective(model, (x, y), F.cross_entropy, metrics={"error": la.metrics.error}), model


def test_a_recorded_path_is_read_back_without_its_statistics(tmp_path):
    _, model = recorded(tmp_path / "path")
    path = la.Trajectory.open(tmp_path / "path")
    assert [checkpoint.step for checkpoint in path.checkpoints] == list(range(10))
    assert path.checkpoints[5].lr == 0.02
    assert set(path.shapes) == {name for name, _ in model.named_parameters()}
    for name, tensor in model.named_parameters():
        assert torch.equal(path.at(-1)[name], tensor)
    assert la.Trajectory.open(tmp_path / "path", tensors="weights").shapes.keys() == {"0.weight", "3.weight"}
    other = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    path.load(other)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]) or name.endswith("num_batches_tracked")
    with pytest.raises(la.SpecError, match="another architecture than Linear"):
        path.load(nn.Linear(4, 8))


def test_a_path_of_a_module_that_holds_the_network_is_opened_under_its_prefix(tmp_path):
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    holder = nn.ModuleDict({"net": net, "other": nn.Linear(2, 1)})
    recorder = la.Recorder(tmp_path / "path")
    for _ in range(3):
        for parameter in net.parameters():
            parameter.data += 1
        recorder.step(holder)
    with pytest.raises(la.SpecError, match=r"open it with prefix='net\.' \(--prefix net\.\)"):
        la.Trajectory.open(tmp_path / "path").load(net)
    path = la.Trajectory.open(tmp_path / "path", prefix="net.")
    assert path.shapes.keys() == {name for name, _ in net.named_parameters()}
    path.load(net)
    assert torch.equal(path.at(2)["0.weight"], net[0].weight)
    with pytest.raises(la.SpecError, match="prefix='model.': no tensor begins with it; the first is"):
        la.Trajectory.open(tmp_path / "path", prefix="model.")


def test_the_true_loss_stands_beside_that_of_the_surface(tmp_path):
    objective, model = recorded(tmp_path / "path")
    before = {name: tensor.clone() for name, tensor in objective.private.state_dict().items()}
    path = la.Trajectory.open(tmp_path / "path")
    found = path.losses(objective, path.plane())
    for index in (0, 4, 9):
        path.load(model, index)
        model.eval()
        with torch.no_grad():
            (batch,) = objective.batches
            expected = float(F.cross_entropy(model(batch[0]), batch[1]))
        assert found.own["loss"][index] == pytest.approx(expected, rel=1e-5)
    assert found.own["loss"][-1] == pytest.approx(found.surface["loss"][-1], rel=1e-6)
    assert found.projected.residual[-1] == 0
    assert found.projected.residual[2] > 0
    assert [text for _, text in found.drops] == ["lr ÷ 10"]
    assert found.drops[0][0] == 4 or found.drops[0][0] == 5
    early = la.Trajectory.open(sorted((tmp_path / "path").glob("*.safetensors"))[:4])
    early.losses(objective, early.plane())
    assert all(torch.equal(before[n], t) for n, t in objective.private.state_dict().items() if "running" in n)
    assert "off this plane by up to" in found.words
    overlay = found.overlay()
    assert dict(overlay.words)[0] == "step 0"  # half epochs: it was recorded by steps
    assert [text for text in dict(overlay.words).values() if "lr" in text] == [f"step {found.drops[0][0]}: lr ÷ 10"]
    assert overlay.note == f"{found.words} Arrows: the learning rate falls."
    assert list(overlay.arrows) == [index for index, _ in found.drops]
    assert found.plot().panels[0].y_label == "loss"


def test_pictures_of_a_path_are_drawn(tmp_path):
    objective, _ = recorded(tmp_path / "path")
    path = la.Trajectory.open(tmp_path / "path")
    found = path.losses(objective, path.plane())
    landscape = la.sample(objective, path.plane(), la.Grid(**found.projected.bounds(5)))
    la.draw(landscape, tmp_path / "a.png", overlays=[found.overlay()])
    la.draw(found, tmp_path / "b.svg")
    la.draw(path.principal(), tmp_path / "c.svg")
    assert "off this plane" in (tmp_path / "b.svg").read_text()
    assert "random walk with" in (tmp_path / "c.svg").read_text()


def test_other_peoples_checkpoints_are_opened_in_the_order_of_their_numbers(tmp_path):
    for step in (2, 10, 1):
        folder = tmp_path / "hub" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        save_file({"w": torch.full((3,), float(step))}, folder / "model.safetensors")
        (tmp_path / "plain").mkdir(exist_ok=True)
        torch.save({"state_dict": {"w": torch.full((3,), float(step))}}, tmp_path / "plain" / f"epoch{step}.pt")
    for folder in ("hub", "plain"):
        path = la.Trajectory.open(tmp_path / folder)
        assert [checkpoint.step for checkpoint in path.checkpoints] == [1, 2, 10]
        assert path.at(2)["w"].tolist() == [10, 10, 10]
    again = la.Trajectory.open(
        [tmp_path / "plain" / "epoch1.pt", {"w": torch.zeros(3)}, str(tmp_path / "hub/checkpoint-2")]
    )
    assert [float(again.at(i)["w"][0]) for i in range(3)] == [1, 0, 2]


def test_files_are_read_a_part_at_a_time_at_the_right_places(tmp_path, monkeypatch):
    recorded(tmp_path / "path")
    path = la.Trajectory.open(tmp_path / "path")
    held = la.Trajectory.open([path.at(index) for index in range(len(path))])
    monkeypatch.setattr(streams, "BLOCK_BYTES", 8 * len(path) * 5)
    np.testing.assert_allclose(la.Trajectory.open(tmp_path / "path").gram, held.gram, rtol=1e-12, atol=1e-12)
    plane = held.plane()
    np.testing.assert_allclose(path.project(plane).coordinates, held.project(plane).coordinates, atol=1e-9)


def test_short_formats_are_read(tmp_path):
    recorded(tmp_path / "half", bf16=True)
    recorded(tmp_path / "full")
    half, full = (la.Trajectory.open(tmp_path / name) for name in ("half", "full"))
    assert half.at(0)["0.weight"].dtype == torch.float32
    np.testing.assert_allclose(half.principal(1).shares, full.principal(1).shares, atol=0.02)


def test_bad_paths_are_named(tmp_path):
    one = {"w": torch.zeros(3)}
    with pytest.raises(la.SpecError, match="1 checkpoint; expected at least two"):
        la.Trajectory.open([one])
    with pytest.raises(la.SpecError, match="0 checkpoint"):
        la.Trajectory.open([])
    with pytest.raises(
        la.SpecError, match=r"checkpoint 0 \(step 0\) is of another architecture .* 'w' has shape \(3,\)"
    ):
        la.Trajectory.open([one, {"w": torch.zeros(4)}])
    with pytest.raises(la.SpecError, match="another architecture"):
        la.Trajectory.open([one, {"v": torch.zeros(3)}])
    with pytest.raises(la.SpecError, match="does not move"):
        la.Trajectory.open([one, one]).principal()
    with pytest.raises(la.SpecError, match="1 principal components, not 2"):
        la.Trajectory.open([one, {"w": torch.ones(3)}]).plane()
    with pytest.raises(la.SpecError, match=r"checkpoint 1 \(step 1\) has values that are not finite"):
        la.Trajectory.open([one, {"w": torch.tensor([0, np.nan, 0]).float()}, {"w": torch.ones(3)}]).principal()
    with pytest.raises(la.SpecError, match=r"checkpoint 1 \(step 1\) has values that are not finite"):
        la.Trajectory.open([one, {"w": torch.tensor([0, np.inf, 0]).float()}]).principal()
    with pytest.raises(la.SpecError, match="choose one of: mean, last"):
        la.Trajectory.open([one, {"w": torch.ones(3)}]).principal(centre="first")
    with pytest.raises(la.SpecError, match="choose one of: all, weights"):
        la.Trajectory.open([one, one], tensors="some")
    with pytest.raises(la.SpecError, match="a checkpoint is an int"):
        la.Trajectory.open([1, 2])
    with pytest.raises(la.SpecError, match="no such folder"):
        la.Trajectory.open(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(la.SpecError, match="holds no checkpoints"):
        la.Trajectory.open(tmp_path / "empty")
    for step in (100, 200):
        (tmp_path / "steps" / f"step_{step}").mkdir(parents=True)
        torch.save({}, tmp_path / "steps" / f"step_{step}" / "weights.pt")
    with pytest.raises(la.SpecError, match=r"its folders do \(step_100.weights.pt …\); give these files in order"):
        la.Trajectory.open(tmp_path / "steps")
    with pytest.raises(la.SpecError, match="those of step_100 are at"):
        (tmp_path / "steps" / "step_200" / "weights.pt").unlink()
        la.Trajectory.open(tmp_path / "steps")
    recorded(tmp_path / "path")
    file = next((tmp_path / "path").glob("*5.safetensors"))
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(la.SpecError, match="does not lie within the file"):
        la.Trajectory.open(tmp_path / "path").principal()


def test_the_principal_directions_are_those_of_the_public_function():
    path = la.Trajectory.open(path_of(curved()))
    found = la.directions.principal(path)
    assert list(found) == ["x", "y"]
    assert norm(found["x"]) == pytest.approx(1, abs=1e-6)
    plane = la.Plane(path.at(-1), found)
    assert plane.recipe.labels["x"].startswith("principal direction 1 (")
    assert abs(plane.cosines["x,y"]) < 1e-6


PROGRAM = """
import resource, sys, tempfile, os, torch
import lossatlas as la
from safetensors.torch import save_file
count, size = int(sys.argv[1]), int(sys.argv[2])
folder = sys.argv[3]
if count == 0:
    for i in range(24):
        generator = torch.Generator().manual_seed(i)
        save_file({"w": torch.randn(size, generator=generator)}, f"{folder}/{i}.safetensors")
else:
    path = la.Trajectory.open([f"{folder}/{i}.safetensors" for i in range(count)])
    path.principal()
    plane = path.plane()
    path.project(plane)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def peak(count: int, size: int, folder) -> float:
    """Peak resident set in MiB of a fresh process."""
    arguments = [sys.executable, "-c", PROGRAM, str(count), str(size), str(folder)]
    return float(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_checkpoints(tmp_path):
    size = 6_000_000  # 24 MB each: 23 MiB
    peak(0, size, tmp_path)
    few, many = peak(4, size, tmp_path), peak(24, size, tmp_path)
    print(f"4 checkpoints {few:.0f} MiB, 24 checkpoints {many:.0f} MiB")
    assert many < few + 40  # 20 more checkpoints are 460 MiB


LARGE = """
import json, resource, sys, time, torch
import lossatlas as la
from safetensors.torch import save_file
folder, distinct, count, size = sys.argv[1], *map(int, sys.argv[2:])
generator = torch.Generator().manual_seed(0)
rows = {f"layer{i}.weight": (size // 10 // 1000, 1000) for i in range(10)}
if distinct:
    point = {name: torch.randn(shape, generator=generator) for name, shape in rows.items()}
    for i in range(distinct):
        for name, shape in rows.items():
            point[name] += torch.randn(shape, generator=generator)
        save_file({name: tensor.bfloat16() for name, tensor in point.items()}, f"{folder}/{i}.safetensors")
    sys.exit()
seconds, last = {}, time.perf_counter()
def lap(name):
    global last
    seconds[name], last = round(time.perf_counter() - last), time.perf_counter()
path = la.Trajectory.open([f"{folder}/step-{i}.safetensors" for i in range(count)])
shares = path.principal().shares
lap("inner products")
plane = path.plane()
lap("directions")
path.project(plane)
lap("projection")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"parameters": path.dimension, "peak MiB": round(peak), "seconds": seconds, "shares": shares.tolist()}))
"""


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_300_checkpoints_of_100_million_parameters_fit_into_2_gb(tmp_path, capsys):
    """Thirty files of 200 MB in bfloat16, 6 GB, each ten times: memory and arithmetic are those of 300 files."""
    distinct, count, size = 30, 300, 100_000_000
    if shutil.disk_usage(tmp_path).free < 8e9:
        pytest.skip("needs 8 GB of disk")

    def program(*numbers: int) -> str:
        arguments = [sys.executable, "-c", LARGE, str(tmp_path), *map(str, numbers)]
        return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout

    program(distinct, 0, size)
    for i in range(count):
        (tmp_path / f"step-{i}.safetensors").symlink_to(tmp_path / f"{i * distinct // count}.safetensors")
    found = json.loads(program(0, count, size))
    with capsys.disabled():
        print(f"\n{found}")
    assert found["parameters"] == size
    assert found["peak MiB"] < 2e9 / 2**20
    assert found["shares"][0] == pytest.approx(0.61, abs=0.05)  # a random walk


@pytest.mark.parametrize("off", [1e-2, 1e-4, 1e-6])
def test_a_small_distance_from_the_plane_is_not_cut_to_zero(off):
    points = [{"w": torch.tensor([0.0, 0, 0]).double()}, {"w": torch.tensor([1.0, off, 0]).double()}]
    plane = la.Plane(points[0], {"x": {"w": torch.tensor([1.0, 0, 0]).double()}})
    found = la.Trajectory.open(points).project(plane)
    assert found.residual[1] == pytest.approx(off, rel=1e-3)
    assert found.residual[0] == 0


def two_runs(tmp_path, apart=0.0):
    """Two folders of checkpoints: runs of ten and of six steps whose starts are so far apart."""
    random = np.random.default_rng(5)
    for name, count, start in (("a", 11, 0.0), ("b", 7, apart)):
        (tmp_path / name).mkdir()
        steps = np.concatenate([np.zeros((1, 300)), random.normal(size=(count - 1, 300))]).cumsum(axis=0)
        steps[:, 0] += start
        for step, point in enumerate(steps):
            torch.save({"w": torch.from_numpy(point)}, tmp_path / name / f"step_{step}.pt")
    return tmp_path / "a", tmp_path / "b"


def test_several_runs_are_several_paths_with_one_plane_and_a_null_without_jumps(tmp_path):
    a, b = two_runs(tmp_path, apart=1000.0)
    path = la.Trajectory.open([a, b])
    assert path.runs == (11, 7)
    own = np.concatenate([la.Trajectory.open(one).step_lengths for one in (a, b)])
    np.testing.assert_allclose(path.step_lengths, own)
    assert path.step_lengths.max() < 50  # no step from the end of one to the start of the other
    found = path.principal(2)
    # Both begin a thousand apart, in the walks as in the runs: what parts them is no finding.
    assert found.shares[0] > 0.9
    assert found.null.shares[0] == pytest.approx(found.shares[0], abs=0.05)
    assert la.Trajectory.open([a]).principal(2).shares == pytest.approx(la.Trajectory.open(a).principal(2).shares)


def test_runs_are_named_by_what_tells_their_folders_apart(tmp_path):
    a, b = two_runs(tmp_path, apart=0.0)
    for run, rename in ((a, "sgd/path"), (b, "adam/path")):
        (tmp_path / rename).parent.mkdir()
        run.rename(tmp_path / rename)
    path = la.Trajectory.open([tmp_path / "sgd" / "path", tmp_path / "adam" / "path"])
    assert path.names == ("sgd/path", "adam/path")
    assert la.Trajectory.open([tmp_path / "sgd" / "path"]).names == ()
    with pytest.raises(la.SpecError, match="'Adam': .*nowhere is not a folder"):
        la.Trajectory.open({"SGD": tmp_path / "sgd" / "path", "Adam": tmp_path / "nowhere"})


def test_walks_from_one_start_are_at_right_angles():
    lengths = [np.array([1.0, 2.0, 1.5]), np.array([0.5, 1.0])]
    found = walks.walks_from(lengths, np.zeros((2, 2)))
    np.testing.assert_allclose(found[:4, :4], walks.walk(lengths[0]))
    np.testing.assert_allclose(found[4:, 4:], walks.walk(lengths[1]))
    assert (found[:4, 4:] == 0).all()


def test_each_of_several_runs_is_drawn_by_itself(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 1)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for step in range(5):
            with torch.no_grad():
                net.weight.add_(torch.randn_like(net.weight))
            torch.save(net.state_dict(), tmp_path / name / f"step_{step}.pt")
    path = la.Trajectory.open([tmp_path / "a", tmp_path / "b"])
    objective = la.Objective(net, (torch.randn(8, 3), torch.randn(8, 1)), torch.nn.functional.mse_loss)
    along = path.losses(objective, path.plane())
    assert [len(overlay.x) for overlay in along.overlays()] == [5, 5]
    assert [overlay.label for overlay in along.overlays()] == ["a", "b"]
    assert [panel.title for panel in along.plot().panels] == ["a", "a", "b", "b"]
    named = la.Trajectory.open({"SGD": tmp_path / "a", "Adam": str(tmp_path / "b")})
    assert named.names == ("SGD", "Adam") and named.runs == path.runs
    assert re.findall(r"\((SGD|Adam), step \d\)", named.losses(objective, named.plane()).words)
    known = [findings.Checkpoint(step=10 * i, epoch=i) for i in range(5)]  # as each run counts, though the two do not
    assert re.findall(r"\((?:a|b), epoch [0-4]\)", dataclasses.replace(along, checkpoints=[*known, *known]).words)
    numbered = dataclasses.replace(along, names=()).overlays()
    assert [overlay.label for overlay in numbered] == ["training path, run 1", "training path, run 2"]
    landscape = la.sample(objective, path.plane(), la.Grid(**along.projected.bounds(5)))
    assert la.draw(landscape, tmp_path / "path.png", overlays=along.overlays()).stat().st_size > 5000
    assert la.draw(along, tmp_path / "losses.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("epochs", "words"),
    [
        ([0.0, 1.0, 2.0], ["epoch 0", "epoch 1", "epoch 2"]),
        ([0.0, 0.0133, 0.0267], ["step 0", "step 50", "step 100"]),
        ([0.0, 0.0, 1.0], ["step 0", "step 50", "step 100"]),
        ([None, None, None], ["step 0", "step 50", "step 100"]),
    ],
)
def test_what_was_recorded_by_steps_is_counted_in_steps(epochs, words) -> None:
    places = np.array([[0.0, 0.0], [1.0, 0.5], [2.0, 2.0]])
    over = findings.Projected(axes=("x", "y"), coordinates=places, residual=np.zeros(3), distance=np.ones(3))
    known = [findings.Checkpoint(step=50 * i, epoch=epoch) for i, epoch in enumerate(epochs)]
    found = findings.PathLosses(
        checkpoints=known, projected=over, own={"loss": np.ones(3)}, surface={"loss": np.ones(3)}
    )
    assert [text for _, text in found.overlay().words] == words
    assert found.plot().panels[0].x_label == words[0].split()[0]
