"""A block that ends while the driver looks round is not waited past."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np

from lossatlas.sampling.workers import pool


class EndsWhenLookedAt(Future):
    """Not done when it is asked first, and done an instant later."""

    def done(self) -> bool:
        before = super().done()
        if not before:
            self.set_result("answer")
        return before


class Given(pool.PoolSession):
    """A session whose pool hands out the futures of the test."""

    def __init__(self, *given: Future) -> None:
        super().__init__(pool=None, parcel=None)
        self.given = list(given)
        self.waited: list[list[Future]] = []

    def give(self, coordinates, parcel=None, worker=""):
        return self.given.pop(0)

    def wait(self, pending) -> None:
        pending = list(pending)
        self.waited.append(pending)
        assert any(Future.done(one) for one in pending), (
            "the driver waits for others, though the block it needs is there"
        )


def test_a_block_that_ends_between_two_looks_ends_the_wait():
    first, never = EndsWhenLookedAt(), Future()
    session = Given(first, never)
    needed, _ = session.submit(np.zeros((1, 2))), session.submit(np.ones((1, 2)))
    assert needed.result() == "answer"


def test_a_block_that_is_not_done_is_waited_for_with_all_others():
    ended, never = Future(), Future()
    session = Given(ended, never)
    needed, _ = session.submit(np.zeros((1, 2))), session.submit(np.ones((1, 2)))
    session.wait = lambda pending: (session.waited.append(list(pending)), ended.set_result("answer"))
    assert needed.result() == "answer"
    assert session.waited == [[ended, never]]
