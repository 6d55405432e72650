"""Does the server answer what it promises, only to those it should, and only about what was named?"""

from __future__ import annotations

import gzip
import http.client
import json
import re
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from tests.atlas.conftest import HOSTILE, TOKEN, Serve, points, spec

from lossatlas.atlas.guard import Guard
from lossatlas.atlas.schema import SCHEMA
from lossatlas.atlas.shelf import Shelf
from lossatlas.atlas.watch import Watch
from lossatlas.results import reading
from lossatlas.results.store import RunFolder


def ask(address: str, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, Any, bytes]:
    """A request as it is written, also one that no library would send."""
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=600)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body=None if body is None else json.dumps(body), headers=named)
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


def runs(address: str) -> dict[str, dict[str, Any]]:
    return {card["name"]: card for card in json.loads(ask(address, "/api/runs")[2])}


def opened(body: bytes) -> tuple[dict[str, Any], Any]:
    (length,) = struct.unpack_from("<I", body)
    content, numbers = json.loads(body[4 : 4 + length]), body[4 + length :]

    def array(packed: dict[str, Any]) -> np.ndarray:
        place, kind, shape = packed["$"]
        return np.frombuffer(numbers, {"f8": "<f8", "u1": "u1"}[kind], int(np.prod(shape)), place).reshape(shape)

    return content, array


def test_the_list_has_what_lies_in_the_named_folder_and_nothing_else(serve: Serve, shelf_folder: Path) -> None:
    found = runs(serve(shelf_folder))
    assert sorted(found) == ["runs/deep/half", "runs/done", "runs/file.nc"]
    assert found["runs/done"]["finished"] is True
    assert found["runs/deep/half"]["counts"] == {"total": 63, "done": 32, "failed": 0, "non_finite": 0}
    assert found["runs/deep/half"]["title"] == HOSTILE
    assert found["runs/file.nc"]["axes"] == {"x": 9, "y": 7}


def test_the_answers_are_those_of_the_schema(serve: Serve, shelf_folder: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    address = serve(shelf_folder)
    assert json.loads(ask(address, "/api/schema")[2]) == SCHEMA
    cards = json.loads(ask(address, "/api/runs")[2])
    answer = SCHEMA["paths"]["/api/runs"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(cards, answer)
    for path, methods in SCHEMA["paths"].items():
        for method, said in methods.items():
            asked = f"{path}?run={cards[0]['id']}" if said.get("parameters") else path
            if path in ("/api/events", "/api/sheet", "/api/picture"):  # the last two are of results that are no field
                continue
            body = {"format": "pdf"} if method == "post" else None
            status, headers, _ = ask(address, asked, method.upper(), body, x_lossatlas_token=TOKEN)
            assert status == 200, path
            assert headers["content-type"].split(";")[0] in said["responses"]["200"]["content"]


def test_a_scene_has_the_values_of_the_file_bit_for_bit(serve: Serve, shelf_folder: Path) -> None:
    address = serve(shelf_folder)
    number = runs(address)["runs/file.nc"]["id"]
    status, _, body = ask(address, f"/api/scene?run={number}")
    content, array = opened(body)
    (block,) = content["blocks"]
    assert status == 200
    assert np.array_equal(array(block["values"]["loss"])[0].T, reading.open(shelf_folder / "file.nc")["loss"].values)
    assert array(block["axes"][0]["coordinates"])[1] == -1.5


def test_a_run_that_grows_is_seen_as_it_is_now(serve: Serve, shelf_folder: Path) -> None:
    from lossatlas.results.store import RunFolder

    address = serve(shelf_folder)
    number = runs(address)["runs/deep/half"]["id"]

    def evaluated() -> int:
        content, array = opened(ask(address, f"/api/scene?run={number}")[2])
        return int(np.isin(array(content["blocks"][0]["status"]), [1]).sum())

    assert evaluated() == 32
    with RunFolder.begin(shelf_folder / "deep" / "half", spec(HOSTILE)) as run:
        run.commit(points([1, 3]))
        assert evaluated() == 34, "while its writer has it open"


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("GET", {"host": "evil.example"}, 403),
        ("GET", {"host": "127.0.0.1.evil.example:80"}, 403),
        ("GET", {"host": "localhost:1"}, 200),
        ("GET", {"host": "["}, 403),
        ("GET", {"origin": "http://evil.example"}, 403),
        ("GET", {"origin": "null"}, 403),
        ("GET", {"sec_fetch_site": "cross-site"}, 403),
        ("GET", {"sec_fetch_site": "same-site"}, 403),
        ("GET", {"sec_fetch_site": "same-origin"}, 200),
        ("POST", {}, 403),
        ("POST", {"x_lossatlas_token": "wrong"}, 403),
        ("POST", {"x_lossatlas_token": TOKEN}, 405),
        ("DELETE", {}, 403),
    ],
)
def test_only_pages_of_this_machine_are_answered(
    serve: Serve, shelf_folder: Path, method: str, headers: dict[str, str], status: int
) -> None:
    assert ask(serve(shelf_folder), "/api/runs", method, **headers)[0] == status


def test_every_answer_forbids_foreign_and_inline_code(serve: Serve, shelf_folder: Path) -> None:
    address = serve(shelf_folder)
    for path, host in (
        ("/", "localhost"),
        ("/api/runs", "localhost"),
        ("/nothing", "localhost"),
        ("/", "evil.example"),
    ):
        headers = ask(address, path, host=host)[1]
        assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/notes.txt", "/../notes.txt", "/..%2fnotes.txt", "/atlas.js/../../notes.txt", "/api/scene?run=../../outside",
     "/api/scene", "/api/scene?run=000000000000", "/api/events?run=%2fetc%2fpasswd"],
)  # fmt: skip
def test_no_path_of_a_request_is_ever_opened(serve: Serve, shelf_folder: Path, path: str) -> None:
    status, _, body = ask(serve(shelf_folder), path)
    assert status in (400, 404)
    assert b"secret" not in body


