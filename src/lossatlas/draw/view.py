"""How a Landscape is seen: the View, and how it and the Landscapes become one Scene."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from lossatlas.draw import brief, camera, captions, cuts, record, shown
from lossatlas.draw.facts import facts
from lossatlas.draw.hidden import hidden_words
from lossatlas.draw.ratio import ratio_map
from lossatlas.draw.scene import RELIEF_HEIGHT, Caption, Cells, Curve, Kind, Scene
from lossatlas.errors import SpecError, unknown
from lossatlas.expected import LANDSCAPE, check_kind, described_type
from lossatlas.field.uncertainty import Seeds
from lossatlas.figure import colour_maps
from lossatlas.figure.overlays import Overlay, check, outside
from lossatlas.figure.palettes import OWN, THEMES, Colours, ThemeName
from lossatlas.figure.paper import Paper
from lossatlas.figure.ranges import Range
from lossatlas.figure.words import capital
from lossatlas.oneline import number_of
from lossatlas.results.landscape import axis_names, validate, value_names
from lossatlas.results.quantities import quantity
from lossatlas.untrusted import printable_fields

__all__ = ["KindOption", "ScaleOption", "View", "compile", "listed"]

KindOption = Literal["auto", "line", "contour", "filled", "heat", "surface"]
ScaleOption = Literal["auto", "linear", "log"]


@dataclass(frozen=True, kw_only=True)
class View(Paper):
    """How a Landscape is seen. Nothing here changes a value; it only decides what is shown and how.

    It includes how the picture is set in print: see the fields of :class:`~lossatlas.figure.paper.Paper`.

    Attributes:
        value: what height and colour show: "loss", the name of a metric or, for a map of curvature, one of its values,
            by its name or by its label in pictures.
        kind: what is drawn. "auto" is "line" for one axis, "heat" for a map of curvature, and "filled" for others.
        scale: "log" applies to positive values only; where there are others, the scale becomes a symmetric logarithm
            and the caption says so. "auto" takes the logarithm where positive values span more than two decades of what
            is shown; scores between 0 and 1, and lines between networks, stay linear.
        clip: largest value shown, or the largest there is. "auto" clips only a minority of cells far above all others,
            and never a score between 0 and 1; ``None`` clips nothing, on any axis.
        vmin: lower end of the range, set by hand.
        vmax: upper end of the range, set by hand; unlike ``clip`` it may lie above all values.
        minus_centre: subtract the value at the centre, for each Landscape its own.
        levels: approximate number of contour lines.
        colours: "auto" is viridis for a loss and cividis for a metric; "diverging" is symmetric around zero, for a
            value whose zero means something; or the name of any matplotlib colour map. A map on which equal steps do
            not look equal gives a warning.
        theme: "light" and "dark" use the type sizes of a journal column (7 to 9 points), "talk" those of a slide;
            "print" is in greys.
        camera: elevation and azimuth of the camera, in degrees; "auto" looks from where the valley is seen best.
        contours: draw the contour lines on the relief as well.
        title: heading of the whole picture.
        labels: names for what is compared, in order, instead of their own; an empty one keeps the own name.
        points: on maps, show the evaluated cells as dots; the others were interpolated.
        overlays: paths, points and regions on the field, see :mod:`lossatlas.figure.overlays`.
        ratio: a map of curvature of the same plane, which a page (.html) lays over the surface, on its own grid.

    Raises:
        SpecError: a field has a value it cannot have; the message lists the valid ones.

    Example:
        >>> View(scale="log", clip=12).clip
        12
        >>> View(scale="logarithmic")
        Traceback (most recent call last):
        ...
        lossatlas.errors.SpecError: scale='logarithmic' is unknown; choose one of: auto, linear, log
    """

    value: str = "loss"
    kind: KindOption = "auto"
    scale: ScaleOption = "auto"
    clip: float | Literal["auto"] | None = "auto"
    vmin: float | None = None
    vmax: float | None = None
    minus_centre: bool = False
    levels: int = 12
    colours: Colours = "auto"
    theme: ThemeName = "light"
    camera: tuple[float, float] | Literal["auto"] = "auto"
    contours: bool = False
    title: str = ""
    labels: Sequence[str] = ()
    points: bool = False
    overlays: Sequence[Overlay] = ()
    ratio: xr.Dataset | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.title, str):
            printable_fields(self, "title")
        options = {"kind": KindOption, "scale": ScaleOption, "theme": ThemeName}
        for name, option in options.items():
            if getattr(self, name) not in get_args(option):
                raise SpecError(unknown(name, getattr(self, name), get_args(option)))
        check_kind("colours", self.colours, str, "'auto', or the name of a map such as 'magma'")
        if self.colours not in ("auto", *OWN):
            colour_maps.check(self.colours)
        if isinstance(self.labels, str):
            raise SpecError(f"labels={self.labels!r} is one text; give a list of names, one for each landscape")
        if not (self.clip is None or self.clip == "auto" or _is_number(self.clip)):
            raise SpecError(f"clip={self.clip!r} is not a finite number; give a number, 'auto', or None for no clip")
        self._check_ends()
        if not isinstance(self.levels, int) or not 1 <= self.levels <= 50:
            raise SpecError(f"levels={self.levels!r}: expected a whole number from 1 to 50")
        check_kind("camera", self.camera, (str, tuple, list), "'auto' or (elevation, azimuth) in degrees, as (34, -52)")
        if self.camera != "auto" and (len(self.camera) != 2 or not all(map(_is_number, self.camera))):
            raise SpecError(f"camera={self.camera!r}: expected 'auto' or (elevation, azimuth) in degrees, as (34, -52)")

    def _check_ends(self) -> None:
        for name in ("vmin", "vmax"):
            if (end := getattr(self, name)) is not None and not _is_number(end):
                raise SpecError(
                    f"{name}={end!r} is not a finite number; give a number, or None for the end of the values"
                )
        if self.vmin is not None and self.vmax is not None and not self.vmin < self.vmax:
            raise SpecError(f"vmin={self.vmin!r} is not below vmax={self.vmax!r}; give the lower end as vmin")
        if self.vmax is not None and _is_number(self.clip):
            raise SpecError(f"clip={self.clip!r} and vmax={self.vmax!r} both end the range; give one of them")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)


def compile(landscapes: xr.Dataset | Sequence[xr.Dataset] | Seeds, view: View | None = None) -> Scene:
    """Decide what is drawn, once for all back ends and jointly for all that is compared.

    Landscapes with two axes become panels side by side, those with three become their slices through the centre.
    Landscapes with one axis become lines on one picture; those with the same title are taken as runs of one model and
    become their median, with a band from the smallest to the largest.

    Args:
        landscapes: one Landscape or several with the same number of axes, or runs of :func:`lossatlas.seeds`.
        view: how they are seen.

    Returns:
        The scene.

    Raises:
        SpecError: a Landscape lacks the value, the numbers of axes differ, or the kind does not fit them.

    Example:
        >>> from lossatlas.results import landscape as schema
        >>> axis = schema.Axis(coordinates=np.linspace(-1, 1, 5), length=3.0)
        >>> bowl = schema.build({"x": axis}, {"loss": axis.coordinates**2})
        >>> scene = compile(bowl)
        >>> scene.kind, scene.range.scale, scene.range.low, scene.range.high
        ('line', 'linear', 0.0, 1.0)
    """
    view = view or View()
    given, view = _spread(landscapes, view)
    check_kind("landscapes", given, (xr.Dataset, Sequence), f"{LANDSCAPE}; several as a list")
    view = _on_what_there_is(given, view)
    sources, view = _named(_titled(_checked(given, view.value), view.labels), view)
    dimensions = len(axis_names(sources[0]))
    kind = _kind(view.kind, dimensions, coarse=quantity(sources[0], view.value) is not None)
    whole = cuts.named_apart([cuts.block(source) for source in sources], sources, merge=dimensions == 1)
    if view.minus_centre:
        whole = [cuts.minus_centre(block, source, view.value) for block, source in zip(whole, sources, strict=True)]
    panels, curves, volumes = _parts(whole, dimensions)
    label = view.value_label or (f"{view.value} − centre" if view.minus_centre else view.value)
    same, further = shown.companions(sources, view.value) if curves else ((), shown.others(sources, view.value))
    same, further = same[: shown.FURTHER], (*same[shown.FURTHER :], *further)
    seen = shown.Seen(sources=sources, blocks=whole, curves=curves, value=view.value, label=label, alongside=same)
    beside = shown.fitting(seen, further) if curves else further
    looks = shown.looks(seen, view)
    first = shown.chosen(looks, seen, view)
    flat = [(len(panel.axes[0].coordinates), len(panel.axes[1].coordinates)) for panel in panels]
    overlays = check(view.overlays, [] if volumes else flat)
    return Scene(
        kind=kind,
        title=view.title,
        value=view.value,
        label=label,
        range=first,
        colours=_colours(view, sources[0]),
        theme_name=view.theme,
        shows_points=view.points,
        shows_contours=view.contours,
        camera=_camera(view, kind, panels, first),
        panels=panels,
        curves=curves,
        volumes=volumes,
        alongside=same,
        beside=beside,
        beside_range=shown.beside_range(seen, beside) if curves and beside else None,
        limits=cuts.limits(whole),
        looks=looks,
        overlays=overlays,
        ratio=None if view.ratio is None else ratio_map(view.ratio, sources),
        paper=view,
        record=record.described(sources, view),
        caption=_caption(seen, first, overlays, panels, tuple(name for name in further if name not in beside)),
        facts=tuple(map(facts, sources)),
        sources=tuple(sources),
    )


def _caption(
    seen: shown.Seen, drawn: Range, overlays: Sequence[Overlay], panels: Sequence[Cells], out: Sequence[str]
) -> Caption:
    """All that is to be said, and the part of it that goes on two lines."""
    far, hidden = _outside(overlays, panels), hidden_words(seen.curves, seen.value, drawn)
    without = f"not drawn here: {', '.join(out)}" if out else ""
    notes = " ".join(
        filter(None, [hidden, without and f"{capital(without)}.", *(entry.note for entry in overlays), far])
    )
    whole = captions.caption(seen.sources, seen.blocks, seen.curves, seen.value, drawn, label=seen.label, notes=notes)
    first = filter(None, [hidden.removesuffix("."), far.removesuffix(".")])
    what = (*first, *brief.what(seen.sources, drawn), *filter(None, [without]))
    return replace(whole, what=brief.begun(what), proves=brief.proves(seen.sources, seen.value))


def _outside(overlays: Sequence[Overlay], panels: Sequence[Cells]) -> str:
    """What lies outside the panels it belongs to."""
    said = []
    for number, panel in enumerate(panels):
        (x_low, *_, x_high), (y_low, *_, y_high) = (axis.coordinates.tolist() for axis in panel.axes)
        upon = [one for one in overlays if one.panel in (None, number)]
        said.append(outside(upon, (x_low, x_high), (y_low, y_high)))
    return " ".join(dict.fromkeys(filter(None, said)))


def _camera(view: View, kind: Kind, panels: Sequence[Cells], drawn: Range) -> tuple[float, float]:
    if view.camera != "auto":
        return float(view.camera[0]), float(view.camera[1])
    if kind != "surface":
        return camera.USUAL
    bottom, top = drawn.limits
    heights = [panel.heights(view.value, drawn, beyond=1.0) for panel in panels]
    return camera.chosen([(each - bottom) / (top - bottom) for each in heights], height=RELIEF_HEIGHT)


def listed(landscapes: xr.Dataset | Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """One Landscape or several, as a list.

    Args:
        landscapes: what is drawn.

    Returns:
        At least one.

    Raises:
        SpecError: there is none, or something else among them.
    """
    check_kind("landscapes", landscapes, Iterable, f"{LANDSCAPE}, or a list of them")
    sources = [landscapes] if isinstance(landscapes, xr.Dataset) else list(landscapes)
    if not sources:
        raise SpecError("landscapes is empty; give one Landscape or a list of them")
    for source in sources:
        if not isinstance(source, xr.Dataset):
            raise SpecError(f"landscapes holds {described_type(source)}; expected {LANDSCAPE}")
    return sources


def _checked(landscapes: xr.Dataset | Sequence[xr.Dataset], value: str) -> list[xr.Dataset]:
    sources = [_with_error_as_value(source, value) for source in listed(landscapes)]
    for source in sources:
        validate(source)
        if value not in value_names(source):
            raise SpecError(unknown("value", value, value_names(source)))
        short = [name for name in axis_names(source) if source.sizes[name] < 2]
        if short:
            raise SpecError(f"axis {short[0]!r} has {source.sizes[short[0]]} point; a picture needs at least 2")
    numbers = sorted({len(axis_names(source)) for source in sources})
    if len(numbers) > 1:
        raise SpecError(f"landscapes have {' and '.join(map(str, numbers))} axes; draw these in separate pictures")
    return sources


def _spread(landscapes: Any, view: View) -> tuple[Any, View]:
    """The Landscapes drawn for runs over several seeds, alone or among others, with the names of all."""
    if isinstance(landscapes, Seeds):
        return landscapes.shown, view
    if not isinstance(landscapes, (list, tuple)) or not any(isinstance(one, Seeds) for one in landscapes):
        return landscapes, view
    parts = [_spread(one, view)[0] for one in landscapes]
    parts = [part if isinstance(part, tuple) else (part,) for part in parts]
    names = [name for name, part in zip(view.labels, parts, strict=False) for _ in part]
    return [one for part in parts for one in part], replace(view, labels=names)


def _on_what_there_is(landscapes: xr.Dataset | Sequence[xr.Dataset], view: View) -> View:
    """Where there is no loss, as in a table of accuracies, the first value is drawn unless another is asked for."""
    sources = [landscapes] if isinstance(landscapes, xr.Dataset) else list(landscapes)
    known = [set(value_names(one)) for one in sources if isinstance(one, xr.Dataset)]
    found = [(quantity(one, name), name) for one in sources if isinstance(one, xr.Dataset) for name in value_names(one)]
    by_words = {what.label: name for what, name in found if what}
    view = replace(view, value=by_words.get(view.value, view.value))
    if view.value != "loss" or not known or any("loss" in names for names in known):
        return view
    first = next((name for name in value_names(sources[0]) if all(name in names for names in known)), "loss")
    return replace(view, value=first)


def _with_error_as_value(source: Any, value: str) -> Any:
    """A standard error that is asked for by its name is drawn like any other value."""
    if not isinstance(source, xr.Dataset) or value not in source or source[value].attrs.get("kind") != "standard error":
        return source
    return source.assign({value: source[value].assign_attrs(kind="metric")})


def _named(sources: list[xr.Dataset], view: View) -> tuple[list[xr.Dataset], View]:
    """The values of a map of curvature by the words of pictures instead of their names in the data."""
    names = {name: one.label for source in sources for name in value_names(source) if (one := quantity(source, name))}
    if not names:
        return sources, view
    renamed = [source.rename({a: b for a, b in names.items() if a in source}) for source in sources]
    return renamed, replace(view, value=names.get(view.value, view.value))


def _kind(kind: KindOption, dimensions: int, *, coarse: bool) -> Kind:
    """What is drawn; a map of curvature has few cells, whose values are shown as they are, and no contours between."""
    if kind == "auto":
        return "line" if dimensions == 1 else "heat" if coarse else "filled"
    if (kind == "line") != (dimensions == 1):
        good = "auto, line" if dimensions == 1 else "auto, contour, filled, heat, surface"
        raise SpecError(
            f"kind={kind!r} does not fit a landscape with {number_of(dimensions, 'axis', 'axes')}; "
            f"choose one of: {good}"
        )
    return kind


def _parts(whole: Sequence[Cells], dimensions: int) -> tuple[tuple[Cells, ...], tuple[Curve, ...], tuple[Cells, ...]]:
    if dimensions == 1:
        return (), cuts.curves(whole), ()
    if dimensions == 2:
        return tuple(whole), (), ()
    return tuple(part for block in whole for part in cuts.slices(block)), (), tuple(whole)


def _colours(view: View, source: xr.Dataset) -> Colours:
    if view.colours != "auto":
        return view.colours
    return THEMES[view.theme].colours[source[view.value].attrs["kind"] != "loss"]


def _titled(sources: list[xr.Dataset], labels: Sequence[str]) -> list[xr.Dataset]:
    """The Landscapes by the names they are given."""
    if len(labels) > len(sources):
        raise SpecError(
            f"labels has {number_of(len(labels), 'name')} for {number_of(len(sources), 'landscape')}; give one "
            "each at most"
        )
    given = [*labels, *[""] * (len(sources) - len(labels))]
    return [one.assign_attrs(title=name) if name else one for one, name in zip(sources, given, strict=True)]
