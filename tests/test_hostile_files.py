"""Damaged and hostile input for every reader: a clear error that names the file, or a result; never a traceback.

Each input is a good one that was damaged: bytes changed, cut out, doubled, put in; JSON and TOML also with values of
other types. The readers run in this process under a clock: a hang or a crash of a library ends the test run.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import string
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.cli import names as user_names
from lossatlas.cli.scan import Scan
from lossatlas.connect import connections
from lossatlas.errors import RunMismatchError
from lossatlas.objective.contents import read_contents
from lossatlas.results import interchange
from lossatlas.results.arrays import read_table
from lossatlas.results.landscape import save, value_names
from lossatlas.space.curvefile import load_curve, save_curve
from lossatlas.space.curves import Curve
from lossatlas.space.planefile import load_directions, load_labels
from lossatlas.zoo import images

WHOLE = 10_000
"""Inputs of `make soak`; a tenth of them runs everywhere."""

SECONDS = 300
"""A reader that takes longer on so small a file hangs."""

X = np.linspace(-1, 1, 4)
CLEAR = (la.SpecError, RunMismatchError)


# ---- good inputs ------------------------------------------------------------------------------------------------


def _landscape(path: Path) -> None:
    save(la.landscape(x=X, y=X, loss=np.add.outer(X**2, X**2), title="good"), path)


def _surface(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["xcoordinates"], file["ycoordinates"] = X, X
        file["train_loss"] = np.add.outer(X**2, X**2)
        file.create_dataset("train_acc", data=np.ones((4, 4)), chunks=(2, 2), compression="gzip")


def _directions(path: Path) -> None:
    interchange.write_directions(path, {"x": {"w": np.ones((2, 3), np.float32)}}, {"w": (2, 3)})


def _safetensors(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x/w": torch.ones(2, 3), "y/w": torch.ones(2, 3)}, path, metadata={"labels": '{"x": "a"}'})


def _curve(path: Path) -> None:
    save_curve(Curve([{"w": torch.zeros(2)}, {"w": torch.ones(2)}], "polygon"), path)


def _checkpoint(path: Path) -> None:
    torch.save({"state_dict": torch.nn.Linear(2, 2).state_dict(), "epoch": 3}, path)


def _path(folder: Path) -> None:
    recorder, model = la.Recorder(folder), torch.nn.Linear(2, 2)
    for step in range(3):
        with torch.no_grad():
            model.weight += step
        recorder.step(model, loss=1.0, lr=0.1)


def _ways(folder: Path) -> None:
    folder.mkdir()
    from lossatlas.figure.overlays import Points

    upon = [Points(x=[0.0], y=[1.0], label="network", words=["a"])]
    connections.note(folder, {"line": "straight"}, title="a", caption=["b"], barriers={"line": "none"}, upon=upon)


def _unsealed(make: Callable[[Path], None], *names: str) -> Callable[[Path], None]:
    """The same as version 0.1 wrote it, without checksums that would refuse damage before anything else is looked at."""

    def made(folder: Path) -> None:
        make(folder)
        for name in names:
            text = (folder / name).read_text()
            lines = [text] if name.endswith(".json") else text.splitlines()
            old = [
                {key: told for key, told in json.loads(line).items() if key not in ("checksum", "weights")}
                for line in lines
            ]
            for line in old:
                line.update({"format": 1} if "format" in line else {})
            (folder / name).write_text("".join(json.dumps(line) + "\n" for line in old))

    return made


def _model_folder(folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir()
    save_file({"w": torch.ones(2)}, folder / "model-00001-of-00001.safetensors")
    content = {"weight_map": {"w": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


TOML = """model = "zoo:mlp"\ndata = "zoo:digits"\nmetric = ["error"]\nx = [-1.0, 1.0, 3]\nseed = 1\nmemory = 2.0
autograd = false\nstill = "none"\n\n[view]\nvmin = 0\nscale = "log"\n"""
TABLE = "x,y,loss\n0,0,1\n0,1,2\n1,0,3\n1,1,4\n"


# ---- readers: name, how a good one is made, the file to damage, how it is read ------------------------------------


def _training(folder: Path) -> None:
    """A training of a curve, without the checksums that would refuse damage before anything else is looked at."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    _trained_on(folder)
    with safe_open(folder / "training.safetensors", framework="pt") as file:
        facts = file.metadata()
    facts.pop("checksums")
    save_file(load_file(folder / "training.safetensors"), folder / "training.safetensors", metadata=facts)


