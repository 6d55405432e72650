"""Are studies run beside each other, does one that fails leave the others alone, and is it told at the end?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

import lossatlas_studies as studies
from lossatlas.cli import atlas
from lossatlas_studies.page import estimate_words, results
from lossatlas_studies.together import THREADS, Ended, run_together


def python(code):
    return [sys.executable, "-c", code]


def test_one_that_fails_does_not_lose_the_others():
    said = []
    found = run_together(
        {
            "bad": python("import sys; print('so far'); sys.exit('no such folder')"),
            "good": python("print('done')"),
            "worse": python("import os; os.abort()"),
        },
        1,
        said.append,
    )
    assert found[:2] == [Ended(name="bad", code=1, last="no such folder"), Ended(name="good", code=0, last="done")]
    assert found[2].code != 0
    assert {"bad: so far", "bad: no such folder", "good: done"} <= set(said)


def test_two_jobs_run_at_the_same_time_with_one_thread_each(tmp_path):
    waits = (
        "import os, pathlib, sys, time\n"
        f"own, other = (pathlib.Path({str(tmp_path)!r}) / name for name in sys.argv[1:])\n"
        "own.touch()\n"
        "until = time.monotonic() + 600\n"
        "while not other.exists():\n"
        "    assert time.monotonic() < until\n"
        "    time.sleep(0.01)\n"
        f"print([os.environ[name] for name in {THREADS!r}])"
    )
    commands = {"a": [*python(waits), "a", "b"], "b": [*python(waits), "b", "a"]}
    assert [(one.code, one.last) for one in run_together(commands, 2, lambda line: None)] == [
        (0, "['1', '1', '1']")
    ] * 2


def test_an_interruption_ends_all_and_begins_no_more(tmp_path):
    def interrupted(line):
        raise KeyboardInterrupt

    sleeps = "import os, pathlib, sys, time; pathlib.Path({!r}).write_text(str(os.getpid())); {}time.sleep(3600)"
    waits = python(sleeps.format(str(tmp_path / "waits"), "print('begun'); sys.stdout.flush(); "))
    silent = python(sleeps.format(str(tmp_path / "silent"), ""))
    late = python(f"import pathlib; pathlib.Path({str(tmp_path / 'late')!r}).touch()")
    with pytest.raises(KeyboardInterrupt):
        run_together({"a": waits, "b": silent, "c": late}, 2, interrupted)
    for name in ("waits", "silent"):
        if (said := tmp_path / name).exists() and (number := said.read_text()):  # it may have ended before it said so
            with pytest.raises(ProcessLookupError):
                os.kill(int(number), 0)
    assert (tmp_path / "waits").exists() and not (tmp_path / "late").exists()


@pytest.mark.slow
def test_all_studies_end_with_their_index_and_the_names_of_those_that_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "ORDER", ("edge-of-stability", "no-such-study"))
    command = ["study", "--all", "--dry-run", "--jobs", "2", "--out", str(tmp_path)]
    done = CliRunner().invoke(atlas, command)
    assert done.exit_code == 1, done.output
    assert "edge-of-stability:   descend with rate" in done.stderr
    assert "1 of 2 studies failed" in done.stderr
    assert "no-such-study, exit status 2: lossatlas: study='no-such-study' is unknown" in done.stderr
    assert "Index: file://" in done.stdout
    table = (tmp_path / "dry-small/results.md").read_text().splitlines()
    assert table[0].startswith("A dry run")
    assert table[4].startswith("| `edge-of-stability` | Late in training the largest eigenvalue hovers at 2/η | **")


def test_paper_scale_without_its_data_says_where_to_get_it_and_a_dry_run_needs_none(tmp_path):
    words = ["study", "edge-of-stability", "--scale", "paper", "--out", str(tmp_path)]
    sets = ["--set", f"data=cifar10:{tmp_path}/none"]
    refused = CliRunner().invoke(atlas, [*words, *sets])
    assert refused.exit_code == 2
    assert "there is no CIFAR-10 in" in refused.stderr and "cs.toronto.edu" in refused.stderr
    smaller = ["--set", "width=8", "--set", "rates=0.01", "--set", "steps=2000"]
    dry = CliRunner().invoke(atlas, [*words, *sets, *smaller, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "made-up images of the same shape" in dry.stderr
    found = json.loads((tmp_path / "dry-paper/edge-of-stability/findings.json").read_text())
    assert found["settings"]["data"][0] == "noise"


def test_jobs_are_for_all_studies(tmp_path):
    done = CliRunner().invoke(atlas, ["study", "width", "--jobs", "2", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "--jobs is for --all" in done.stderr


def test_the_table_of_verdicts_is_markdown_with_every_verdict_once():
    one = {
        "claim": "Slices hide |λmin|", "word": "seen at this scale", "quantity": "ratio, ResNet-56", "estimate": -0.5,
        "low": -0.6, "high": 0.1, "p": 7.75e-08, "n": "9 networks",
    }  # fmt: skip
    other = {**one, "claim": "Another", "estimate": float("nan"), "n": "1 network"}
    table = results([{"study": "width", "dry": False, "verdicts": [one, other]}]).splitlines()
    assert table[2] == (
        "| `width` | Slices hide \\|λmin\\| | **seen at this scale** | "
        "ratio, ResNet-56: −0.5 (−0.6 to 0.1), p = 7.75e−08, n = 9 networks |"
    )
    assert table[3] == "|  | Another | **seen at this scale** | ratio, ResNet-56: not known, n = 1 network |"
    assert estimate_words({**one, "low": float("nan")}).startswith("ratio, ResNet-56: -0.5, p =")


TOLD = """
import signal, sys, time
told = []
def answer(*_):
    told.append(1)
    print("told" if len(told) == 1 else "at once", flush=True)
    if len(told) > 1:
        sys.exit(1)
for name in ("SIGINT", "SIGTERM"):
    signal.signal(getattr(signal, name), answer)
print("at work", flush=True)
until = time.monotonic() + 600
while time.monotonic() < until:
    time.sleep(0.1)
    if told and {patient}:
        time.sleep(2)  # the block in hand
        print("after its block", flush=True)
        sys.exit(1)
"""
RUNS = """
import sys
from lossatlas_studies.together import run_together
run_together({"a": [sys.executable, "-c", sys.argv[1]]}, 1, lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize(("times", "last"), [(1, "a: after its block"), (2, "a: at once")])
def test_ctrl_c_in_a_terminal_ends_each_after_its_block_and_a_second_one_at_once(times: int, last: str) -> None:
    told = TOLD.replace("{patient}", str(times == 1))
    process = subprocess.Popen(
        [sys.executable, "-c", RUNS, told], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "a: at work\n"
    heard = ""
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        if not heard:
            heard = process.stdout.readline()  # two signals sent at once are one
    output, _ = process.communicate()
    assert [heard, output.strip()] == ["a: told\n", last]
