"""Does the benchmark of a decoder say so where a point takes less than its runs differ by chance?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2]))  # the benchmarks are no part of a package
decoder = pytest.importorskip("benchmarks.decoder", reason="the benchmarks are in a checkout alone")


def row(few: list[float], more: list[float]) -> dict:
    point = decoder.more_points(few, more, 2)
    run = {"points": 64, "built": 80.0 if point["low"] > 0 else None, "shared": 20.0}
    return {"tokens": 8, "built point": point, "runs": [run], "off": 1e-7}


def test_a_point_is_the_difference_of_medians_with_its_spread() -> None:
    found = decoder.more_points([1.0, 1.25, 5.0], [7.0, 2.25, 6.0], 4)
    assert found == pytest.approx({"median": (6.0 - 1.25) / 4, "low": (2.25 - 5.0) / 4, "high": (7.0 - 1.0) / 4})


@pytest.mark.parametrize("few", [[1.0, 1.1, 1.3], [3.0, 3.1, 9.0]])  # slower by chance, or once as slow
def test_a_difference_that_noise_explains_is_no_time_of_a_point(few) -> None:
    words = decoder.table({"planes": [row(few, [1.2, 1.2, 1.2])]}).splitlines()[2]
    assert "below what can be resolved" in words
    assert "×" not in words


def test_a_difference_beyond_noise_is_one() -> None:
    words = decoder.table({"planes": [row([1.0, 1.1, 1.3], [2.0, 2.1, 2.3])]}).splitlines()[2]
    assert words == "| 8 | 0.5 s (0.35 to 0.65 s) | 64 | 80 s | 20 s | 4.0 × | 1e-07 |"
