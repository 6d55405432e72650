"""Where things lie on a printed page: panels, colour bar, legend and caption, in inches, so that nothing overlaps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lossatlas.draw import words_on_page
from lossatlas.draw.words_on_page import Box, shortened, text_width, touch
from lossatlas.errors import SpecError
from lossatlas.figure.palettes import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.text import Text

__all__ = ["Box", "Entry", "Margins", "Printed", "Sheet", "shortened", "text_width", "touch"]

_LINE = 1.3
_NARROWEST, _LOWEST = 7.5, 4.0
"""The least width and height of a panel, in multiples of the small text."""


class Printed(words_on_page.Captioned, Protocol):
    """What has a page: a Scene or a Plot."""

    @property
    def title(self) -> str:
        """Heading of the whole; empty for none."""
        ...

    @property
    def theme(self) -> Theme:
        """Colours and sizes."""
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
    """A figure of a fixed width whose height follows from its content, if the paper leaves the height free.

    Args:
        page: what is drawn.
        panels: number of panels.
        aspect: height of a panel over its width.
        margins: room around each panel.
        key: entries of the key above the caption.
        onto: an empty figure, which takes the size of the picture, or a subfigure, whose size the picture takes; left
            out, a figure of its own.

    Raises:
        SpecError: there is no room for a panel.
    """

    def __init__(
        self,
        page: Printed,
        panels: int,
        aspect: float,
        margins: Margins,
        key: Sequence[Entry] = (),
        onto: Figure | SubFigure | None = None,
    ) -> None:
        self.theme = page.theme
        self.paper = page.paper
        self.unit = self.theme.small / 72.0
        self.margins = margins
        self.edge = 0.6 * self.unit
        size = _size_of(onto)
        self.width = size[0] if size else self.theme.column if panels == 1 else self.theme.page
        self.columns = self._columns(panels)
        self.rows = math.ceil(panels / self.columns)
        self.panel_width = self._panel_width(self.columns)
        room = 72.0 * (self.width - 2 * self.edge)
        self.caption_lines = words_on_page.caption(page, self.theme.caption, room)
        self.title_lines = words_on_page.wrapped(page.title, self.theme.heading, room, "bold") if page.title else []
        self.caption_height = (len(self.caption_lines) * _LINE + 0.8) * self.theme.caption / 72.0
        self.key_rows = self._key_rows(key) if self.paper.legend else []
        key_height = (1.5 * len(self.key_rows) + 0.7) * self.unit if self.key_rows else 0.0
        title_height = len(self.title_lines) * _LINE * self.theme.heading / 72.0 + 0.8 * self.unit
        around = title_height + key_height + self.caption_height + self.edge
        around += self.rows * (margins.top + margins.bottom) * self.unit
        tall = size[1] if size else self.paper.tall
        self.panel_height = self._panel_height(aspect, around, tall)
        self.height = tall or around + self.rows * self.panel_height
        self._top = self.height - title_height
        self.figure: Any = self._figure(onto)
        self._write_words()
        self._draw_key()

    def _columns(self, panels: int) -> int:
        """As many panels side by side as there is room for, three at most."""
        most = panels if panels <= 3 else math.ceil(panels / math.ceil(panels / 3))
        while most > 1 and self._panel_width(most) < 1.6 * _NARROWEST * self.unit:
            most -= 1
        return most

    def _panel_width(self, columns: int) -> float:
        around = self.margins.left + columns * self.margins.right + self.margins.bar + (columns - 1) * 0.8
        width = (self.width - 2 * self.edge - around * self.unit) / columns
        if columns == 1 and width < _NARROWEST * self.unit:
            least = self.width + _NARROWEST * self.unit - width
            raise SpecError(
                f"width: {self.width:.3g} in leaves no room for a picture beside its labels, which are set in "
                f"{self.theme.text:g} points; give at least {math.ceil(10 * least) / 10:g} in, or a smaller font_size"
            )
        return width

    def _panel_height(self, aspect: float, around: float, tall: float | None) -> float:
        if tall is None:
            return self.panel_width * (self.paper.aspect or aspect)
        height = (tall - around) / self.rows
        if height < _LOWEST * self.unit:
            least = around + self.rows * _LOWEST * self.unit
            instead = ", or caption='none'" if self.caption_lines else ", or draw fewer panels" if self.rows > 1 else ""
            raise SpecError(
                f"height: {tall:.3g} in leaves no room for a picture between its words; give at least "
                f"{math.ceil(10 * least) / 10:g} in{instead}"
            )
        return height

    def _figure(self, onto: Figure | SubFigure | None) -> Figure | SubFigure:
        from matplotlib.figure import Figure

        from lossatlas.draw.picture import Picture

        if isinstance(onto, Figure):
            onto.set_size_inches(self.width, self.height)
        made = Picture(figsize=(self.width, self.height)) if onto is None else onto
        made.set_facecolor(self.theme.paper)
        return made

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
                    line = [left, (left + right) / 2, right]  # with one symbol in its middle, if it has any
                    self.figure.add_artist(Line2D(line, [middle] * 3, markevery=(1, 3), **entry.style))  # type: ignore[arg-type]
                words = shortened(entry.words, self.theme.small, 72.0 * (self.width - x - 3.5 * self.unit))
                self.text(x + 2.8 * self.unit, y, words, self.theme.small, self.theme.ink, va="center_baseline")
                x += self._entry_width(entry) * self.unit

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
        return text  # type: ignore[no-any-return]

    def rectangle(self, index: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a panel, in inches; panels fill rows from the left."""
        row, column = divmod(index, self.columns)
        margins, unit = self.margins, self.unit
        left = self.edge + margins.left * unit + column * (self.panel_width + (margins.right + 0.8) * unit)
        step = self.panel_height + (margins.top + margins.bottom) * unit
        bottom = self._top - row * step - margins.top * unit - self.panel_height
        return left, bottom, self.panel_width, self.panel_height

    def on_page(self, rectangle: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """A rectangle of this sheet on the page, which may hold more of them; in inches."""
        left, bottom = np.array(self.figure.bbox.p0) / self.figure.dpi
        return rectangle[0] + float(left), rectangle[1] + float(bottom), *rectangle[2:]

    def axes(self, rectangle: tuple[float, float, float, float], **style: Any) -> Axes:
        """Add axes at a rectangle in inches."""
        left, bottom, width, height = rectangle
        place = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(place, **style)  # type: ignore[no-any-return]

    def bar_rectangle(self) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of the colour bar, in inches: beside the panels, as high as them."""
        _, bottom, _, _ = self.rectangle((self.rows - 1) * self.columns)
        _, top_bottom, _, height = self.rectangle(0)
        right = self.width - self.edge - self.margins.bar * self.unit
        extent = min(top_bottom + height - bottom, 2.2 * self.panel_height)
        middle = (bottom + top_bottom + height) / 2
        return right + 1.2 * self.unit, middle - extent / 2, 0.9 * self.unit, extent


def _size_of(onto: Figure | SubFigure | None) -> tuple[float, float] | None:
    """Width and height of a subfigure, in inches."""
    from matplotlib.figure import SubFigure

    if not isinstance(onto, SubFigure):
        return None
    box, dpi = onto.bbox, onto.get_figure(root=True).dpi
    return float(box.width) / dpi, float(box.height) / dpi
