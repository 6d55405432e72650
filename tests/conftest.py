"""Shared fixtures: the folder of real data, and a seeded generator."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The authors' trained network and the surface their code computed."""
    if not SHARED.is_dir():
        pytest.skip(f"the authors' trained ResNet-56 is not at {SHARED}")
    return SHARED
