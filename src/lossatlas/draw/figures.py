"""How a picture becomes a matplotlib Figure to work on, or part of one, instead of a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lossatlas import extras
from lossatlas.draw import compiled, static, widget
from lossatlas.draw.ratio import only_a_page
from lossatlas.draw.render import Render
from lossatlas.draw.scene import Scene
from lossatlas.draw.view import View
from lossatlas.errors import SpecError
from lossatlas.expected import described_type

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["plot", "show"]

_EXPECTED = "expected an Axes, several of one grid, a SubFigure or a Figure of matplotlib"


def plot(
    source: Any,
    ax: Axes | Iterable[Axes] | Figure | SubFigure | None = None,
    view: View | None = None,
    *,
    render: Render | bool = False,
    **fields: Any,
) -> Figure:
    """Draw one Landscape, several, or anything that has a ``plot()``, as a matplotlib Figure.

    It is the same picture that :func:`lossatlas.draw` writes into a file.

    Args:
        source: as for :func:`lossatlas.draw`.
        ax: where to draw: an Axes of a grid, whose place the picture takes with all its axes; several of them, such as
            a row of ``subplots()``, whose place it takes together; a SubFigure; or an empty Figure, which takes the
            picture's size. By default a Figure of its own.
        view: how it is seen.
        render: render a relief.
        **fields: fields of :class:`View`, which take precedence.

    Returns:
        The Figure, or the one that ``ax`` belongs to.

    Raises:
        SpecError: an unknown field, or Axes that are not a rectangle of one grid.
        ImportError: matplotlib is not installed; the message has the command that installs it.

    Example:
        >>> import numpy as np, lossatlas as la
        >>> x = np.linspace(-1, 1, 9)
        >>> figure = plot(la.landscape(x=x, y=x, loss=x[:, None] ** 2 + x**2), clip=None)
        >>> figure.axes[0].get_xlabel()
        'x (multiples of the direction)'
    """
    extras.require("matplotlib.figure", extra="draw", purpose="draw a picture")
    drawn = compiled(source, view, fields, render=render)
    if isinstance(drawn, Scene):
        only_a_page(drawn.ratio, "a figure of matplotlib")
    how = (render if isinstance(render, Render) else Render()) if render is not False else None
    onto = _place(ax)
    made = static.figure(drawn, how, onto)
    return made if onto is None else onto.get_figure(root=True)


def show(source: Any, view: View | None = None, **fields: Any) -> Any:
    """Draw as :func:`plot` does, in a window if there is one, or in a notebook as the interactive page.

    In Jupyter with ``pip install 'lossatlas[notebook]'`` a field is shown as the interactive page, in a widget;
    otherwise, and for a plot, the Figure is shown.

    Args:
        source: as for :func:`lossatlas.draw`.
        view: how it is seen.
        **fields: fields of :class:`View`, which take precedence.

    Returns:
        The Figure, or in a notebook the widget.

    Raises:
        SpecError: an unknown field.
        ImportError: matplotlib is not installed; the message has the command that installs it.
    """
    if widget.available() and isinstance(drawn := compiled(source, view, fields), Scene):
        return widget.widget(drawn)
    pyplot = extras.require("matplotlib.pyplot", extra="draw", purpose="show a picture")
    figure = plot(source, pyplot.figure(), view, **fields)
    pyplot.show()
    return figure


def _place(ax: Any) -> Any:
    """The figure or subfigure in which to draw; Axes make room for it."""
    if isinstance(ax, Iterable):
        return _room([*getattr(ax, "flat", ax)])
    if hasattr(ax, "get_subplotspec"):
        return _room([ax])
    if ax is not None and not hasattr(ax, "add_axes"):
        raise SpecError(f"ax is {described_type(ax)}; {_EXPECTED}")
    return ax


def _room(axes: list[Any]) -> Any:
    """A subfigure in the place of some Axes, which are removed."""
    if not axes or not all(hasattr(each, "get_subplotspec") for each in axes):
        kinds = ", ".join(sorted({type(each).__name__ for each in axes}))
        raise SpecError(f"ax is a list of {kinds or 'nothing'}; {_EXPECTED}")
    places = [each.get_subplotspec() for each in axes]
    if None in places:
        raise SpecError("ax is not part of a grid; make it with subplots(), or give a SubFigure")
    grid = places[0].get_gridspec()
    if any(place.get_gridspec() is not grid for place in places):
        raise SpecError("the Axes in ax are of different grids; give those of one subplots(), or a SubFigure")
    rows = [row for place in places for row in (place.rowspan.start, place.rowspan.stop)]
    columns = [column for place in places for column in (place.colspan.start, place.colspan.stop)]
    room = grid[min(rows) : max(rows), min(columns) : max(columns)]
    figure = axes[0].get_figure()
    inside = [each for each in figure.axes if each not in axes and _overlap(each.get_subplotspec(), room)]
    if inside:
        raise SpecError("the Axes in ax do not fill a rectangle of their grid; give a row, a column or a SubFigure")
    made = figure.add_subfigure(room)
    for each in axes:
        each.remove()
    return made


def _overlap(place: Any, room: Any) -> bool:
    """Whether an Axes of the same grid lies in a part of it."""
    if place is None or place.get_gridspec() is not room.get_gridspec():
        return False
    return all(
        getattr(place, side).start < getattr(room, side).stop and getattr(room, side).start < getattr(place, side).stop
        for side in ("rowspan", "colspan")
    )
