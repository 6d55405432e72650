"""What is a study? A question, a claim with its source, settings at two scales, a run, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossatlas_studies.stages import Bench
from lossatlas_studies.verdicts import Verdict

SCALES = ("small", "paper")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture of a study.

    Attributes:
        name: of its files.
        shown: what is drawn: Landscapes, a Plot, or whatever :func:`lossatlas.draw` takes.
        words: what to see in it, and what it does not show.
        view: options of :func:`lossatlas.draw`.
    """

    name: str
    shown: Any
    words: str
    view: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A table of a study.

    Attributes:
        name: of its file.
        rows: one mapping for each row, with the same keys.
        note: what the columns mean and what they do not prove.
    """

    name: str
    rows: Sequence[Mapping[str, float | str]]
    note: str


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a study found.

    Attributes:
        verdicts: the first is the study's own, fixed before it was run; the others are further looks.
        figures: pictures.
        tables: numbers.
        caveats: what all of this does not show.
    """

    verdicts: Sequence[Verdict]
    figures: Sequence[Figure] = ()
    tables: Sequence[Numbers] = ()
    caveats: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study.

    Attributes:
        name: on the command line.
        title: heading of its page.
        question: what is asked.
        claim: what has been claimed, with the numbers of the source.
        source: who claimed it, and where.
        small: settings that finish on two processor cores in minutes, on data that comes with a library.
        paper: settings of the source, for a GPU.
        run: does it, with the stages kept on the bench.
    """

    name: str
    title: str
    question: str
    claim: str
    source: str
    small: Any
    paper: Any
    run: Callable[[Bench, Any], Findings]

    def settings(self, scale: str) -> Any:
        """The settings at a scale."""
        return {"small": self.small, "paper": self.paper}[scale]
