"""Does `lossatlas serve` end in good order while it computes what pages have asked for?"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from lossatlas.atlas.ending import Crew, over

SLOW = """
import sys, time
from pathlib import Path
from lossatlas.atlas import server
def slow(landscapes, target, **how):
    print("drawing", flush=True)
    time.sleep({seconds})
    return Path(target).write_bytes(b"a figure") and target
server.draw = slow
from lossatlas.start import main
sys.argv = ["lossatlas", "serve", sys.argv[1], "--port", "0", "--no-browser"]
main()
"""


def asked(process: subprocess.Popen[str]) -> tuple[threading.Thread, list[int | bytes]]:
    """A figure that is being drawn, and what will be answered."""
    assert process.stdout is not None
    found = re.search(r"(http\S+)/#token=(\S+)", process.stdout.readline())
    assert found is not None
    with urllib.request.urlopen(f"{found[1]}/api/runs", timeout=600) as answer:
        run = json.load(answer)[0]["id"]
    request = urllib.request.Request(
        f"{found[1]}/api/figure?run={run}", data=b'{"format": "pdf"}', headers={"x-lossatlas-token": found[2]}
    )
    answers: list[int | bytes] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                answers.append(answer.read())
        except urllib.error.HTTPError as fault:
            answers.append(fault.code)
            process.terminate()

    thread = threading.Thread(target=ask)
    thread.start()
    while process.stdout.readline().strip() != "drawing":
        assert process.poll() is None
    return thread, answers


@pytest.mark.parametrize(
    ("signals", "seconds"),
    [(["SIGTERM"], 1), (["SIGTERM"], 300), (["SIGHUP"], 300), (["SIGINT", "SIGINT"], 300)],
)
def test_a_figure_that_is_being_drawn_does_not_keep_the_server(
    shelf_folder: Path, signals: list[str], seconds: int
) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    command = [sys.executable, "-c", SLOW.format(seconds=seconds), str(shelf_folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        thread, answers = asked(process)
        for name in signals:
            process.send_signal(getattr(signal, name))
            time.sleep(0.5)
        _, errors = process.communicate(timeout=280)
        thread.join()
    assert (process.returncode, errors, answers) == (0, "", [503])


def test_what_is_imported_with_the_first_array_is_imported_before_there_are_threads() -> None:
    """The ruggedness of a result and the first figure, each in its thread, found half of dask: a status of 500."""
    pytest.importorskip("dask", reason="dask is not installed")
    pytest.importorskip("starlette", reason="starlette is not installed")
    program = """
import sys
from lossatlas.atlas.server import application
from lossatlas.atlas.shelf import Shelf
application(Shelf(["."]), "token")
before = set(sys.modules)
import xarray as xr
xr.Dataset(coords={"x": [0.0]})
print(sorted(set(sys.modules) - before))
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_who_has_nothing_to_compute_waits_for_nothing() -> None:
    crew = Crew("idle", 2)
    assert crew.submit(int, "3").result() == 3
    began = time.monotonic()
    assert over((crew, Crew("never", 1)), 600)
    assert time.monotonic() - began < 300


def test_work_that_waits_for_its_turn_is_not_begun_and_work_in_hand_has_its_time() -> None:
    crew, begun, release, done = Crew("one", 1), threading.Event(), threading.Event(), []

    def work(number: int) -> None:
        begun.set()
        release.wait(600)
        done.append(number)

    for number in range(3):
        crew.submit(work, number)
    assert begun.wait(600)
    assert not over((crew,), 0.1)
    release.set()
    assert over((crew,), 600)
    assert done == [0]
