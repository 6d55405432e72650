"""Shared fixtures: the folder of real data, and a seeded generator."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

# What lands must not depend on luck: the suite draws the same examples every time. `make soak` looks for new ones.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.register_profile("new")
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "same")
settings.load_profile(PROFILE)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Networks and data that a test or a fixture draws without a seed are the same every time, too."""
    if PROFILE == "same":
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The authors' trained network and the surface their code computed."""
    if not SHARED.is_dir():
        pytest.skip(f"the authors' trained ResNet-56 is not at {SHARED}")
    return SHARED


collect_ignore = ["results/killing.py"]
"""A script that the tests beside it start; it is not to be imported by itself."""
