"""What it looks like: from a Landscape and a View to a picture, a page, or a mesh.

The suffix of the file chooses the back end. All of them draw the same :class:`~lossatlas.draw.scene.Scene`, in which
range, clip, scale, levels, colours and words are decided once.

===========================  =====================================  ==================================
suffix                       what it is                             extra
===========================  =====================================  ==================================
``.png`` ``.pdf`` ``.svg``   a printed picture, by matplotlib       ``pip install 'lossatlas[draw]'``
``.jpg`` ``.webp`` ``.eps``  the same                               ``pip install 'lossatlas[draw]'``
``.html``                    one page that works offline            none
``.vtp`` ``.vti``            for ParaView                           ``pip install 'lossatlas[mesh]'``
``.glb`` ``.stl``            for Blender, and for printing a model  ``pip install 'lossatlas[mesh]'``
===========================  =====================================  ==================================
"""

from __future__ import annotations

import errno
import inspect
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from lossatlas.atomic import replacing, sweep
from lossatlas.draw import latex_caption, plot_page, static
from lossatlas.draw.ratio import only_a_page
from lossatlas.draw.render import Render
from lossatlas.draw.renderer import renderer_of, suffixes
from lossatlas.draw.scene import Scene
from lossatlas.draw.view import View, compile
from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_kind, path_of
from lossatlas.figure.paper import Paper
from lossatlas.figure.plot import Plot, plot_of

__all__ = ["Paper", "Plot", "Render", "Scene", "View", "check_path", "compile", "compiled", "draw"]


def __dir__() -> list[str]:
    return list(__all__)


def draw(
    landscapes: Any,
    path: str | os.PathLike[str],
    view: View | None = None,
    *,
    render: Render | bool = False,
    latex: bool = False,
    command: str = "",
    **fields: Any,
) -> Path:
    r"""Draw one Landscape, or several for comparison, into a file.

    Several Landscapes share axes, levels, colours, clip and camera. With one axis they become lines on one picture;
    those with the same title are taken as runs of one model and become their median, with a band from the smallest to
    the largest.

    Args:
        landscapes: one Landscape or several with the same number of axes; or a :class:`~lossatlas.figure.plot.Plot`, or
            any result that has a ``plot()``, to which a View does not apply.
        path: the file; its suffix chooses the back end. It is written whole or not at all.
        view: how it is seen.
        render: render the relief with soft light and shading in its hollows (png, pdf, svg); a :class:`Render` says
            how. It takes a few seconds.
        latex: also write the full caption beside it, as ``\caption`` and ``\label`` in a ``.tex`` file of the same
            name.
        command: how the picture was made, for its metadata, which ``lossatlas info`` reads; by default the program's
            own command line.
        **fields: fields of :class:`View`, which take precedence: ``draw(landscape, "a.png", scale="log", clip=10)``;
            of a plot, those of :class:`~lossatlas.figure.paper.Paper` and ``theme``.

    Returns:
        The path.

    Raises:
        SpecError: an unknown suffix or field (the message lists all valid ones), or a view that does not fit the
            Landscapes.
        OSError: the file cannot be written.
        ImportError: the library behind the suffix is not installed; the message has the command that installs it.

    Example:
        >>> import numpy as np, tempfile
        >>> from lossatlas.results import landscape as schema
        >>> x, y = np.linspace(-1, 1, 9), np.linspace(-1, 1, 7)
        >>> axes = {"x": schema.Axis(coordinates=x, length=2.0), "y": schema.Axis(coordinates=y, length=3.0)}
        >>> bowl = schema.build(axes, {"loss": x[:, None] ** 2 + y[None, :] ** 2})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw(bowl, f"{folder}/bowl.svg", kind="contour").name
        'bowl.svg'
    """
    target = path_of("path", path)
    suffix = check_path(target)
    page = compiled(landscapes, view, fields, render=render)
    command = command or shlex.join(sys.argv)
    if isinstance(page, Plot):
        write = _plot_writer(page, suffix, command)
    elif render is not False:
        only_a_page(page.ratio, "a rendered relief")
        write = _rendered(page, suffix, render, command)
    else:
        write = _scene_writer(page, suffix, command)
    done = _written(target, write)
    if latex:
        _written(target.with_suffix(".tex"), lambda scratch: latex_caption.write(page, scratch, target.stem))
    return done


