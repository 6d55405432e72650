"""How is a printed picture typeset: its size, its type, what is written on it, and what is left to its metadata?"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from lossatlas.errors import SpecError, unknown
from lossatlas.figure.palettes import THEMES, Theme, ThemeName

__all__ = ["GENERIC", "WIDTHS", "CaptionOption", "Paper", "TickOption"]

CaptionOption = Literal["short", "full", "none"]
TickOption = Literal["out", "in", "none"]

WIDTHS: Mapping[str, float] = {"column": 3.3, "text": 6.8, "slide": 10.0}
"""Widths by name, in inches: one column of a two-column paper, both of them, a slide."""

GENERIC = ("sans-serif", "serif", "monospace")
"""Families that are always there."""

_INCHES = {"": 1.0, "in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.0}
_LARGEST = 60.0
_LEGIBLE = 7.0


@dataclass(frozen=True, kw_only=True)
class Paper:
    """How a printed picture is typeset. The same words are arguments in Python, flags, and keys of ``[view]`` in TOML.

    Attributes:
        width: of the picture: "column" (3.3 in), "text" (6.8 in), "slide" (10 in, with the type of the theme "talk"), a
            number of inches, or a length such as "84mm". By default the theme decides: a column for one panel, a page
            for several.
        height: of the picture, likewise; by default it follows from the content.
        aspect: height of a panel over its width; by default that of parameter space.
        font: family of type: "sans-serif", "serif", "monospace" or one that is installed.
        font_size: size of labels, in points; ticks and caption are an eighth smaller, but not below 7 points.
        dpi: dots per inch of png, jpg and webp.
        x_label: label of the horizontal axis, instead of its name.
        y_label: label of the vertical axis of maps and reliefs, instead of its name.
        value_label: label of the value, instead of its name.
        letters: write (a), (b), … before the titles of panels.
        legend: draw the legend below the panels.
        ticks: "out", "in" or "none".
        units: show the units of the axes, and the second scale, of length in parameter norm.
        caption: "short" has at most two lines: what the picture is and what it proves; "full" says everything, "none"
            nothing. What is left out is still in the file's metadata.

    Raises:
        SpecError: a field has a value it cannot have; the message lists the valid ones.

    Example:
        >>> Paper(width="column").inches, round(Paper(width="84mm").inches, 2)
        (3.3, 3.31)
    """

    width: float | str | None = None
    height: float | str | None = None
    aspect: float | None = None
    font: str = "sans-serif"
    font_size: float | None = None
    dpi: int | None = None
    x_label: str = ""
    y_label: str = ""
    value_label: str = ""
    letters: bool = False
    legend: bool = True
    ticks: TickOption = "out"
    units: bool = True
    caption: CaptionOption = "short"

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            _length(name, getattr(self, name))
        for name, option in (("ticks", TickOption), ("caption", CaptionOption)):
            if getattr(self, name) not in get_args(option):
                raise SpecError(unknown(name, getattr(self, name), get_args(option)))
        for name, low, high in (("aspect", 0.1, 10.0), ("font_size", 3.0, 72.0), ("dpi", 20, 2400)):
            number = getattr(self, name)
            if number is not None and not (_is_number(number) and low <= number <= high):
                raise SpecError(f"{name}={number!r}: expected a number from {low:g} to {high:g}, or None")
        for name in ("x_label", "y_label", "value_label", "font"):
            if not isinstance(getattr(self, name), str):
                raise SpecError(f"{name}={getattr(self, name)!r} is not text; give words, or an empty text")
        if self.font not in GENERIC:
            _check_font(self.font)

    @property
    def inches(self) -> float | None:
        """The width in inches; ``None`` where the theme has it."""
        return _length("width", self.width)

    @property
    def tall(self) -> float | None:
        """The height in inches; ``None`` where it follows from the content."""
        return _length("height", self.height)

    def fitted(self, name: ThemeName) -> Theme:
        """A theme in the sizes asked for."""
        theme, large = THEMES[name], THEMES["talk"]
        if self.width == "slide" and theme.text < large.text:
            sizes = ("text", "small", "caption", "heading", "stroke")
            large_type: dict[str, Any] = {size: getattr(large, size) for size in sizes}
            theme = replace(theme, **large_type)
        if self.font_size is not None:
            by = float(self.font_size) / theme.text
            least = min(float(self.font_size), _LEGIBLE)
            sized: dict[str, Any] = {size: max(by * getattr(theme, size), least) for size in ("small", "caption")}
            theme = replace(theme, text=float(self.font_size), heading=by * theme.heading, **sized)
        width = self.inches
        theme = theme if width is None else replace(theme, column=width, page=width)
        return theme if self.dpi is None else replace(theme, dpi=int(self.dpi))


def _length(name: str, value: float | str | None) -> float | None:
    """Inches of a width or height.

    Returns:
        The inches, ``None`` where none are given.

    Raises:
        SpecError: it is not a length, or not one that a page can have.
    """
    if value is None:
        return None
    named: Any = WIDTHS.get(value, value) if isinstance(value, str) and name == "width" else value
    if isinstance(named, str):
        found = re.fullmatch(r"\s*([0-9.]+)\s*(in|cm|mm|pt|)\s*", named)
        try:
            named = float(found[1]) * _INCHES[found[2]] if found else math.nan
        except ValueError:
            named = math.nan
    if not _is_number(named) or not 0.5 <= named <= _LARGEST:
        names = f"{', '.join(WIDTHS)}, " if name == "width" else ""
        raise SpecError(
            f"{name}={value!r}: expected {names}a number of inches from 0.5 to 60, or a length such as '84mm'"
        )
    return float(named)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_font(family: str) -> None:
    from lossatlas import extras

    manager = extras.require("matplotlib.font_manager", extra="draw", purpose="find a font")
    known: Sequence[str] = manager.get_font_names()
    if family not in known:
        near = difflib.get_close_matches(family, known, n=3, cutoff=0.5)
        also = f" or {', '.join(near)}" if near else ""
        raise SpecError(f"font={family!r} is not installed; choose one of: {', '.join(GENERIC)}{also}")
