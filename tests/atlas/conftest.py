"""Folders of runs with known values, a server over them, and a browser that reports what goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossatlas.results.landscape import About, Axis, build, save
from lossatlas.results.spec import Block, RunSpec
from lossatlas.results.store import RunFolder

TOKEN = "a-token-for-tests"
X, Y = np.linspace(-2, 2, 9), np.linspace(0, 6, 7)
TILTED = X[:, None] + 10 * Y[None, :]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
AXES = {
    "x": Axis(coordinates=X, length=2.0, label="random direction (seed 0)"),
    "y": Axis(coordinates=Y, length=3.0, label="random direction (seed 1)"),
}


def spec(title: str) -> RunSpec:
    return RunSpec(
        identity={"model": title}, axes=AXES, values=("loss",), about=About(title=title, model="Net", data="digits")
    )


def points(indices: Any) -> Block:
    """Some points of x + 10 y."""
    at = np.asarray(indices, np.int64)
    return Block(indices=at, values=TILTED.reshape(-1, 1)[at], status=np.ones(len(at), np.int8))


@pytest.fixture
def shelf_folder(tmp_path: Path) -> Path:
    """A folder with a finished run, one that is half done, a file, and things that are not for serving."""
    root = tmp_path / "runs"
    with RunFolder.begin(root / "done", spec("done")) as run:
        run.commit(points(range(63)))
        run.finish()
    with RunFolder.begin(root / "deep" / "half", spec(HOSTILE)) as run:
        run.commit(points(range(0, 63, 2)))
    save(build(AXES, {"loss": TILTED / 7}, about=About(title="a file")), root / "file.nc")
    (root / "notes.txt").write_text("secret")
    outside = tmp_path / "outside"
    with RunFolder.begin(outside, spec("outside")) as run:
        run.commit(points(range(63)))
    (root / "link").symlink_to(outside)
    return root


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve folders on a free port; the address comes back."""
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    pytest.importorskip("starlette", reason="starlette is not installed")
    from lossatlas.atlas.server import application
    from lossatlas.atlas.shelf import Shelf

    running: list[tuple[Any, threading.Thread]] = []

    def started(*folders: Path, every: float = 0.1) -> str:
        app = application(Shelf(folders), TOKEN, every=every)
        server = uvicorn.Server(
            uvicorn.Config(app, port=0, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        started.app = app  # type: ignore[attr-defined]
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    yield started
    for server, thread in running:
        server.should_exit = True
        thread.join(10)
