"""Is a server that is not there told from one that is slow?"""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import lossatlas as la
from lossatlas.cli import names
from lossatlas.objective import hub, reach


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "getproxies", dict)


@pytest.fixture
def server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_that_takes_a_connection_is_reached_however_slowly_it_goes_on(server: str) -> None:
    assert reach.unreached(server) == ""


def test_a_server_that_is_not_there_is_told_by_its_reason(server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert reach.unreached(f"http://127.0.0.1:{port}") == "Connection refused"
    assert "not known" in reach.unreached("https://no-such-host.invalid") or reach.unreached("https://no-such.invalid")


def test_a_server_that_says_nothing_is_waited_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def slow(*_: object, **__: object) -> None:
        release.wait(600)
        raise OSError("too late")

    monkeypatch.setattr(reach, "SECONDS", 0.2)
    monkeypatch.setattr(socket, "create_connection", slow)
    began = time.perf_counter()
    assert reach.unreached("https://silent.example") == "no answer within 0.2 s"
    assert time.perf_counter() - began < 300
    release.set()


def test_a_proxy_is_not_second_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": "http://proxy:3128"})
    monkeypatch.setattr(urllib.request, "proxy_bypass", lambda host: host == "inside.invalid")
    assert reach.unreached("https://no-such-host.invalid") == ""
    assert reach.unreached("https://inside.invalid")


def test_downloads_are_patient_only_for_as_long_as_they_go(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError), reach.patient():
        assert socket.getdefaulttimeout() == reach.SECONDS
        raise ZeroDivisionError
    assert socket.getdefaulttimeout() is None


def test_a_model_at_a_hub_that_cannot_be_reached_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://no-such-host.invalid")
    began = time.perf_counter()
    with pytest.raises(la.SpecError, match=r"no-such-host.invalid cannot be reached \(.*cache.*hf download owner/net"):
        names.model("hf:owner/net")
    assert time.perf_counter() - began < 80  # the library alone tries for a minute and a half; most of this is imports
    assert constants.HF_HUB_OFFLINE is False
    with hub.cached_if_unreached("owner/net") as why:
        assert constants.HF_HUB_OFFLINE is True
        assert why.startswith("no-such-host.invalid cannot be reached")


def test_a_folder_asks_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "unreached", lambda url: pytest.fail(f"asked {url}"))
    with hub.cached_if_unreached(str(tmp_path)) as why:
        assert why == ""
