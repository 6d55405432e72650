"""How wide are words on a page, where do they break, and which of a caption's have room?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lossatlas.figure.paper import Paper

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
        At most two lines for a short caption, none for none.
    """
    if page.paper.caption == "none" or not page.sentences:
        return []
    if page.paper.caption == "full":
        return wrapped(" ".join(page.sentences), size, room)
    what, proves = page.brief
    alone = not proves and len(what) == 1
    lines = wrapped(what[0], size, room)[:3] if alone else [_filled(what, " · ", size, room)]
    if len(lines) > 2:
        lines = [lines[0], _ended(f"{lines[1]} {lines[2]}", size, room)]
    return [line for line in (*lines, _filled(proves, " ", size, room)) if line]


def _filled(parts: Sequence[str], between: str, size: float, room: float) -> str:
    """As many parts as fit on a line, in order; the first of them in any case, shortened where it has to be."""
    if not parts:
        return ""
    least = 0.6 * room if between != " " and len(parts) > 1 else room
    first = parts[0]
    if text_width(between.join(parts[:2]), size) > room and text_width(first, size) > least:
        first = _ended(first, size, room) if between == " " or " " in first[20:] else shortened(first, size, least)
    line = first
    for part in parts[1:]:
        longer = f"{line}{between}{part}"
        line = longer if text_width(longer, size) <= room else line
    return line


def _ended(words: str, size: float, room: float) -> str:
    """Words up to the last that fits, and an ellipsis where some are left out."""
    words = words if len(words) <= 4 * _LONGEST_WORD else words[: 4 * _LONGEST_WORD]
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
    """A word in pieces, where it alone is wider than the page (a long path, say)."""
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
