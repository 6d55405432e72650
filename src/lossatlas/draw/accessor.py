"""What can a Landscape do by itself? ``landscape.atlas.plot()``, and more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from lossatlas.draw import draw, figures
from lossatlas.draw.render import Render
from lossatlas.draw.report import Report, report
from lossatlas.draw.statement import statement
from lossatlas.draw.view import View
from lossatlas.results.landscape import validate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Atlas"]


class Atlas:
    """The pictures of a Landscape, as ``landscape.atlas``.

    Args:
        landscape: any dataset that follows the schema, even one read by ``xarray.open_dataset``.

    Raises:
        SpecError: the dataset is not a Landscape.

    Example:
        >>> import numpy as np, lossatlas as la
        >>> x = np.linspace(-1, 1, 9)
        >>> bowl = la.landscape(x=x, y=x, loss=x[:, None] ** 2 + x**2)
        >>> bowl.atlas.plot(kind="contour").axes[0].get_xlabel()
        'x (multiples of the direction)'
    """

    def __init__(self, landscape: xr.Dataset) -> None:
        validate(landscape)
        self._landscape = landscape

    def __repr__(self) -> str:
        """What it offers."""
        return "Atlas(plot, show, draw, report)"

    def plot(self, ax: Any = None, view: View | None = None, *, render: Render | bool = False, **fields: Any) -> Figure:
        """As :func:`lossatlas.plot`.

        Args:
            ax: where to draw; by default a Figure of its own.
            view: how it is seen.
            render: render a relief.
            **fields: fields of :class:`View`, which take precedence.

        Returns:
            The Figure.

        Raises:
            SpecError: an unknown field, or an Axes that is not part of a grid.
            ImportError: matplotlib is not installed.
        """
        return figures.plot(self._landscape, ax, view, render=render, **fields)

    def show(self, view: View | None = None, **fields: Any) -> Any:
        """As :func:`lossatlas.show`.

        Args:
            view: how it is seen.
            **fields: fields of :class:`View`, which take precedence.

        Returns:
            The Figure, or in a notebook the widget.

        Raises:
            SpecError: an unknown field.
            ImportError: matplotlib is not installed.
        """
        return figures.show(self._landscape, view, **fields)

    def draw(self, path: str | os.PathLike[str], view: View | None = None, **options: Any) -> Path:
        """As :func:`lossatlas.draw`.

        Args:
            path: the file; its suffix chooses the back end.
            view: how it is seen.
            **options: ``render=``, ``latex=``, ``command=`` and fields of :class:`View`.

        Returns:
            The path.

        Raises:
            SpecError: an unknown suffix or field.
            OSError: the file cannot be written.
            ImportError: a library is not installed; the message has the command that installs it.
        """
        return draw(self._landscape, path, view, **options)

    def report(self, path: str | os.PathLike[str], title: str = "Loss landscape") -> Report:
        """Write a page with the picture, what the slice proves, and the numbers, like ``lossatlas report``.

        Args:
            path: the ``.html`` file.
            title: heading of the page.

        Returns:
            The path.

        Raises:
            SpecError: another suffix.
            OSError: the file cannot be written.
            ImportError: matplotlib is not installed.
        """
        return report(path, title, statement(self._landscape))
