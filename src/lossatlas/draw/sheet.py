"""Where things lie on a printed page: panels, colour bar, legend and caption, in inches, so that nothing overlaps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lossatlas.figure.palettes import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

__all__ = ["Box", "Entry", "Margins", "Printed", "Sheet", "shortened", "text_width", "touch"]

_LINE = 1.3


class Printed(Protocol):
    """What has a page: a Scene or a Plot."""

    @property
    def title(self) -> str:
        """Heading of the whole; empty for none."""
        ...

    @property
    def theme(self) -> Theme:
        """Colours and sizes."""
        ...

    @property
    def sentences(self) -> tuple[str, ...]:
        """The caption."""
        ...


@dataclass(frozen=True, kw_only=True)
class Margins:
    """Room around each panel for its ticks and labels, in multiples of the size of the small text.

    Attributes:
        left: left of the first panel of a row.
        right: right of every panel.
        top: above every panel.
        bottom: below every panel.
        bar: right of all panels, for the colour bar and its labels; 0 for none.
    """

    left: float
    right: float
    top: float
    bottom: float
    bar: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of the key below the panels: a line or a swatch, and its words.

    Attributes:
        words: what it stands for.
        style: properties of the matplotlib line or rectangle.
        swatch: a rectangle; otherwise a line.
    """

    words: str
    style: Mapping[str, object]
    swatch: bool = False


