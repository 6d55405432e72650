"""Are workers kept busy by an adaptive scan, whose next points depend on what was found?"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import lossatlas as la
from lossatlas.results.spec import Block
from lossatlas.sampling import adaptive

sys.path.append(str(Path(__file__).parents[2]))  # the benchmarks are no part of a package
benchmark = pytest.importorskip("benchmarks.adaptive", reason="the benchmarks are in a checkout alone")

TRUTH = np.load(Path(__file__).with_name("noskip51.npz"))["loss"].astype(float)
SAMPLER = la.Adaptive(x=(-1, 1, 51), y=(-1, 1, 51), tolerance=0.02)


def found(cells: np.ndarray) -> Block:
    return Block(indices=cells, values=TRUTH.ravel()[cells, None], status=np.ones(len(cells), np.int8))


def test_a_round_is_there_before_the_one_before_it_was_told():
    queue = SAMPLER.start(Block.joined([], 1))
    queue.tell(found(queue.ask(500)))
    under_way, ahead = queue.ask(500), queue.ask(500)
    assert len(under_way) == len(ahead) == adaptive.FEWEST
    assert not np.isin(ahead, under_way).any()
    assert not len(queue.ask(500))  # not two ahead, whoever is free
    queue.tell(found(ahead))
    assert not len(queue.ask(500))  # the later one does not count before the earlier one, whoever was faster
    queue.tell(found(under_way))
    assert len(queue.ask(500))


def test_four_workers_hardly_wait_and_sixteen_are_mostly_busy():
    """A simulation of the real loop without a clock: 4 % and 38 % when rounds waited for their last point."""
    shares = {count: benchmark.idle(TRUTH, SAMPLER, count) for count in (1, 4, 16)}
    assert len({points for _, points in shares.values()}) == 1  # the same points, whoever evaluates
    assert shares[1][0] == pytest.approx(0.0, abs=1e-9)
    assert shares[4][0] < 0.04
    assert shares[16][0] < 0.2
