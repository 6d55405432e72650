"""Which colours, text sizes and widths does a picture have? One table serves all back ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lossatlas.figure import colour_maps

__all__ = ["OWN", "THEMES", "Colours", "Theme", "ThemeName", "anchors", "rgb"]

ThemeName = Literal["light", "dark", "talk", "print"]
Colours = str
"""The name of a colour map: one of :data:`OWN`, or any that matplotlib knows."""

# Seventeen points of each map; straight lines between them differ from the original by less than the eye can see.
# viridis: van der Walt and Smith 2015. cividis: Nuñez, Anderton and Renslow 2018. diverging: Moreland 2009.
_ANCHORS: Mapping[str, str] = {
    "viridis": "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c "
    "1fa088 28ae80 3fbc73 5ec962 84d44b addc30 d8e219 fde725",
    "cividis": "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 "
    "8c8878 9b9476 aba072 bcae6c cdbb63 dec958 f0d846 fee838",
    "gray": "000000 101010 202020 303030 404040 505050 606060 707070 808080 "
    "8f8f8f 9f9f9f afafaf bfbfbf cfcfcf dfdfdf efefef ffffff",
    "diverging": "3b4cc0 4e68d8 6282ea 779af7 8db0fe a3c2fe b9d0f9 ccd9ed dddcdc "
    "ecd3c5 f5c4ac f7b093 f4987a eb7d62 dd5f4b ca3b37 b40426",
}

OWN = tuple(_ANCHORS)
"""The colour maps that need no library."""


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours, and sizes of a printed picture.

    Attributes:
        paper: colour of the page.
        ink: colour of text.
        faint: colour of frames, ticks and secondary text.
        lines: colours of curves, one for each model.
        text: size of labels, in points.
        small: size of ticks, in points.
        caption: size of the caption, in points.
        heading: size of titles, in points.
        column: width of a picture with one panel, in inches.
        page: width of a picture with several panels, in inches.
        stroke: width of a thin line, in points.
        dpi: dots per inch of a png.
        colours: the map of a loss and that of a metric, where the view leaves them to the theme.
        upon: colours of paths and points on a map.
    """

    paper: str
    ink: str
    faint: str
    lines: tuple[str, ...]
    text: float = 8.0
    small: float = 7.0
    caption: float = 7.0
    heading: float = 9.0
    column: float = 3.5
    page: float = 7.1
    stroke: float = 0.6
    dpi: int = 300
    colours: tuple[Colours, Colours] = ("viridis", "cividis")
    upon: tuple[str, ...] = ("#ff5a36", "#ffc53d", "#ff8ad1", "#ffffff")  # warm, on cool maps


# Okabe and Ito 2008: distinguishable with every kind of colour vision. On a dark page, the lighter half of it.
_ON_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#4b4b9b", "#56b4e9", "#7a7a7a")
_ON_DARK = ("#56b4e9", "#ff9d4d", "#2fd0a0", "#e9a3ca", "#f0e442", "#a9a9ff", "#9ad3f5", "#b5b5b5")

THEMES: Mapping[ThemeName, Theme] = {
    "light": Theme(paper="#ffffff", ink="#1a1a1a", faint="#6b6b6b", lines=_ON_LIGHT),
    "dark": Theme(paper="#14171c", ink="#eceff4", faint="#9aa4b2", lines=_ON_DARK),
    "talk": Theme(
        paper="#ffffff",
        ink="#1a1a1a",
        faint="#5a5a5a",
        lines=_ON_LIGHT,
        text=17.0,
        small=15.0,
        caption=12.0,
        heading=20.0,
        column=9.0,
        page=16.0,
        stroke=1.4,
        dpi=150,
    ),
    "print": Theme(
        paper="#ffffff",
        ink="#000000",
        faint="#5a5a5a",
        lines=("#000000", "#8c8c8c", "#4d4d4d", "#b8b8b8"),
        dpi=600,
        colours=("gray", "gray"),
        upon=("#ffffff", "#d9d9d9"),
    ),
}


def anchors(colours: Colours) -> tuple[str, ...]:
    """The points of a colour map as ``#rrggbb``, evenly spaced from low to high."""
    if colours in _ANCHORS:
        return tuple(f"#{anchor}" for anchor in _ANCHORS[colours].split())
    return colour_maps.points(colours)


def rgb(fractions: np.ndarray, colours: Colours) -> np.ndarray:
    """Colours of positions on a map.

    Args:
        fractions: float array of any shape, 0 for the lowest and 1 for the highest; values outside are clipped.
        colours: the map.

    Returns:
        float64 array [..., 3] of red, green and blue, 0 to 1; NaN where the fraction is NaN.

    Example:
        >>> rgb(np.array([0.0]), "viridis").round(2).tolist()
        [[0.27, 0.0, 0.33]]
    """
    table = np.array([[int(a[i : i + 2], 16) for i in (1, 3, 5)] for a in anchors(colours)]) / 255.0
    positions = np.linspace(0.0, 1.0, len(table))
    return np.stack([np.interp(fractions, positions, table[:, channel]) for channel in range(3)], axis=-1)