class Sheet:
    """A figure of a fixed width whose height follows from what is on it.

    Args:
        page: what is drawn.
        panels: number of panels.
        aspect: height of a panel over its width.
        margins: room around each panel.
        key: entries of the key above the caption.
    """

    def __init__(self, page: Printed, panels: int, aspect: float, margins: Margins, key: Sequence[Entry] = ()) -> None:
        from matplotlib.figure import Figure

        self.theme = page.theme
        self.columns = panels if panels <= 3 else math.ceil(panels / math.ceil(panels / 3))
        self.rows = math.ceil(panels / self.columns)
        self.width = self.theme.column if panels == 1 else self.theme.page
        self.unit = self.theme.small / 72.0
        self.margins = margins
        self.edge = 0.6 * self.unit
        inner = self.width - 2 * self.edge - (margins.left + self.columns * margins.right + margins.bar) * self.unit
        self.panel_width = (inner - (self.columns - 1) * 0.8 * self.unit) / self.columns
        self.panel_height = self.panel_width * aspect
        self.caption_lines = self._wrapped(" ".join(page.sentences), self.theme.caption)
        self.title_lines = self._wrapped(page.title, self.theme.heading, "bold") if page.title else []
        self.caption_height = (len(self.caption_lines) * _LINE + 0.8) * self.theme.caption / 72.0
        self.key_rows = self._key_rows(key)
        key_height = (1.5 * len(self.key_rows) + 0.7) * self.unit if key else 0.0
        title_height = len(self.title_lines) * _LINE * self.theme.heading / 72.0 + 0.8 * self.unit
        row = self.panel_height + (margins.top + margins.bottom) * self.unit
        self.height = title_height + self.rows * row + key_height + self.caption_height + self.edge
        self._top = self.height - title_height
        self.figure: Figure = Figure(figsize=(self.width, self.height), facecolor=self.theme.paper)
        self._write_words()
        self._draw_key()

    def _key_rows(self, key: Sequence[Entry]) -> list[list[Entry]]:
        """Fill rows with entries from the left."""
        room = (self.width - 2 * self.edge) / self.unit
        rows: list[list[Entry]] = []
        used = math.inf
        for entry in key:
            if used + self._entry_width(entry) > room:
                rows.append([])
                used = 0.0
            rows[-1].append(entry)
            used += self._entry_width(entry)
        return rows

    def _entry_width(self, entry: Entry) -> float:
        """Width of an entry of the key, in multiples of the small text."""
        return 4.4 + text_width(entry.words, self.theme.small) / self.theme.small

    def _draw_key(self) -> None:
        from matplotlib.lines import Line2D
        from matplotlib.patches import Rectangle

        for index, row in enumerate(self.key_rows):
            x = self.edge
            y = self.edge + self.caption_height + (1.5 * (len(self.key_rows) - index) - 0.6) * self.unit
            for entry in row:
                left, right = x / self.width, (x + 2.2 * self.unit) / self.width
                if entry.swatch:
                    corner = (left, (y - 0.5 * self.unit) / self.height)
                    box = Rectangle(corner, right - left, self.unit / self.height, **entry.style)  # type: ignore[arg-type]
                    self.figure.add_artist(box)
                else:
                    middle = y / self.height
                    self.figure.add_artist(Line2D([left, right], [middle, middle], **entry.style))  # type: ignore[arg-type]
                words = shortened(entry.words, self.theme.small, 72.0 * (self.width - x - 3.5 * self.unit))
                self.text(x + 2.8 * self.unit, y, words, self.theme.small, self.theme.ink, va="center_baseline")
                x += self._entry_width(entry) * self.unit

    def _wrapped(self, text: str, size: float, weight: str = "normal") -> list[str]:
        """Break text into lines that fit the width."""
        room = 72.0 * (self.width - 2 * self.edge)
        lines: list[str] = []
        for word in text.replace(" %", "\u00a0%").replace(" ·", "\u00a0·").split(" "):
            word = word if len(word) <= _LONGEST_WORD else _cut(word, _LONGEST_WORD)
            if lines and text_width(f"{lines[-1]} {word}", size, weight) <= room:
                lines[-1] = f"{lines[-1]} {word}"
            else:
                lines.extend(_broken(word, size, weight, room))
        return lines

    def _write_words(self) -> None:
        step = _LINE * self.theme.caption / 72.0
        top = self.edge + step * len(self.caption_lines)
        for index, line in enumerate(self.caption_lines):
            self.text(self.edge, top - index * step, line, self.theme.caption, self.theme.faint, va="top")
        step = _LINE * self.theme.heading / 72.0
        for index, line in enumerate(self.title_lines):
            y = self.height - 0.6 * self.unit - index * step
            self.text(self.edge, y, line, self.theme.heading, self.theme.ink, va="top", weight="bold")

    def text(self, x: float, y: float, words: str, size: float, colour: str, **style: Any) -> Text:
        """Write words at a position in inches; user's text is never read as mathematics."""
        text = self.figure.text(x / self.width, y / self.height, words, fontsize=size, color=colour, **style)
        text.set_parse_math(False)
        return text

    def rectangle(self, index: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a panel, in inches; panels fill rows from the left."""
        row, column = divmod(index, self.columns)
        margins, unit = self.margins, self.unit
        left = self.edge + margins.left * unit + column * (self.panel_width + (margins.right + 0.8) * unit)
        step = self.panel_height + (margins.top + margins.bottom) * unit
        bottom = self._top - row * step - margins.top * unit - self.panel_height
        return left, bottom, self.panel_width, self.panel_height

    def axes(self, rectangle: tuple[float, float, float, float], **style: Any) -> Axes:
        """Add axes at a rectangle in inches."""
        left, bottom, width, height = rectangle
        place = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(place, **style)

    def bar_rectangle(self) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of the colour bar, in inches: beside the panels, as high as them."""
        _, bottom, _, _ = self.rectangle((self.rows - 1) * self.columns)
        _, top_bottom, _, height = self.rectangle(0)
        right = self.width - self.edge - self.margins.bar * self.unit
        extent = min(top_bottom + height - bottom, 2.2 * self.panel_height)
        middle = (bottom + top_bottom + height) / 2
        return right + 1.2 * self.unit, middle - extent / 2, 0.9 * self.unit, extent


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
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(words, font, ismath=False)
    # Letters are moved to whole pixels when drawn, which makes a line a little longer than its outlines.
    return 1.04 * float(width)


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
