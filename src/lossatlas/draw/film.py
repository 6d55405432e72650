"""How a landscape moves: a surface that turns, one that becomes another, a zoom, a training run that unfolds."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from lossatlas.draw import static, static_surface
from lossatlas.draw.film_file import SUFFIXES, of_one_size, write
from lossatlas.draw.ratio import only_a_page
from lossatlas.draw.render import Render
from lossatlas.draw.scene import Cells, Scene
from lossatlas.draw.view import View, compile, listed
from lossatlas.errors import SpecError, unknown
from lossatlas.expected import check_kind, check_number, described_type, path_of
from lossatlas.figure import overlays as upon
from lossatlas.figure.losses import NETWORK, SURFACE, TRAINING, clock, losses, when
from lossatlas.figure.plot import Mark, Plot, Series
from lossatlas.oneline import first_line

__all__ = ["Film", "Grow", "Morph", "Turn", "Walked", "Zoom", "animate"]

_PATIENCE = 2.0
_LIKE_PATHS = (1, 4, 3, 7)
"""The lines of a theme that have the hues of paths on a map, so that a run has one colour in a film."""


class Film(Protocol):
    """What happens in a film."""

    def frames(self, scenes: Sequence[xr.Dataset], view: View, times: np.ndarray, dpi: float) -> Iterator[np.ndarray]:
        """One picture, uint8 [height, width, 3], for each time from 0 to 1."""
        ...


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The surface turns around once.

    Attributes:
        degrees: how far it turns.
    """

    degrees: float = 360.0

    def frames(self, scenes: Sequence[xr.Dataset], view: View, times: np.ndarray, dpi: float) -> Iterator[np.ndarray]:
        """Yield the frames; see :class:`Film`."""
        scene = compile(scenes if len(scenes) > 1 else scenes[0], replace(view, kind="surface"))
        stages: static_surface.Stages = {}
        try:
            for time in times:
                turned = (scene.camera[0], scene.camera[1] + self.degrees * float(time))
                yield _relief(replace(scene, camera=turned), dpi, stages, steady=True)
        finally:
            for stage in stages.values():
                stage.close()


@dataclass(frozen=True, kw_only=True)
class Morph:
    """One surface becomes another over the same coordinates, and rests at both ends.

    What lies between them is interpolated, not measured: the mean of the two, or of their logarithms on a logarithmic
    scale.
    """

    def frames(self, scenes: Sequence[xr.Dataset], view: View, times: np.ndarray, dpi: float) -> Iterator[np.ndarray]:
        """Yield the frames; see :class:`Film`.

        Raises:
            SpecError: there are not two landscapes, or their coordinates differ.
        """
        if len(scenes) != 2:
            raise SpecError(f"a morph goes from one landscape to another, got {len(scenes)}; give two")
        both = compile(scenes, replace(view, kind="surface"))
        start, end = both.panels
        if any(not np.array_equal(a.coordinates, b.coordinates) for a, b in zip(start.axes, end.axes, strict=True)):
            raise SpecError("a morph needs both landscapes on the same coordinates; sample them on one grid")
        for time in times:
            share = (1 - math.cos(math.pi * min(max(1.25 * float(time) - 0.125, 0.0), 1.0))) / 2
            mixed = _mixed(start, end, share, both)
            yield _relief(replace(both, panels=(mixed,)), dpi)


@dataclass(frozen=True, kw_only=True)
class Zoom:
    """The map closes in on the centre.

    Attributes:
        factor: how many times closer the last frame is.
    """

    factor: float = 8.0

    def frames(self, scenes: Sequence[xr.Dataset], view: View, times: np.ndarray, dpi: float) -> Iterator[np.ndarray]:
        """Yield the frames; see :class:`Film`.

        Raises:
            SpecError: a factor that leaves fewer than three points along an axis.
        """
        if not self.factor > 1:
            raise SpecError(f"factor={self.factor}: expected more than 1")
        for one in scenes:
            _cropped(one, self.factor)  # what cannot be drawn in the end is refused before anything is drawn
        limits = compile(scenes if len(scenes) > 1 else scenes[0], view).limits
        for time in times:
            near = float(self.factor ** float(time))
            cut = [_cropped(scene, near) for scene in scenes]
            scene = compile(cut if len(cut) > 1 else cut[0], view)
            reach = {name: (low / near, high / near) for name, (low, high) in limits.items()}
            yield _page(static.figure(replace(scene, limits=reach)), dpi)


class Walked(Protocol):
    """A training run over a plane: what ``la.Trajectory(…).losses(…)`` found."""

    def overlays(self) -> Sequence[upon.Path]:
        """The path of every run on the surface, with what is known at its points."""
        ...


