"""An executor: this process, with a line in a file for each block, its points and its seconds."""

import time
from dataclasses import dataclass
from pathlib import Path

import lossatlas as la


@dataclass(frozen=True)
class Timed:
    """What ``timed:blocks.csv`` names. It holds nothing specific to a run, and can serve any number of them."""

    path: str

    def __post_init__(self):
        """Refuse a text after the colon that makes no sense."""
        if not self.path:
            raise la.SpecError("executor='timed'; expected a file for the seconds, such as 'timed:blocks.csv'")

    def start(self, work):
        """Begin a run: make here what evaluates its blocks."""
        return Session(work.evaluator(), Path(self.path))


class Session:
    """The executor at work on one run."""

    room = 1
    """How many blocks may be under way at once."""

    def __init__(self, evaluator, path):
        self.evaluator, self.path = evaluator, path

    def submit(self, coordinates):
        """Evaluate a block, float64 [n, k]. A pool would hand it over here, and return at once."""
        begun = time.perf_counter()
        answer = self.evaluator.answer(coordinates)
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(f"{len(coordinates)},{time.perf_counter() - begun:.6f}\n")
        return Done(answer)

    def __enter__(self):
        """Work begins."""
        return self

    def __exit__(self, *_):
        """Let go of everything, whatever happened."""
        self.evaluator.way.close()


@dataclass(frozen=True)
class Done:
    """An answer, as a future gives it."""

    answer: object

    def result(self):
        """The answer; a pool would wait for it here."""
        return self.answer
