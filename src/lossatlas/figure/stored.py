"""How are numbers that are not a Landscape kept with their plots in a folder, and opened again? In ``numbers.json``."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from lossatlas import checksum
from lossatlas.atomic import write_text
from lossatlas.errors import RunMismatchError, SpecError, unknown
from lossatlas.expected import described_type
from lossatlas.figure.parts import Heading, Number, Part, Picture, Table
from lossatlas.figure.plot import Mark, Panel, Plot, Series, onto
from lossatlas.figure.words import capital, number, with_errors
from lossatlas.oneline import number_of, one_line
from lossatlas.results.opening import KINDS, kind_of, name_kind
from lossatlas.untrusted import json_object, printable, reading, shown

__all__ = ["FILE", "Numbers", "Section", "beside", "check", "keep", "opened"]

FILE, KIND, FORMAT = "numbers.json", "numbers", 1
WORDS = KINDS[KIND].words


@dataclass(frozen=True, kw_only=True)
class Section:
    """The answer to one question.

    Attributes:
        about: what the numbers are of, in a sentence.
        plot: their picture.
        numbers: each with what it does not prove.
        rows: a table, such as one for the blocks of a matrix; each row with the same keys.
        caveats: what none of them proves, in sentences.
    """

    about: str
    plot: Plot
    numbers: Sequence[Number] = ()
    rows: Sequence[Mapping[str, float | str]] = ()
    caveats: Sequence[str] = ()

    __repr__ = one_line


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a folder of numbers holds.

    Attributes:
        title: what they are of, in a few words.
        sections: the answers, by name.
        identity: what must be the same for more to be kept beside them: model, data, loss.
    """

    title: str
    sections: Mapping[str, Section]
    identity: Mapping[str, Any] = field(default_factory=dict)

    __repr__ = one_line

    @property
    def words(self) -> str:
        """What was found, answer by answer, and of what, in sentences."""
        return " ".join([f"{self.title}.", *(_told(name, section) for name, section in self.sections.items())])

    def plot(self, value: str = "", ax: Any = None) -> Plot:
        """The picture of one of the answers.

        Args:
            value: its name; by default the first.
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.

        Raises:
            SpecError: there is no such answer; the message lists those there are.
        """
        name = value or next(iter(self.sections))
        if name not in self.sections:
            raise SpecError(unknown("value", name, self.sections))
        return onto(ax, self.sections[name].plot)

    @property
    def parts(self) -> list[Part]:
        """What a report says about them."""
        said: list[Part] = []
        for name, section in self.sections.items():
            rows = [Table(with_errors(section.rows))] if section.rows else []
            picture = Picture(section.plot)
            said += [Heading(f"{self.title}: {name}"), section.about, *section.numbers, *rows, picture]
        return said


def _told(name: str, section: Section) -> str:
    """One answer in a sentence: its numbers, or how many rows it has."""
    values = (
        (one.name, number(one.value) if isinstance(one.value, (int, float)) else one.value) for one in section.numbers
    )
    rows = [number_of(len(section.rows), "row")] if section.rows else []
    said = ", ".join([*(f"{what} {value}" for what, value in values), *rows])
    return f"{capital(name)}: {said}." if said else section.about


def check(folder: str | os.PathLike[str], identity: Mapping[str, Any]) -> None:
    """Check, before anything is computed, that a folder can hold these numbers.

    Args:
        folder: where they are to be kept.
        identity: of what, JSON values.

    Raises:
        SpecError: it holds a result of another kind, or is damaged.
        RunMismatchError: it holds numbers of another network, other data, or another loss.
    """
    place = Path(folder)
    there = kind_of(place)
    if there is not None and there.name != KIND:
        raise SpecError(f"{shown(place)} holds {there.words}; choose another folder for {WORDS}")
    if not (place / FILE).exists():
        return
    known = opened(place).identity
    if differing := [name for name in {**known, **identity} if known.get(name) != identity.get(name)]:
        raise RunMismatchError(
            f"{shown(place)} holds numbers of something else ({', '.join(differing)} differ); choose another folder"
        )


def keep(folder: str | os.PathLike[str], found: Numbers) -> Path:
    """Keep numbers in a folder, beside the answers to other questions about the same network that are there.

    Args:
        folder: where; created if missing.
        found: what is kept; an answer of the same name is replaced.

    Returns:
        The folder.

    Raises:
        SpecError: it holds a result of another kind, or is damaged.
        RunMismatchError: it holds numbers of something else.
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> line = Series(x=np.arange(2), y=np.array([1.0, np.nan]))
        >>> plot = Plot(panels=[Panel(series=[line], x_label="k", y_label="eigenvalue")])
        >>> one = Numbers(title="Curvature", sections={"ends": Section(about="A Hessian.", plot=plot)})
        >>> opened(keep(tempfile.mkdtemp(), one)).plot("ends").panels[0].series[0].y
        array([ 1., nan])
    """
    place = Path(folder)
    check(place, found.identity)
    name_kind(place, KIND)
    there = opened(place).sections if (place / FILE).exists() else {}
    sections = {name: _plain(section) for name, section in {**there, **found.sections}.items()}
    content = {"format": FORMAT, "title": found.title, "identity": _plain(found.identity), "sections": sections}
    write_text(place / FILE, checksum.sealed(content, ascii=False))
    return place