@dataclass(frozen=True, kw_only=True)
class Grow:
    """A training run grows over its surface, with its losses beside it; several grow at once, each in its own colour.

    Attributes:
        path: what :meth:`lossatlas.Trajectory.losses` found for the run, or the paths themselves, as a run folder keeps
            them. Paths without known losses grow alone.
    """

    path: Walked | Sequence[upon.Path]

    @property
    def paths(self) -> list[upon.Path]:
        """The paths that grow."""
        return list(self.path if isinstance(self.path, Sequence) else self.path.overlays())

    def frames(self, scenes: Sequence[xr.Dataset], view: View, times: np.ndarray, dpi: float) -> Iterator[np.ndarray]:
        """Yield the frames; see :class:`Film`.

        Raises:
            SpecError: more than one landscape, or no path.
        """
        drawn = self.paths
        if len(scenes) != 1 or not drawn:
            raise SpecError(f"a training run grows over one landscape, got {len(scenes)} and {len(drawn)} paths")
        plot = _losses(drawn, view)
        for time in times:
            share = min(1.15 * float(time), 1.0)
            grown = [_up_to(one, share * (len(one.x) - 1)) for one in drawn]
            left = _page(static.figure(compile(scenes[0], replace(view, overlays=[*view.overlays, *grown]))), dpi)
            if plot is None:
                yield left
                continue
            at = [(one.along, share * (len(one.x) - 1)) for one in drawn if _known(one)]
            now = [float(np.interp(place, np.arange(len(x)), x)) for row, place in at for x in [clock(row)[0]]]
            said = when(at[0][0], int(at[0][1])) if len(at) == 1 else ""
            marked = replace(plot.panels[0], marks=[Mark(x=max(now), label=said)])
            yield _beside(left, _page(static.figure(replace(plot, panels=[marked])), dpi))


def _known(path: upon.Path) -> list[str]:
    """Which losses are known along a path, that of the networks first."""
    return [one for one in (NETWORK, TRAINING, SURFACE) if np.isfinite(path.along.get(one, np.nan)).any()]


def _losses(paths: Sequence[upon.Path], view: View) -> Plot | None:
    """The losses along a path; of several runs those of the networks themselves, one line each."""
    known = [(place, one, names[0]) for place, one in enumerate(paths) if (names := _known(one))]
    if not known:
        return None
    first = known[0][1].along
    panel = losses({name: row for name, row in first.items() if np.isfinite(row).any()})
    if len(paths) > 1:
        series = [
            Series(
                x=clock(one.along)[0],
                y=one.along[name],
                label=one.label or f"run {place + 1}",
                color=_LIKE_PATHS[place % len(_LIKE_PATHS)],
                style="both",
            )
            for place, one, name in known
        ]
        positive = all(np.nanmin(one.y) > 0 for one in series)
        panel = replace(panel, series=series, marks=(), y_scale="log" if positive else "linear")
    return Plot(panels=[panel], theme_name=view.theme)


