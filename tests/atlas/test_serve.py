"""Does `lossatlas serve` start, say where it is, and refuse what it cannot serve?"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from lossatlas.cli import atlas


def test_the_command_prints_an_address_that_answers(shelf_folder: Path) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    command = [sys.executable, "-m", "lossatlas", "serve", str(shelf_folder), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.match(r"3 results at (http://127\.0\.0\.1:\d+)/#token=[\w-]{20,}$", line)
            assert found, line
            with urllib.request.urlopen(f"{found[1]}/api/runs", timeout=600) as answer:
                assert len(json.load(answer)) == 3
        finally:
            process.terminate()
        # The ruggedness of the results is being computed: to stop a thread that reads a file ends in a fault, or never.
        assert process.wait(600) == 0


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(atlas, ["serve", str(tmp_path / "none"), "--no-browser"])
    assert done.exit_code == 2
    assert "none: no such folder; name a folder of runs" in done.output


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = CliRunner().invoke(atlas, ["serve", str(tmp_path), "--no-browser", "--port", str(port)])
    assert done.exit_code == 2
    assert f"--port {port}:" in done.output