def compiled(
    source: Any, view: View | None, fields: Mapping[str, Any], *, render: Render | bool = False
) -> Scene | Plot:
    """Compile anything that :func:`draw` takes into what will be drawn.

    Args:
        source: one Landscape or several, a Plot, or anything that has one.
        view: how it is seen.
        fields: fields of the view that take precedence.
        render: whether a relief is rendered.

    Returns:
        A Scene or a Plot.

    Raises:
        SpecError: an unknown field, or a view that does not fit.
    """
    check_kind("view", view or View(), View, "a lossatlas.View, or its fields as keywords")
    plot = plot_of(source)
    if plot is not None:
        return _set(plot, view, fields)
    seen = _view(view, fields)
    if render is not False:
        if seen.kind not in ("auto", "surface"):
            raise SpecError(
                f"render: only a relief can be rendered, and kind={seen.kind!r} is not one; leave out kind or render"
            )
        seen = replace(seen, kind="surface")
    return compile(source, seen)


def _scene_writer(scene: Scene, suffix: str, command: str) -> Callable[[Path], None]:
    if suffix != ".html":
        only_a_page(scene.ratio, suffix)
    back_end = renderer_of(suffix)
    back_end.check(scene, suffix)
    if back_end is static:
        return lambda scratch: static.write(scene, scratch, suffix=suffix, command=command)
    return lambda scratch: back_end.write(scene, scratch)


def _suffix_fault(path: str | os.PathLike[str], suffix: str) -> str:
    if not suffix:
        return f"path={str(path)!r} has no suffix to say what kind of file it is"
    film = " (films are made by la.animate, `lossatlas animate`)" if suffix in {".gif", ".mp4", ".webm"} else ""
    return f"path={str(path)!r}: the suffix {suffix!r} is unknown{film}"


def _rendered(scene: Scene, suffix: str, render: Render | bool, command: str) -> Callable[[Path], None]:
    if suffix not in static.SUFFIXES:
        raise SpecError(unknown("suffix of path, for a rendered relief,", suffix, static.SUFFIXES))
    static.check(scene, suffix)
    how = render if isinstance(render, Render) else Render()
    return lambda scratch: static.write(scene, scratch, suffix=suffix, how=how, command=command)


def _set(plot: Plot, view: View | None, given: Mapping[str, Any]) -> Plot:
    """A plot on the paper asked for."""
    known = [field.name for field in dataclass_fields(Paper)]
    other = [name for name in given if name not in (*known, "theme", "title")]
    if view is not None or other:
        raise SpecError(
            f"a plot has no View; leave out {', '.join(other) or 'view'} (it takes theme, title, {', '.join(known)})"
        )
    asked = {name: value for name, value in given.items() if name in known}
    return replace(
        plot,
        theme_name=given.get("theme") or plot.theme_name,
        title=given.get("title") or plot.title,
        paper=replace(plot.paper, **asked),
    )


def _plot_writer(plot: Plot, suffix: str, command: str) -> Callable[[Path], None]:
    if suffix == ".html":
        return lambda scratch: plot_page.write(plot, scratch)
    if suffix not in static.SUFFIXES:
        raise SpecError(unknown("suffix of path, for a plot,", suffix, (*static.SUFFIXES, ".html")))
    static.check(plot, suffix)
    return lambda scratch: static.write(plot, scratch, suffix=suffix, command=command)


def _written(target: Path, write: Callable[[Path], None]) -> Path:
    """Write a file whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target)
        with replacing(target, ending=target.suffix.lower()) as scratch:
            write(scratch)
    except OSError as fault:
        reason = fault.strerror or str(fault)
        raise type(fault)(fault.errno or errno.EIO, f"the picture cannot be written: {reason}", str(target)) from fault
    return target


def check_path(path: str | os.PathLike[str]) -> str:
    """Check that a picture of this name can be drawn, before a long run is started for it.

    Args:
        path: the file.

    Returns:
        Its suffix, in small letters.

    Raises:
        SpecError: an unknown suffix; the message lists all valid ones.
    """
    suffix = path_of("path", path).suffix.lower()
    if suffix not in suffixes():
        raise SpecError(f"{_suffix_fault(path, suffix)}; choose one of: {', '.join(suffixes())}")
    return suffix


def _view(view: View | None, fields: Mapping[str, Any]) -> View:
    known = [field.name for field in dataclass_fields(View)]
    for name in fields:
        if name not in known:
            raise SpecError(unknown("field of View", name, known))
    return replace(view or View(), **fields)


class _Callable(ModuleType):
    """This module, which may be called.

    The public name ``lossatlas.draw`` is the function. Importing any part of this package binds the package to the
    same name, so the package has to do what the function does.
    """

    __call__ = staticmethod(draw)

    @property
    def __signature__(self) -> inspect.Signature:
        """Of the function, for whoever asks what it takes."""
        return inspect.signature(draw)


sys.modules[__name__].__class__ = _Callable