def animate(
    landscapes: xr.Dataset | Sequence[xr.Dataset],
    path: str | os.PathLike[str],
    film: Film | str = "turn",
    *,
    seconds: float = 6.0,
    rate: int = 24,
    width: int = 960,
    view: View | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Path:
    """Make a film of one landscape or of several.

    Args:
        landscapes: one Landscape with two axes, or several.
        path: ``.mp4``, ``.gif``, ``.webp``, or a folder for numbered png files.
        film: what happens: "turn", "morph" or "zoom", or a :class:`Turn`, :class:`Morph`, :class:`Zoom` or
            :class:`Grow` with its own settings.
        seconds: its length.
        rate: frames per second.
        width: of a frame, in pixels.
        view: how it is seen.
        progress: a bar; by default one where it takes more than two seconds.
        **options: fields of :class:`View`, which take precedence.

    Returns:
        The path.

    Raises:
        SpecError: an unknown film, suffix or field, or numbers that make no film.
        MissingExtraError: a library is not installed; the message has the command that installs it.
        OSError: the film cannot be written; a film that was there stays.

    Example:
        >>> import tempfile
        >>> from lossatlas.results import landscape as schema
        >>> axis = schema.Axis(coordinates=np.linspace(-1, 1, 9), length=2.0)
        >>> bowl = schema.build({"x": axis, "y": axis}, {"loss": axis.coordinates[:, None] ** 2 + axis.coordinates**2})
        >>> target = animate(bowl, f"{tempfile.mkdtemp()}/zoom.gif", Zoom(factor=2), seconds=0.2, rate=10, width=200)
        >>> target.name
        'zoom.gif'
    """
    target, film = path_of("path", path), _film(film)
    _check(target, seconds, rate, width)
    known = [field.name for field in fields(View)]
    for name in options:
        if name not in known:
            raise SpecError(unknown("field of View", name, known))
    check_kind("view", view, (View, type(None)), "a lossatlas.View, or its fields as keywords")
    seen = replace(view or View(), **options)
    only_a_page(seen.ratio, "a film")
    scenes = listed(landscapes)
    count = max(2, round(seconds * rate))
    theme = compile(scenes[0], replace(seen, labels=(), overlays=())).theme
    inches = theme.column if len(scenes) == 1 or isinstance(film, Morph) else theme.page
    if isinstance(film, Grow) and any(map(_known, film.paths)):
        inches *= 2
    made = film.frames(scenes, seen, np.linspace(0, 1, count), width / inches)
    shown = tqdm(made, total=count, unit="frame", disable=progress is False, delay=_PATIENCE if progress is None else 0)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(of_one_size(shown), target, rate)
    except OSError as fault:
        reason = fault.strerror or first_line(fault)
        raise type(fault)(fault.errno or errno.EIO, f"the film cannot be written: {reason}", str(target)) from fault
    return target


def _film(film: Any) -> Film:
    named: dict[str, Film] = {"turn": Turn(), "morph": Morph(), "zoom": Zoom()}
    if isinstance(film, str) and film not in named:
        raise SpecError(unknown("film", film, tuple(named)))
    if not isinstance(film, str) and not callable(getattr(film, "frames", None)):
        raise SpecError(
            f"film is {described_type(film)}; expected 'turn', 'morph', 'zoom' or a film such as Zoom(factor=4)"
        )
    return named[film] if isinstance(film, str) else film


def _check(target: Path, seconds: float, rate: int, width: int) -> None:
    for name, number in (("seconds", seconds), ("rate", rate), ("width", width)):
        check_number(name, number)
    if target.suffix.lower() not in SUFFIXES:
        raise SpecError(unknown("suffix of path", target.suffix, [one or "(a folder)" for one in SUFFIXES]))
    if not 0 < seconds <= 600 or not 1 <= rate <= 120 or not 100 <= width <= 4000:
        raise SpecError(
            f"seconds={seconds}, rate={rate}, width={width}; expected up to 600 seconds, 1 to 120 frames per second "
            "and 100 to 4000 pixels"
        )


def _relief(
    scene: Scene, dpi: float, stages: static_surface.Stages | None = None, *, steady: bool = False
) -> np.ndarray:
    with static.own_settings():
        return _page(static_surface.draw(scene, Render(), stages=stages, dpi=dpi, steady=steady), dpi)


def _page(figure: Any, dpi: float) -> np.ndarray:
    """A figure as pixels, uint8 [height, width, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi)
    with static.own_settings():
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two pictures side by side on the paper of the first."""
    height = max(left.shape[0], right.shape[0])
    paper = left[0, 0]
    parts = []
    for part in (left, right):
        sheet = np.empty((height, part.shape[1], 3), np.uint8)
        sheet[:] = paper
        sheet[: part.shape[0]] = part
        parts.append(sheet)
    return np.concatenate(parts, axis=1)


def _mixed(start: Cells, end: Cells, share: float, scene: Scene) -> Cells:
    a, b = start.values[scene.value], end.values[scene.value]
    if scene.range.scale == "log":
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.exp((1 - share) * np.log(a) + share * np.log(b))
    else:
        value = (1 - share) * a + share * b
    title = f"{start.title} → {end.title}, {100 * share:.0f} %"
    return replace(start, title=title, values={**start.values, scene.value: value})


def _cropped(scene: xr.Dataset, near: float) -> xr.Dataset:
    """The part of a landscape within a share of its reach, and one point further."""
    kept: dict[Any, slice] = {}
    for name in scene["status"].dims:
        x = scene[name].values
        inside = np.flatnonzero((x >= x[0] / near) & (x <= x[-1] / near))
        if len(inside) < 3:
            raise SpecError(f"factor: {near:.3g} times closer leaves fewer than three points along {name!r}")
        kept[name] = slice(max(inside[0] - 1, 0), inside[-1] + 2)
    return scene.isel(kept)


def _up_to(path: upon.Path, at: float) -> upon.Path:
    """A path up to a place between two of its points."""
    whole_points, part = int(at), at - int(at)
    x, y = path.x[: whole_points + 1], path.y[: whole_points + 1]
    if part > 0:
        x = np.append(x, x[-1] + part * (path.x[whole_points + 1] - x[-1]))
        y = np.append(y, y[-1] + part * (path.y[whole_points + 1] - y[-1]))
    words = [(index, text) for index, text in path.words if index <= whole_points]
    arrows = [index for index in path.arrows if index <= whole_points]
    return replace(path, x=x, y=y, words=words, arrows=arrows, note="", along={})
