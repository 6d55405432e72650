"""How a picture becomes a matplotlib Figure to work on, or part of one, instead of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lossatlas import extras
from lossatlas.draw import compiled, static, widget
from lossatlas.draw.ratio import only_a_page
from lossatlas.draw.render import Render
from lossatlas.draw.scene import Scene
from lossatlas.draw.view import View
from lossatlas.errors import SpecError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["plot", "show"]


def plot(
    source: Any,
    ax: Axes | Figure | SubFigure | None = None,
    view: View | None = None,
    *,
    render: Render | bool = False,
    **fields: Any,
) -> Figure:
    """Draw one Landscape, several, or anything that has a ``plot()``, as a matplotlib Figure.

    It is the same picture that :func:`lossatlas.draw` writes into a file.

    Args:
        source: as for :func:`lossatlas.draw`.
        ax: where to draw: an Axes of a grid, whose place the picture takes with all its axes, a SubFigure, or an empty
            Figure, which takes the picture's size. By default a Figure of its own.
        view: how it is seen.
        render: render a relief.
        **fields: fields of :class:`View`, which take precedence.

    Returns:
        The Figure, or the one that ``ax`` belongs to.

    Raises:
        SpecError: an unknown field, or an Axes that is not part of a grid.
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
    """The figure or subfigure in which to draw; an Axes makes room for it."""
    if ax is None or not hasattr(ax, "get_subplotspec"):
        if ax is not None and not hasattr(ax, "add_axes"):
            raise SpecError(f"ax is a {type(ax).__name__}; expected an Axes, a SubFigure or a Figure of matplotlib")
        return ax
    place = ax.get_subplotspec()
    if place is None:
        raise SpecError("ax is not part of a grid; make it with subplots(), or give a SubFigure")
    room = ax.get_figure().add_subfigure(place)
    ax.remove()
    return room