def test_a_figure_is_drawn_as_the_command_line_draws_it(serve: Serve, shelf_folder: Path) -> None:
    address = serve(shelf_folder)
    number = runs(address)["runs/done"]["id"]
    asked = {"format": "svg", "kind": "filled", "vmax": 30.0, "title": HOSTILE}
    status, _, body = ask(address, f"/api/figure?run={number}", "POST", asked, x_lossatlas_token=TOKEN)
    assert status == 200
    assert b"clipped at 30" in body
    assert b"<script>" not in body
    asked = {"format": "svg", "width": "84mm", "x_label": "to the left", "levels": 3, "caption": "none", "font_size": 9}
    status, _, body = ask(address, f"/api/figure?run={number}", "POST", asked, x_lossatlas_token=TOKEN)
    assert status == 200
    assert b"to the left" in body
    (width,) = re.findall(rb'<svg[^>]* width="([0-9.]+)pt"', body)
    assert float(width) == pytest.approx(84 / 25.4 * 72, abs=0.5)
    for bad in ({"format": "exe"}, {"format": "pdf", "kind": "cake"}, {"format": "pdf", "vmin": "low"}, []):
        status, _, body = ask(address, f"/api/figure?run={number}", "POST", bad, x_lossatlas_token=TOKEN)
        assert (status, "fault" in json.loads(body)) == (400, True), bad


WRITER = """
import sys, time
sys.path.insert(0, {root!r})
from tests.atlas.conftest import points, spec
from lossatlas.results.store import RunFolder
with RunFolder.begin({folder!r}, spec("live")) as run:
    for first in range(0, 63, 7):
        run.commit(points(range(first, first + 7)))
        time.sleep({wait})
    run.finish()
"""


def write_live(folder: Path, wait: float) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen([sys.executable, "-c", WRITER.format(root=root, folder=str(folder), wait=wait)])


def told(address: str, number: str) -> list[dict[str, Any]]:
    """What the events of a run say until it is finished."""
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=600)
    connection.request("GET", f"/api/events?run={number}")
    answer, found = connection.getresponse(), []
    while not found or not found[-1]["finished"]:
        line = answer.readline()
        if line.startswith(b"data:"):
            found.append(json.loads(line[5:]))
    connection.close()
    return found


def test_many_pages_watch_a_run_of_another_process_with_one_look_at_a_time(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    address = serve(tmp_path / "runs")
    writer = write_live(tmp_path / "runs" / "live", wait=0.2)
    while "runs/live" not in runs(address):
        time.sleep(0.05)
    number = runs(address)["runs/live"]["id"]
    heard: list[list[dict[str, Any]]] = []
    threads = [threading.Thread(target=lambda: heard.append(told(address, number))) for _ in range(100)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    looks = serve.app.app.state.watch.looks  # type: ignore[attr-defined]
    assert writer.wait(600) == 0
    assert len(heard) == 100
    assert all(one[-1]["done"] == 63 for one in heard)
    assert all([event["done"] for event in one] == sorted(event["done"] for event in one) for one in heard)
    # One look every tenth of a second, whoever listens.
    assert looks <= 10 * (time.monotonic() - began) + 3


def test_a_run_that_cannot_be_read_yet_is_not_said_to_be_finished(tmp_path: Path) -> None:
    with RunFolder.begin(tmp_path / "live", spec("live")) as run:
        run.commit(points(range(63)))
        run.finish()
    whole = (tmp_path / "live" / "spec.json").read_text()
    (tmp_path / "live" / "spec.json").write_text(whole[:20])
    shelf = Shelf([tmp_path])
    (entry,) = shelf.entries()
    watch = Watch(shelf)
    assert "fault" in shelf.card(entry)
    assert watch._state(entry.id) == {}
    (tmp_path / "live" / "spec.json").write_text(whole)
    (tmp_path / "live").touch()
    found = watch._state(entry.id)
    assert (found["finished"], found["done"]) == (True, 63)


def test_a_guard_passes_nothing_but_http(serve: Serve) -> None:
    import asyncio

    called: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope["type"])

    asyncio.run(Guard(app, "t")({"type": "websocket", "headers": []}, None, None))  # type: ignore[arg-type]
    assert called == []


def test_words_are_sent_compressed_and_arrays_and_events_are_not(serve: Serve, shelf_folder: Path) -> None:
    address = serve(shelf_folder)
    while sum("ruggedness" in card for card in runs(address).values()) < 2:  # it comes once the list has gone out
        time.sleep(0.02)
    number = runs(address)["runs/done"]["id"]
    for path in ("/atlas.js", "/third.js", "/atlas.css", "/api/schema", "/api/runs"):
        _, plain, whole = ask(address, path)
        assert "content-encoding" not in plain
        _, headers, body = ask(address, path, accept_encoding="gzip")
        assert headers["content-encoding"] == "gzip"
        assert gzip.decompress(body) == whole
        assert len(body) < 0.5 * len(whole)
    where = urlsplit(address)
    for path in (f"/api/scene?run={number}", f"/api/events?run={number}"):
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=600)
        connection.request("GET", path, headers={"accept-encoding": "gzip"})
        assert "content-encoding" not in connection.getresponse().headers
        connection.close()
