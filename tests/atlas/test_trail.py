"""Does the server show recorded paths, the surface below them, and results that are no field?"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.atlas.conftest import HOSTILE, TOKEN, Serve
from tests.atlas.test_server import ask, opened, runs
from torch import nn

import lossatlas as la
from lossatlas.atlas.schema import SCHEMA
from lossatlas.connect.curve_training import Training
from lossatlas.draw import View, compile
from lossatlas.figure.kept import keep
from lossatlas.figure.overlays import Path as Way
from lossatlas.figure.overlays import Points
from lossatlas.paths.below import Below


def objective(model: nn.Module) -> la.Objective:
    x = torch.tensor([[1.0, 0.0, 0.5], [0.0, 2.0, 0.5], [1.0, 1.0, 1.0]])
    return la.Objective(model, (x, torch.zeros(3, 1)), loss=nn.functional.mse_loss)


def train(folder: Path, steps: range) -> None:
    model, recorder = nn.Linear(3, 1, bias=False), la.Recorder(folder, resume=steps.start > 0)
    for step in steps:
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[2.0 - 0.1 * step, 1.0 - 0.05 * step, 0.5 + 0.02 * step**1.5]]))
        recorder.step(model, step=step, epoch=step / 4, loss=3.0 / (1 + step), lr=0.1 if step < 5 else 0.01, note=step)


def test_a_path_without_a_surface_lies_over_cells_that_nobody_sampled(serve: Serve, tmp_path: Path) -> None:
    train(tmp_path / "runs" / "path", range(8))
    address = serve(tmp_path / "runs")
    card = runs(address)["runs/path"]
    assert (card["kind"], card["words"]) == ("path", "8 checkpoints, step 7, loss in training 0.375")
    content, array = opened(ask(address, f"/api/scene?run={card['id']}")[2])
    assert not array(content["blocks"][0]["status"]).any()
    (path,) = content["overlays"]
    along = {name: array(row).tolist() for name, row in path["along"].items()}
    assert along["step"] == list(range(8))
    assert along["epoch"] == [step / 4 for step in range(8)]
    assert along["note"] == list(range(8))
    assert along["loss in training"] == [3.0 / (1 + step) for step in range(8)]
    assert path["words"][0] == "start"
    assert path["arrows"] == [5], "the learning rate falls to a tenth there"
    assert (content["first"]["low"], content["first"]["high"]) == (0.375, 3.0)
    assert "Ruggedness" not in content["caption"]["notes"]


def test_a_path_grows_without_moving_what_was_drawn_of_it(serve: Serve, tmp_path: Path) -> None:
    train(tmp_path / "runs" / "path", range(6))
    address = serve(tmp_path / "runs")
    number = runs(address)["runs/path"]["id"]
    seen = []
    for end in (6, 7, 8):
        if end > 6:
            train(tmp_path / "runs" / "path", range(end - 1, end))
        content, array = opened(ask(address, f"/api/scene?run={number}")[2])
        (path,) = content["overlays"]
        seen.append(np.column_stack([array(path["x"]), array(path["y"])]))
    for before, after in itertools.pairwise(seen):
        assert len(after) == len(before) + 1
        step = np.linalg.norm(after[-1] - after[-2])
        assert np.linalg.norm(after[: len(before)] - before, axis=1).max() < 0.1 * step


def test_a_path_lies_upon_the_surface_below_it(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "path"
    train(folder, range(8))
    below = Below(folder, nn.Linear(3, 1, bias=False), objective, points=9)
    while below.step():
        pass
    address = serve(tmp_path / "runs")
    assert list(runs(address)) == ["runs/path"], "the surfaces below a path are a part of it"
    content, array = opened(ask(address, f"/api/scene?run={runs(address)['runs/path']['id']}")[2])
    assert array(content["blocks"][0]["status"]).shape == (1, 9, 9)
    (path,) = content["overlays"]
    trajectory = la.Trajectory.open(folder)
    over = trajectory.project(trajectory.plane())
    assert array(path["x"]) == pytest.approx(over.coordinates[:, 0], abs=1e-6)
    assert array(path["along"]["distance from the plane"]) == pytest.approx(over.residual, abs=1e-6)
    own = [objective(nn.Linear(3, 1, bias=False))(trajectory.at(place))["loss"] for place in range(8)]
    assert array(path["along"]["loss of the network"]) == pytest.approx(own)
    assert "The surface was sampled on plane 1, through step 7, 9 × 9." in content["caption"]["notes"]


def flat(folder: Path, *titles: str) -> None:
    """Scans of straight lines over three seeds for each title."""
    for title in titles:
        model = nn.Linear(3, 1, bias=False)
        with torch.no_grad():
            model.weight.copy_(torch.full((1, 3), 1.0 + len(title)))
        la.seeds(objective(model), la.Grid(x=(-1, 1, 9)), range(3), run=folder / title)


def test_seeds_are_one_entry_beside_their_runs_and_are_compared_with_a_verdict(serve: Serve, tmp_path: Path) -> None:
    flat(tmp_path / "runs", "a", "bbbb")
    address = serve(tmp_path / "runs")
    found = runs(address)
    assert found["runs/a"]["kind"] == "seeds"
    assert found["runs/a"]["words"] == "3 seeds"
    assert found["runs/a/seed-0"]["group"] == "runs/a"
    asked = f"/api/compare?run={found['runs/a']['id']}&run={found['runs/bbbb']['id']}"
    sheet = json.loads(ask(address, asked)[2])
    from lossatlas.field.uncertainty import Seeds, compare

    said = compare(Seeds.open(tmp_path / "runs/a"), Seeds.open(tmp_path / "runs/bbbb"))
    assert sheet["words"][0].startswith(said.words)
    (table,) = sheet["tables"]
    assert table["rows"][0] == {"measure": "direction seeds", "a": "3", "bbbb": "3"}
    assert table["rows"][-4]["a"] == "0 % (0 % to 0 %)", "a convex loss has no ruggedness"
    single = f"/api/compare?run={found['runs/a/seed-0']['id']}&run={found['runs/bbbb/seed-0']['id']}"
    assert "takes several direction seeds" in json.loads(ask(address, single)[2])["words"][0]


def test_results_of_one_title_are_compared_under_their_own_names(serve: Serve, tmp_path: Path) -> None:
    for name, scale in (("a", 1.0), ("b", 2.0)):
        model = nn.Linear(3, 1, bias=False)
        with torch.no_grad():
            model.weight.copy_(torch.full((1, 3), scale))
        la.seeds(objective(model), la.Grid(x=(-1, 1, 5)), range(2), run=tmp_path / "runs" / name)
    address = serve(tmp_path / "runs")
    found = runs(address)
    assert found["runs/a"]["title"] == found["runs/b"]["title"]
    content, _ = opened(ask(address, f"/api/scene?run={found['runs/a']['id']}&run={found['runs/b']['id']}")[2])
    assert [(curve["title"], curve["runs"]) for curve in content["curves"]] == [("a", 2), ("b", 2)]
    both = [la.open(tmp_path / "runs" / name) for name in "ab"]
    drawn = compile(both, View(labels=["first", "second"]))
    assert [(curve.title, len(curve.members)) for curve in drawn.curves] == [("first", 2), ("second", 2)]
    single, _ = opened(ask(address, f"/api/scene?run={found['runs/a']['id']}")[2])
    assert [curve["title"] for curve in single["curves"]] == [found["runs/a"]["title"]]


def test_a_map_of_curvature_begins_with_its_ratio(serve: Serve, tmp_path: Path) -> None:
    measured = objective(nn.Linear(3, 1, bias=False))
    plane = la.Plane.random(measured, seed=0)
    la.curvature_map(measured, plane, la.Grid(x=(-1, 1, 3), y=(-1, 1, 3)), run=tmp_path / "runs" / "map")
    address = serve(tmp_path / "runs")
    (card,) = runs(address).values()
    for small in ("", "&small=1"):
        content, _ = opened(ask(address, f"/api/scene?run={card['id']}{small}")[2])
        assert content["value"] == "|λmin/λmax|"
        assert "loss" in content["values"]
    asked = {"format": "svg", "value": content["value"]}
    status, _, _ = ask(address, f"/api/figure?run={card['id']}", "POST", asked, x_lossatlas_token=TOKEN)
    assert status == 200, "a value is asked for by the words that the page shows"


def test_paths_that_a_run_keeps_lie_upon_its_surface(serve: Serve, tmp_path: Path) -> None:
    measured = objective(nn.Linear(3, 1, bias=False))
    grid = la.Grid(x=(-1, 1, 3), y=(-1, 1, 3))
    for name in ("one", "two"):
        la.sample(measured, la.Plane.random(measured, seed=0), grid, run=tmp_path / "runs" / name)
    address = serve(tmp_path / "runs")
    found = runs(address)
    alone = f"/api/scene?run={found['runs/two']['id']}"
    assert opened(ask(address, alone)[2])[0]["overlays"] == []
    way = Way(x=[0.0, 0.5], y=[1.0, -1.0], label="SGD", along={"epoch": [0.0, 3.0]})
    keep(tmp_path / "runs" / "two", [way, Points(x=[0.5], y=[0.5], words=["A"])])
    content, array = opened(ask(address, alone)[2])
    path, points = content["overlays"]
    assert (path["label"], array(path["x"]).tolist(), points["words"]) == ("SGD", [0.0, 0.5], ["A"])
    assert array(path["along"]["epoch"]).tolist() == [0.0, 3.0]
    both = opened(ask(address, f"/api/scene?run={found['runs/one']['id']}&run={found['runs/two']['id']}")[2])[0]
    assert [one["panel"] for one in both["overlays"]] == [1, 1]


def test_connections_studies_and_tables_are_opened(serve: Serve, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    root = tmp_path / "runs"
    study = root / "study"
    (study / "tables").mkdir(parents=True)
    (study / "figures").mkdir()
    verdict = {"word": "supported", "claim": HOSTILE, "words": "By 3 to 1.", "caveat": ""}
    (study / "findings.json").write_text(json.dumps({"title": HOSTILE, "verdicts": [verdict]}))
    (study / "tables" / "numbers.csv").write_text("name,value\na,1.5\n")
    (study / "figures" / "one.png").write_bytes(b"\x89PNG one")
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    (study / "figures" / "two.png").symlink_to(secret)
    (study / "tables" / "two.csv").symlink_to(secret)
    models = [nn.Linear(3, 1, bias=False), nn.Linear(3, 1, bias=False)]
    quick = Training(epochs=1)
    la.connect(objective(models[0]), *models, steps=5, training=quick, run=root / "connection")
    table = la.sharpness.table({"net": objective(models[0])}, ["trace"])
    from lossatlas.flatness.stored import save

    save(table, root / "flat.json")
    (root / "other.json").write_text("{}")
    address = serve(root)
    found = runs(address)
    assert sorted(found) == ["runs/connection", "runs/flat.json", "runs/study"]
    schema = SCHEMA["paths"]["/api/sheet"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    for name in found:
        sheet = json.loads(ask(address, f"/api/sheet?run={found[name]['id']}")[2])
        jsonschema.validate(sheet, schema)
    sheet = json.loads(ask(address, f"/api/sheet?run={found['runs/study']['id']}")[2])
    assert sheet["title"] == HOSTILE
    assert sheet["tables"] == [{"name": "numbers", "rows": [{"name": "a", "value": "1.5"}]}]
    assert sheet["pictures"] == 1
    status, headers, body = ask(address, f"/api/picture?run={found['runs/study']['id']}")
    assert (status, headers["content-type"], body) == (200, "image/png", b"\x89PNG one")
    for bad in ("1", "-1", "x", "99999999"):
        assert ask(address, f"/api/picture?run={found['runs/study']['id']}&picture={bad}")[0] == 400
    status, headers, body = ask(address, f"/api/picture?run={found['runs/flat.json']['id']}")
    assert headers["content-type"] == "image/svg+xml"
    assert b"<svg" in body
    assert ask(address, f"/api/scene?run={found['runs/study']['id']}")[0] == 400


def test_numbers_that_no_float_holds_break_nothing(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "path"
    train(folder, range(4))
    notes = {HOSTILE: -(10**400)}
    la.Recorder(folder, resume=True).step(nn.Linear(3, 1, bias=False), step=4, **notes)
    address = serve(tmp_path / "runs")
    status, _, body = ask(address, f"/api/scene?run={runs(address)['runs/path']['id']}")
    content, array = opened(body)
    assert status == 200
    assert array(content["overlays"][0]["along"]["note"])[3] == 3
    assert HOSTILE not in content["overlays"][0]["along"], "no finite number of it is known"


def test_a_figure_of_a_path_has_the_path_on_it(serve: Serve, tmp_path: Path) -> None:
    train(tmp_path / "runs" / "path", range(8))
    address = serve(tmp_path / "runs")
    number = runs(address)["runs/path"]["id"]
    status, _, body = ask(
        address, f"/api/figure?run={number}", "POST", {"format": "svg", "kind": "filled"}, x_lossatlas_token=TOKEN
    )
    assert status == 200
    assert b"training path" in body


def shifted(folder: Path, steps: int, by: float, size: int = 3) -> None:
    """A training that begins somewhere else, recorded."""
    model, recorder = nn.Linear(size, 1, bias=False), la.Recorder(folder)
    for step in range(steps):
        with torch.no_grad():
            model.weight.copy_(torch.linspace(2.0 + by, 0.5 - by, size)[None] * (1 - 0.08 * step))
            model.weight[0, 0] += 0.02 * step**2
        recorder.step(model, step=step, loss=2.0 / (1 + step))


def test_several_paths_lie_upon_the_surface_of_the_one_that_has_it(serve: Serve, tmp_path: Path) -> None:
    shifted(tmp_path / "runs" / "other", 5, 0.3)
    train(tmp_path / "runs" / "path", range(8))
    below = Below(tmp_path / "runs" / "path", nn.Linear(3, 1, bias=False), objective, points=9)
    while below.step():
        pass
    address = serve(tmp_path / "runs")
    found = runs(address)
    query = f"run={found['runs/other']['id']}&run={found['runs/path']['id']}"
    content, array = opened(ask(address, f"/api/scene?{query}")[2])
    assert [array(block["status"]).shape for block in content["blocks"]] == [(1, 9, 9)]
    own, other = content["overlays"]
    assert (own["label"], other["label"]) == ("path", "other")
    assert own["colour"] != other["colour"]
    plane = la.Trajectory.open(tmp_path / "runs" / "path").plane()
    trajectory = la.Trajectory.open(tmp_path / "runs" / "other")
    over = trajectory.project(plane)
    assert array(other["x"]) == pytest.approx(over.coordinates[:, 0], abs=1e-6)
    assert array(other["y"]) == pytest.approx(over.coordinates[:, 1], abs=1e-6)
    assert array(other["along"]["distance from the plane"]) == pytest.approx(over.residual, abs=1e-6)
    status, _, body = ask(address, f"/api/figure?{query}", "POST", {"format": "svg"}, x_lossatlas_token=TOKEN)
    assert status == 200
    assert b"other" in body


def test_paths_without_a_surface_lie_in_the_plane_that_all_of_them_span(serve: Serve, tmp_path: Path) -> None:
    for name, by in (("a", 0.1), ("b", 0.4), ("c", -0.3)):
        shifted(tmp_path / "runs" / name, 5, by)
    address = serve(tmp_path / "runs")
    found = runs(address)
    query = "&".join(f"run={found[f'runs/{name}']['id']}" for name in "abc")
    content, array = opened(ask(address, f"/api/scene?{query}")[2])
    assert len(content["blocks"]) == 1
    assert not array(content["blocks"][0]["status"]).any()
    assert [overlay["label"] for overlay in content["overlays"]] == ["a", "b", "c"]
    assert "of 15 checkpoints of 3 paths together" in content["caption"]["notes"]
    points = np.concatenate(
        [
            [la.Trajectory.open(tmp_path / "runs" / name).at(step)["weight"].numpy().ravel() for step in range(5)]
            for name in "abc"
        ]
    )
    centred = points - points.mean(axis=0)
    _, _, ways = np.linalg.svd(centred, full_matrices=False)
    seen = np.concatenate(
        [np.column_stack([array(overlay["x"]), array(overlay["y"])]) for overlay in content["overlays"]]
    )
    plane = centred @ ways[:2].T
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert apart == pytest.approx(np.linalg.norm(plane[:, None] - plane[None], axis=-1), abs=1e-5)
    residual = np.concatenate([array(overlay["along"]["distance from the plane"]) for overlay in content["overlays"]])
    assert residual == pytest.approx(np.abs(centred @ ways[2]), abs=1e-5)


def test_paths_of_other_networks_stand_side_by_side(serve: Serve, tmp_path: Path) -> None:
    for name, size in (("a", 3), ("b", 3), ("wide", 4)):
        shifted(tmp_path / "runs" / name, 4, 0.1, size)
    address = serve(tmp_path / "runs")
    found = runs(address)

    def panels(*names: str) -> list[int]:
        query = "&".join(f"run={found[f'runs/{name}']['id']}" for name in names)
        content, _ = opened(ask(address, f"/api/scene?{query}")[2])
        return [overlay["panel"] for overlay in content["overlays"]]

    assert panels("a", "b") == [None, None]
    assert panels("a", "wide") == [0, 1]
    below = Below(tmp_path / "runs" / "a", nn.Linear(3, 1, bias=False), objective, points=5)
    while below.step():
        pass
    assert panels("a", "b") == [None, None]
    assert panels("a", "wide") == [0, 1]
