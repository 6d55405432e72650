"""Are stages kept whole, found again, told apart, and gone on with after an interruption?"""

from __future__ import annotations

import dataclasses
import json

import pytest

from lossatlas import SpecError
from lossatlas_studies.settings import about, assignments, changed, described, reduced, work
from lossatlas_studies.stages import Bench


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    depths: tuple[int, ...] = (8, 14)
    lr: float = 0.05
    data: str = about("digits", "the data")
    early: bool = False
    epochs: int = work(300, least=1)
    points: int = work(51, least=5, power=0.5)
    seeds: int = work(3, least=2)


def counting(results):
    calls = []

    def stage_work(folder):
        calls.append(folder)
        return results

    return calls, stage_work


def test_a_stage_is_run_once_and_found_by_another_study(tmp_path):
    calls, stage_work = counting({"loss": 0.1, "bad": float("nan")})
    said = []
    first = Bench(folder=tmp_path, say=said.append).stage("train a", {"seed": 0}, stage_work)
    again = Bench(folder=tmp_path, say=said.append).stage("train a", {"seed": 0}, stage_work)
    assert len(calls) == 1 and said == ["train a"]
    assert first.fresh and not again.fresh
    assert again.result["loss"] == 0.1 and again.result["bad"] != again.result["bad"]
    assert again.seconds == first.seconds


def test_another_key_or_name_is_another_stage(tmp_path):
    calls, stage_work = counting({})
    bench = Bench(folder=tmp_path)
    for name, key in (("a", {"seed": 0}), ("a", {"seed": 1}), ("a", {"seed": 0.0}), ("b", {"seed": 0})):
        bench.stage(name, key, stage_work)
    assert len(calls) == len(set(calls)) == 4


def test_an_interrupted_stage_finds_its_own_files_and_its_time_adds_up(tmp_path):
    bench = Bench(folder=tmp_path)

    def fails(folder):
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.stage("s", {}, fails)
    spent = float(next(tmp_path.glob("*/spent.txt")).read_text())
    done = bench.stage("s", {}, lambda folder: {"found": (folder / "half").read_text()})
    assert done.result == {"found": "half"}
    assert done.seconds > spent > 0


def test_a_result_that_is_not_plain_is_refused_and_the_stage_is_not_done(tmp_path):
    bench = Bench(folder=tmp_path)
    with pytest.raises(SpecError, match="keys and results are numbers, texts, lists and mappings"):
        bench.stage("s", {}, lambda folder: {"x": object()})
    assert not list(tmp_path.glob("*/done.json"))


def test_a_damaged_stage_is_named_and_not_run_over(tmp_path):
    bench = Bench(folder=tmp_path)
    bench.stage("s", {}, lambda folder: {})
    next(tmp_path.glob("*/done.json")).write_text('{"result":')
    with pytest.raises(SpecError, match="damaged.*delete the folder"):
        bench.stage("s", {}, lambda folder: {})


def test_the_key_is_written_beside_the_result(tmp_path):
    Bench(folder=tmp_path).stage("s", {"seed": 3}, lambda folder: {})
    assert json.loads(next(tmp_path.glob("*/settings.json")).read_text())["seed"] == 3


def test_settings_are_set_by_words():
    found = changed(Settings(), ["depths=8,20,26", "lr=1e-3", "early=true", "data=npz:a,b", "seeds = 5"])
    assert found == Settings(depths=(8, 20, 26), lr=1e-3, early=True, data="npz:a,b", seeds=5)
    assert changed(Settings(), assignments(found, Settings())) == found
    assert described(found)["data"] == ("npz:a,b", "the data")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("depth=8", "--set='depth' is unknown; choose one of: depths, lr, data, early, epochs, points, seeds"),
        ("lr", "expected NAME=VALUE"),
        ("lr=fast", "expected a float, such as 0.05"),
        ("depths=8,deep", "expected an int, such as 8"),
        ("early=yes", "expected true or false"),
    ],
)
def test_bad_words_are_named(words, message):
    with pytest.raises(SpecError, match=message):
        changed(Settings(), [words])


def test_a_dry_run_does_a_hundredth_and_never_more_than_was_asked():
    assert reduced(Settings()) == Settings(epochs=3, points=5, seeds=2)
    assert reduced(Settings(points=3, seeds=1)) == Settings(epochs=3, points=3, seeds=1)