def _trained_on(folder: Path) -> None:
    from lossatlas.connect.curve_training import Training, train

    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    data = torch.ones(4, 2), torch.arange(4) % 2
    objective = la.Objective(torch.nn.Linear(2, 2), data, loss=torch.nn.functional.cross_entropy)
    ends = [{"weight": torch.eye(2) * k, "bias": torch.zeros(2)} for k in (1.0, 2.0)]
    curve = Curve([ends[0], {name: tensor * 1.5 for name, tensor in ends[1].items()}, ends[1]], "bezier")
    train(objective, curve, Training(epochs=1), progress=False, kept=folder / "training.safetensors")


def _used(landscape) -> None:
    for name in value_names(landscape):
        float(landscape[name].sum())
    la.results.landscape.structured(landscape, "centre")


def _told(path: Path) -> None:
    scan = Scan(**Scan.from_toml(path))
    scan.to_toml(), scan.to_python()


def _walked(folder: Path) -> None:
    path = la.Trajectory.open(folder)
    path.at(0), path.gram


READERS = {
    "landscape.nc": (_landscape, "", lambda path: _used(la.open(path))),
    "surface.h5": (_surface, "", lambda path: _used(interchange.read_surface(path))),
    "directions.h5": (_directions, "", interchange.read_directions),
    "directions.safetensors": (_safetensors, "", lambda path: (load_labels(path), load_directions(path))),
    "curve.safetensors": (_curve, "", load_curve),
    "checkpoint.pt": (_checkpoint, "", read_contents),
    "checkpoint.safetensors": (_safetensors, "", read_contents),
    "model": (_model_folder, "model.safetensors.index.json", read_contents),
    "recorded": (_path, "index.jsonl", _walked),
    "recorded layout": (_path, "path.json", _walked),
    "recorded by 0.1": (_unsealed(_path, "path.json", "index.jsonl"), "index.jsonl", _walked),
    "recorded layout by 0.1": (_unsealed(_path, "path.json", "index.jsonl"), "path.json", _walked),
    "recorded tensors": (_path, "step-000000001.safetensors", _walked),
    "ways": (_ways, "connection.json", lambda path: (connections._known(path), connections.overlays_of(path / "plane"))),
    "ways by 0.1": (
        _unsealed(_ways, "connection.json"),
        "connection.json",
        lambda path: (connections._known(path), connections.overlays_of(path / "plane")),
    ),
    "training.safetensors": (_training, "training.safetensors", _trained_on),
    "table.csv": (lambda path: path.write_text(TABLE), "", lambda path: _used(read_table(path))),
    "arrays.npz": (lambda path: np.savez_compressed(path, x=X, loss=X**2), "", lambda path: _used(read_table(path))),
    "images.npz": (
        lambda path: np.savez(path, x=np.zeros((2, 4, 4, 3), np.uint8), y=np.array([0, 1])),
        "",
        lambda path: user_names.data(str(path)),
    ),
    "images.idx": (lambda path: path.write_bytes(b"\0\0\x08\x01\0\0\0\x03abc"), "", images.idx),
    "sentences.tsv": (lambda path: path.write_text("sentence\tlabel\na b\t0\nc\t1\n"), "", lambda p: user_names.data(str(p))),
    "settings.toml": (lambda path: path.write_text(TOML), "", _told),
}  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A good input for every reader, which it reads."""
    folder, found = tmp_path_factory.mktemp("good"), {}
    for name, (make, within, read) in READERS.items():
        place = folder / name
        make(place)
        read(place)
        found[name] = (place, place / within if within else place)
    return found


# ---- damage -------------------------------------------------------------------------------------------------------

PIECES = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.sampled_from(
        [b"\0" * 8, b"\xff" * 8, b"../../etc/passwd", b"\\ud800", b'"', b"{}", b"[]", b"null", b"NaN", b"-1", b"1e999",
         b"9" * 400, b"\x1b[31m", b"<script>", b"$\\frac{", "\u202e".encode(), b"[" * 3000, b"a" * 3000, b"true", b"\n"]
    ),
)  # fmt: skip
ONE = st.tuples(st.just("put over"), st.floats(0, 1), st.binary(min_size=1, max_size=1))
ANY = st.tuples(st.sampled_from(["put over", "put in", "cut out", "double", "end"]), st.floats(0, 1), PIECES)
CHANGES = st.lists(ONE, min_size=1, max_size=1) | st.lists(ONE | ANY, min_size=1, max_size=4)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def damaged(content: bytes, changes) -> bytes:
    """The content with some bytes changed."""
    for kind, place, piece in changes:
        at = int(place * len(content))
        over = {"put over": len(piece), "cut out": 4 * len(piece)}.get(kind, 0)
        if kind == "end":
            content = content[:at]
        else:
            put = b"" if kind == "cut out" else content[at : at + 64] if kind == "double" else piece
            content = content[:at] + put + content[at + over :]
    return content


def replaced(content: bytes, place: float, value) -> bytes:
    """A JSON or TOML text with one of its values replaced by one of another type."""
    text = content.decode()
    try:
        whole = json.loads(text.splitlines()[0])
    except (ValueError, IndexError):
        lines = text.splitlines()
        at = int(place * (len(lines) - 1))
        lines[at] = f"{lines[at].partition(' = ')[0]} = {json.dumps(value)}"
        return "\n".join(lines).encode(errors="surrogatepass")
    with contextlib.suppress(ValueError):
        whole = json.loads(text)
    places = []

    def walk(inner) -> None:
        for key in inner if isinstance(inner, dict) else range(len(inner)):
            places.append((inner, key))
            if isinstance(inner[key], (dict, list)):
                walk(inner[key])

    walk(whole)
    inner, key = places[int(place * (len(places) - 1))]
    inner[key] = value
    return (json.dumps(whole) + "\n").encode()


def judge(read, path, folder: Path) -> str:
    """What a reader makes of an input: a result, or a clear error; anything else goes through."""
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
    except CLEAR as fault:
        return "refused" if str(fault).strip().encode() else "said nothing"  # it can be printed
    finally:
        faulthandler.cancel_dump_traceback_later()
    return "read"


AMOUNTS = [pytest.param(10, id="tenth"), pytest.param(1, id="whole", marks=pytest.mark.soak)]
QUIET = [
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.function_scoped_fixture,
    HealthCheck.large_base_example,
]


@pytest.mark.parametrize("part", AMOUNTS)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_by_a_clear_error(good, name, part):
    place, file = good[name]
    content, read = file.read_bytes(), READERS[name][2]
    textual = file.suffix in (".json", ".jsonl", ".toml")
    tally = {"read": 0, "refused": 0}
    either = st.tuples(CHANGES, st.booleans(), st.floats(0, 1), VALUES)

    @settings(
        max_examples=WHOLE // part // (len(READERS) + 1) + 1, deadline=None, database=None, derandomize=part > 1,
        suppress_health_check=QUIET,
    )  # fmt: skip
    @given(either)
    def check(drawn) -> None:
        changes, by_type, at, value = drawn
        new = replaced(content, at, value) if textual and by_type else damaged(content, changes)
        file.write_bytes(new)
        tally[judge(read, place, file.parent)] += 1

    try:
        check()
    finally:
        file.write_bytes(content)
    print(f"{name}: {tally['read']} read, {tally['refused']} refused")
    assert tally["refused"], "no input was damaged enough to be refused"


WORDS = st.one_of(
    st.sampled_from(
        ["info", "draw", "topology", "import", "export", "explain", "report", "compare", "animate", "sample", "eigen",
         "trajectory", "connect", "sharpness", "--help", "-o", "--out", "--model", "zoo:mlp", "zoo:mlp(", "zoo:", ":", "a.py:b",
         "--data", "zoo:digits", "--x", "-1", "1", "3", "nan", "inf", "1e999", "--seed", "--config", ".", "/", "/dev/null",
         "a.nc", "a.png", "a.svg", "a.xyz", "--print-config", "--print-python", "--metric", "error", "--axes", "x,y", "--",
         "--view", "--scale", "log", "--clip", "none", "--towards", "--checkpoint", "runs/a", "", "-", "--run", "--steps"]
    ),
    st.text(st.characters(blacklist_characters="\0"), max_size=20),
    st.text(string.ascii_letters, min_size=2990, max_size=3010),
)  # fmt: skip


@pytest.mark.parametrize("part", AMOUNTS)
def test_any_command_line_works_or_is_refused_by_a_clear_error(part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _landscape(tmp_path / "a.nc")
    tally = {}

    @settings(
        max_examples=WHOLE // part // (len(READERS) + 1) + 1, deadline=None, database=None, derandomize=part > 1,
        suppress_health_check=QUIET,
    )  # fmt: skip
    @given(st.lists(WORDS, max_size=6))
    def check(words) -> None:
        if words[:1] == ["sample"]:
            words = [*words, "--print-config"]  # nothing is measured here
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            result = CliRunner().invoke(atlas, words)
        finally:
            faulthandler.cancel_dump_traceback_later()
        assert result.exception is None or isinstance(result.exception, SystemExit), (words, result.exception)
        assert result.exit_code in (0, 1, 2)
        assert "Traceback" not in result.output
        tally[result.exit_code] = tally.get(result.exit_code, 0) + 1

    check()
    print(tally)