def beside(folder: str | os.PathLike[str], sections: Mapping[str, Section]) -> dict[str, Section]:
    """Answers under names that replace nothing in a folder: a name that another answer has there gets a number.

    Args:
        folder: where they are to be kept.
        sections: the answers, by name.

    Returns:
        The same answers: one that is already there, word for word, keeps its old name.

    Raises:
        SpecError: the folder is damaged.

    Example:
        >>> import tempfile
        >>> line = Series(x=np.arange(2), y=np.ones(2))
        >>> plot = Plot(panels=[Panel(series=[line], x_label="k", y_label="eigenvalue")])
        >>> one, other = (Section(about=f"A Hessian, k = {k}.", plot=plot) for k in (1, 2))
        >>> folder = keep(tempfile.mkdtemp(), Numbers(title="Curvature", sections={"ends": one}))
        >>> list(beside(folder, {"ends": other})), list(beside(folder, {"ends": one}))
        (['ends 2'], ['ends'])
    """
    place = Path(folder)
    taken = dict(opened(place).sections) if (place / FILE).exists() else {}
    found: dict[str, Section] = {}
    for name, section in sections.items():
        names = itertools.chain([name], (f"{name} {number}" for number in itertools.count(2)))
        free = next(one for one in names if one not in taken or _plain(taken[one]) == _plain(section))
        found[free] = taken[free] = section
    return found


def opened(path: str | os.PathLike[str]) -> Numbers:
    """Open a folder of numbers.

    Args:
        path: the folder.

    Returns:
        Its numbers.

    Raises:
        SpecError: the folder has none, or the file is damaged.
    """
    file = Path(path) / FILE
    content = checksum.verified(json_object(file, WORDS), file, required=True)
    if content.get("format") != FORMAT:
        raise SpecError(f"{shown(file)} has format {content.get('format')!r}; this version reads format {FORMAT}")
    with reading(file, WORDS):
        try:
            sections = {printable(name): _section(told) for name, told in content["sections"].items()}
        except SpecError as fault:
            raise SpecError(f"{shown(file)} is damaged: {fault}") from fault
        if not sections:
            raise SpecError(f"{shown(file)} is damaged: it holds no numbers")
        return Numbers(title=printable(content["title"]), sections=sections, identity=dict(content["identity"]))


def _plain(value: Any) -> Any:
    """Anything of a section as JSON values: no number becomes null, an infinite one a word."""
    if isinstance(value, Plot):
        return {"panels": [_plain(panel) for panel in value.panels], "title": value.title, "caption": [*value.caption]}
    if isinstance(value, Number):
        return {name: _plain(entry) for name, entry in asdict(value).items()}
    if isinstance(value, (Section, Panel, Series, Mark)):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _section(told: Mapping[str, Any]) -> Section:
    return Section(
        about=printable(told["about"]),
        plot=_plot(told["plot"]),
        numbers=tuple(_number(one) for one in told["numbers"]),
        rows=tuple({printable(name): _value(entry) for name, entry in row.items()} for row in told["rows"]),
        caveats=tuple(map(printable, told["caveats"])),
    )


def _number(told: Mapping[str, Any]) -> Number:
    texts = {name: printable(told[name]) for name in ("name", "caveat", "unit")}
    return Number(value=_value(told["value"]), **texts)


def _value(told: Any) -> float | str:
    if isinstance(told, str):
        return float(told) if told in ("inf", "-inf") else printable(told)
    if told is None:
        return math.nan
    if type(told) not in (int, float):
        raise TypeError(f"{described_type(told)}; expected a number or a text")
    number: float = told
    return number


def _plot(told: Mapping[str, Any]) -> Plot:
    return Plot(panels=[_panel(one) for one in told["panels"]], title=told["title"], caption=tuple(told["caption"]))


def _panel(told: Mapping[str, Any]) -> Panel:
    series = [Series(**{**one, "names": tuple(one["names"])}) for one in told["series"]]
    ticks = [(float(place), printable(words)) for place, words in told["x_ticks"]]
    marks = [Mark(**{**one, "label": printable(one["label"])}) for one in told["marks"]]
    return Panel(**{**told, "series": series, "x_ticks": ticks, "marks": marks})
