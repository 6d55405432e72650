"""Executes the examples of documentation and docstrings, each page in a folder of its own; names what fails at once."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Workers that share the cores must not each start a thread for every core: they would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

# Second opinions, which `make setup` puts beside the environment: within it a torchvision that does not belong to this
# build of torch would break what looks for one. Its import stops at two operators that such a build does not have. A
# torchvision of the environment itself brings them, and torch ends the process where an operator is defined twice.
_OWN_TORCHVISION = find_spec("torchvision") is not None
sys.path.append(str(Path(sys.prefix) / "oracles"))
if not _OWN_TORCHVISION:
    _TORCHVISION = torch.library.Library("torchvision", "DEF")
    for _schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        _TORCHVISION.define(_schema)


def _enter(namespace: dict[str, Any]) -> None:
    import tempfile

    namespace["_home"] = Path.cwd()
    os.chdir(tempfile.mkdtemp())


def _leave(namespace: dict[str, Any]) -> None:
    os.chdir(namespace["_home"])


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=[
        "README.md",
        "docs/*.md",
        *(f"docs/{part}/*.md" for part in ("tutorial", "how-to", "guides", "explanation")),
    ],
    setup=_enter,
    teardown=_leave,
).pytest()


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often the kill test kills: 5 in `make test`, more in `make soak`."""
    parser.addoption("--count-kills", type=int, default=5, help="how often the resume test kills its run")


class _Named:
    """Names each test as it fails: a session that is cut off has said which."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and (terminal := self.config.pluginmanager.get_plugin("terminalreporter")):
            terminal.write_line(f"\nFAILED {report.nodeid} ({report.when}, {report.duration:.0f} s)")


def pytest_configure(config: pytest.Config) -> None:
    """Let it be told of every report."""
    config.pluginmanager.register(_Named(config))
