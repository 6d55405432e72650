"""Executes the examples of the documentation and of the docstrings, each page in a folder of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# Workers that share the cores must not each start a thread for every core: they would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser


def _enter(namespace: dict[str, Any]) -> None:
    import tempfile

    namespace["_home"] = Path.cwd()
    os.chdir(tempfile.mkdtemp())


def _leave(namespace: dict[str, Any]) -> None:
    os.chdir(namespace["_home"])


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "docs/*.md", "docs/how-to/*.md"],
    setup=_enter,
    teardown=_leave,
).pytest()


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often the kill test kills: 5 in `make test`, more in `make soak`."""
    parser.addoption("--count-kills", type=int, default=5, help="how often the resume test kills its run")
