"""How wide are words on a page, where do they break, and which of a caption's words have room?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from lossatlas.figure.paper import Paper
from lossatlas.figure.plot import sentences_of

__all__ = ["Box", "Captioned", "caption", "shortened", "text_width", "touch", "wrapped"]


class Captioned(Protocol):
    """What has a caption."""

    @property
    def paper(self) -> Paper:
        """How it is set."""
        ...

    @property
    def sentences(self) -> tuple[str, ...]:
        """The whole caption."""
        ...

    @property
    def brief(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What it is, and what it proves."""
        ...


def caption(page: Captioned, size: float, room: float) -> list[str]:
    """The lines of the caption below a picture, as much of it as the paper wants.

    Args:
        page: what is drawn.
        size: of the type, in points.
        room: width of a line, in points.

    Returns:
        For a short caption a line for what it is and one for what it proves, more where a sentence has no room on one:
        none is cut in its middle. For no caption, no line.
    """
    if page.paper.caption == "none" or not page.sentences:
        return []
    if page.paper.caption == "full":
        return wrapped(" ".join(page.sentences), size, room)
    what, proves = page.brief
    first = _sentences(sentences_of(what[0]), _ASIDE, size, room) if len(what) == 1 else _parts(what, size, room)
    return [*first, *_sentences(proves, _REASON, size, room)]


def _parts(parts: Sequence[str], size: float, room: float) -> list[str]:
    """As many parts as fit on a line, in order; if the first does not, a name is cut in its middle, words run on."""
    if not parts:
        return []
    first = parts[0]
    if text_width(" · ".join(parts[:2]), size) > room and text_width(first, size) > 0.6 * room:
        if " " in first[20:] and text_width(first, size) > room:
            return _at_most(2, first, size, room)
        first = first if " " in first[20:] else shortened(first, size, 0.6 * room)
    return [_filled([first, *parts[1:]], " · ", size, room)]


def _sentences(parts: Sequence[str], end: re.Pattern[str], size: float, room: float) -> list[str]:
    """As many sentences as fit on a line, each of them whole.

    A first one that does not fit goes on below, or ends after a clause of its own where that saves a line. Two of them,
    parted by a line break, have lines of their own if there is no room for both on one.

    Returns:
        The lines.
    """
    if not parts:
        return []
    apart = parts[0].split("\n")
    first = " ".join(apart)
    if text_width(first, size) <= room:
        return [_filled((first, *parts[1:]), " ", size, room)]
    if len(apart) > 1:
        return [line for one in apart for line in _sentences((one,), end, size, room)]
    ends = [found.start() for found in end.finditer(first[: 4 * _LONGEST_WORD])]
    clauses = [f"{first[:at]}." for at in reversed(ends) if at >= _SHORTEST_CLAUSE]
    return min((_at_most(3, words, size, room) for words in (first, *clauses)), key=len)


def _filled(parts: Sequence[str], between: str, size: float, room: float) -> str:
    """The first part, and as many of the others as fit on its line."""
    line = parts[0]
    for part in parts[1:]:
        longer = f"{line}{between}{part}"
        line = longer if text_width(longer, size) <= room else line
    return line


def _at_most(count: int, words: str, size: float, room: float) -> list[str]:
    """Words over several lines; an ellipsis if there are more."""
    lines = wrapped(words[: 4 * _LONGEST_WORD], size, room)
    if len(lines) <= count:
        return lines
    return [*lines[: count - 1], _ended(f"{lines[count - 1]} {lines[count]}", size, room)]


def _ended(words: str, size: float, room: float) -> str:
    """Words up to the last that fits, and an ellipsis where some are left out."""
    if text_width(words, size) <= room:
        return words
    kept = words.split(" ")
    while len(kept) > 1 and text_width(f"{' '.join(kept)} …", size) > room:
        kept.pop()
    return shortened(f"{' '.join(kept).rstrip(',;:')} …", size, room)


def wrapped(text: str, size: float, room: float, weight: str = "normal") -> list[str]:
    """Break text into lines.

    Args:
        text: the words.
        size: of the type, in points.
        room: width of a line, in points.
        weight: of the type.

    Returns:
        The lines, none wider than ``room``.
    """
    lines: list[str] = []
    for word in text.replace(" %", "\u00a0%").replace(" ·", "\u00a0·").split(" "):
        word = word if len(word) <= _LONGEST_WORD else _cut(word, _LONGEST_WORD)
        if lines and text_width(f"{lines[-1]} {word}", size, weight) <= room:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.extend(_broken(word, size, weight, room))
    return lines


_NARROWEST = 0.2
"""No letter is narrower, as a share of the size of the text."""

_ASIDE = re.compile(r"; |, (?=which |so |but |where |while |because |most of all )")
"""Where a sentence may end early and still be complete."""

_REASON = re.compile(rf"{_ASIDE.pattern}|: ")
"""The same of a caveat, whose reason follows a colon. What a picture shows follows one too, and must stay."""

_SHORTEST_CLAUSE = 20
"""A shorter beginning, such as "Dashed:", is a label, not a clause."""

_LONGEST_WORD = 300
"""A longer word, a path of thousands of letters, is cut in its middle."""


Box = tuple[float, float, float, float]
"""Left, right, low and high of words on the page, in points."""


def touch(one: Box, other: Box) -> bool:
    """Whether two boxes share more than an edge.

    Returns:
        True where they overlap.

    Example:
        >>> touch((0, 2, 0, 2), (1, 3, 1, 3)), touch((0, 1, 0, 1), (1, 2, 0, 1))
        (True, False)
    """
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def text_width(words: str, size: float, weight: str = "normal") -> float:
    """Width of a line of text, in points."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(words, font, ismath=False)
    # Letters are moved to whole pixels when drawn, which makes a line a little longer than its outlines.
    known = rcParams["font.family"][0] in ("DejaVu Sans", "sans-serif")
    return (1.04 if known else 1.1) * float(width)


def _broken(word: str, size: float, weight: str, room: float) -> list[str]:
    """A word in pieces, if by itself it is wider than the page (a long path, say)."""
    pieces = [""]
    for letter in word:
        if text_width(pieces[-1] + letter, size, weight) > room:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def shortened(words: str, size: float, room: float) -> str:
    """Words with an ellipsis in the middle where they are wider than ``room`` points: names often differ at the end.

    Returns:
        The words, at most ``room`` points wide.

    Example:
        >>> shortened("a title far too long for its panel (seed 1)", 9.0, 110.0)
        'a title far to… (seed 1)'
    """
    most = max(2, int(room / (_NARROWEST * size)))  # measuring thousands of letters takes minutes
    if len(words) <= most and text_width(words, size) <= room:
        return words
    low, high = 1, min(len(words) - 1, most)
    while low < high:
        kept = (low + high + 1) // 2
        low, high = (kept, high) if text_width(_cut(words, kept), size) <= room else (low, kept - 1)
    return _cut(words, low)


def _cut(words: str, kept: int) -> str:
    tail = kept * 2 // 5
    return f"{words[: kept - tail].rstrip()}…{words[len(words) - tail :]}"
