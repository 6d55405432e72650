r"""What is the shape of a sampled field: its minima, its saddles, how they are connected, and which of them are real?

Below a level c lies the set :math:`\{L ≤ c\}`. As c rises, a part of it is born at every minimum and ends at the saddle
where it meets a deeper one; a ring around a hill is born at a saddle and ends at the maximum. How long each lives is
its persistence (Edelsbrunner, Letscher, Zomorodian 2002). A change of every value by at most ε changes no birth and no
death by more than ε (Cohen-Steiner, Edelsbrunner, Harer 2007): whatever lives longer than the errors of its birth and
death combined is not an artefact of them, and everything else is left out.

Minima, passes and basins come from :mod:`lossatlas.field.basins`, rings and shells from gudhi's cubical complex; on
the minima the two agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import xarray as xr

from lossatlas.errors import SpecError, unknown
from lossatlas.extras import require
from lossatlas.field import topology_plot
from lossatlas.field.basins import Merge, Tree, merge_tree
from lossatlas.field.critical import Critical, Kind
from lossatlas.field.stated import stated_error
from lossatlas.figure.overlays import Overlay
from lossatlas.figure.plot import Plot, onto
from lossatlas.figure.words import number
from lossatlas.oneline import number_of, one_line
from lossatlas.results.landscape import Status, axis_names, validate, value_names
from lossatlas.results.moves import of_inputs

__all__ = ["CAVEAT", "Topology", "topology"]

CAVEAT = (
    "A minimum of a slice need not be one of the network: outside the slice the loss may keep falling. Minima and "
    "saddles are sampled points: between two points the loss may be lower or higher, and a minimum on the edge may be "
    "there only because the field ends."
)


@dataclass(frozen=True, kw_only=True)
class Topology:
    """The shape of a sampled field.

    Attributes:
        value: which variable.
        minima: the lowest first.
        saddles: the lowest first: passes between two basins, and where rings around hills close.
        maxima: inner maxima on which rings close, the highest first.
        merges: where basins meet, the lowest first: a pair of numbers of minima (the one that ends, the one that goes
            on) and the saddle.
        basins: int64, shaped like the field: the number of the minimum that each cell runs down to.
        diagrams: by dimension (0 parts, 1 rings, 2 shells), float64 [n, 2]: birth and death of everything, however
            short-lived.
        dropped: number of pairs that the threshold left out.
        threshold: how it was chosen, in words.
        title: name of the model.
        caveat: what this does not prove.
    """

    value: str
    minima: tuple[Critical, ...]
    saddles: tuple[Critical, ...]
    maxima: tuple[Critical, ...]
    merges: tuple[tuple[int, int, Critical], ...]
    basins: np.ndarray = field(repr=False)
    diagrams: tuple[np.ndarray, ...] = field(repr=False)
    dropped: int
    threshold: str
    title: str
    caveat: str = CAVEAT

    __repr__ = one_line

    @property
    def words(self) -> str:
        """The result in a sentence."""
        inner = sum(not point.boundary for point in self.minima)
        edge = len(self.minima) - inner
        beside = f" and {edge} on the edge of the field" if edge else ""
        return (
            f"{number_of(inner, 'minimum', 'minima')}{beside}, {number_of(len(self.saddles), 'saddle')}, "
            f"{number_of(len(self.maxima), 'inner maximum', 'inner maxima')}; "
            f"{number_of(self.dropped, 'shallower pair')} left out ({self.threshold})."
        )

    def barrier(self, a: int, b: int) -> float:
        """How far one has to climb from minimum number a to reach minimum number b.

        Returns:
            The height above minimum ``a``, in units of the field.

        Raises:
            SpecError: there is no minimum of that number.
        """
        for name, one in (("a", a), ("b", b)):
            if not 0 <= one < len(self.minima):
                raise SpecError(f"{name}={one}; the field has the minima 0 to {len(self.minima) - 1}")
        height, groups = self.minima[a].value, list(range(len(self.minima)))
        for younger, elder, saddle in self.merges:
            if groups[a] == groups[b]:
                break
            groups = [groups[elder] if group == groups[younger] else group for group in groups]
            height = saddle.value
        return height - self.minima[a].value

    def plot(self, ax: Any = None) -> Plot:
        """The merge tree and the persistence diagram.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        return onto(ax, topology_plot.plot(self))

    def overlay(self) -> list[Overlay]:
        """The basins, minima and saddles, to be drawn on a map: ``la.draw(landscape, "a.png", overlays=...)``.

        Returns:
            What ``la.draw`` takes as ``overlays=``.

        Raises:
            SpecError: the field does not have two axes.
        """
        return topology_plot.overlay(self)


def topology(landscape: xr.Dataset, value: str = "loss", *, threshold: float | Literal["auto"] = "auto") -> Topology:
    """Minima, saddles, merge tree, persistence and basins of a sampled field in one, two or three dimensions.

    Args:
        landscape: a Landscape without holes.
        value: which variable.
        threshold: smallest persistence that counts, in the unit of the value. ``"auto"`` takes it from the field's own
            error at the two cells of each pair, see :func:`lossatlas.field.stated.stated_error`.

    Returns:
        The shape.

    Raises:
        SpecError: the value does not exist, the threshold is not valid, or the field has holes: the message says how
            many cells are missing, and nothing is filled in.
        ImportError: gudhi is missing.

    Example:
        >>> from lossatlas.results.landscape import Axis, build
        >>> x = np.linspace(-2, 2, 41)
        >>> wells = (x[:, None] ** 2 - 1) ** 2 + x[None] ** 2
        >>> axis = Axis(coordinates=x, length=1.0)
        >>> found = topology(build({"x": axis, "y": axis}, {"loss": wells}))
        >>> [(round(m.coordinates["x"], 6), m.value) for m in found.minima]
        [(-1.0, 0.0), (1.0, 0.0)]
        >>> found.saddles[0].coordinates, found.barrier(0, 1)
        ({'x': 0.0, 'y': 0.0}, 1.0)
    """
    validate(landscape)
    if value not in value_names(landscape):
        raise SpecError(unknown("value", value, value_names(landscape)))
    if threshold != "auto" and not (isinstance(threshold, (int, float)) and 0 <= threshold < np.inf):
        raise SpecError(f"threshold={threshold!r}; expected a height in the unit of {value}, or 'auto'")
    values = np.ascontiguousarray(landscape[value].values, np.float64)
    _refuse_holes(values, landscape["status"].values, value)
    if threshold == "auto":
        slack, words = stated_error(landscape, value)
    else:
        slack, words = np.full(values.shape, threshold / 2), f"persistence above {number(threshold)}"
    tree = merge_tree(values, slack)
    return _described(landscape, value, values, slack, words, tree, _pairs(values))


def _refuse_holes(values: np.ndarray, status: np.ndarray, value: str) -> None:
    usable = np.isin(status, (Status.OK, Status.INTERPOLATED)) & np.isfinite(values)
    if usable.all():
        return
    reasons = {flag.name.lower().replace("_", " "): int(np.sum(~usable & (status == flag))) for flag in Status}
    said = ", ".join(f"{count} {name}" for name, count in reasons.items() if count and name != "ok")
    missing = int((~usable).sum())
    raise SpecError(
        f"{value!r} is missing at {missing} of {usable.size} cells ({said or 'not finite'}); a hole could hide a "
        "minimum or a pass, so none is filled in: finish the run, or cut out a part without holes with "
        "landscape.isel(...)"
    )


def _pairs(values: np.ndarray) -> list[np.ndarray]:
    """Persistence pairs by dimension: flat indices of birth and death, int64 [n, 2], by gudhi."""
    gudhi = require("gudhi", extra="topology", purpose="compute persistence")
    cubes = gudhi.CubicalComplex(top_dimensional_cells=values)
    cubes.compute_persistence()
    found = [np.empty((0, 2), np.int64)] * values.ndim
    for dimension, pairs in enumerate(cubes.cofaces_of_persistence_pairs()[0]):
        places = np.unravel_index(pairs, values.shape, order="F")  # gudhi counts the first axis fastest
        found[dimension] = np.ravel_multi_index(places, values.shape).reshape(-1, 2)
    return found


def _described(
    landscape: xr.Dataset,
    value: str,
    values: np.ndarray,
    slack: np.ndarray,
    words: str,
    tree: Tree,
    pairs: list[np.ndarray],
) -> Topology:
    flat, off = values.ravel(), slack.ravel()

    def point(cell: int, kind: Kind, persistence: float) -> Critical:
        return _critical(landscape, values, cell, kind, persistence)

    last = values.ndim  # on a line what separates two minima is a maximum
    middle: Kind = "maximum" if last == 1 else "saddle"
    heights = {merge.younger: float(flat[merge.saddle] - flat[merge.younger]) for merge in tree.merges}
    minima = [point(int(cell), "minimum", heights.get(int(cell), np.inf)) for cell in tree.minima]
    passes = [point(merge.saddle, middle, heights[merge.younger]) for merge in tree.merges]
    points, dropped = list(passes), tree.dropped
    for dimension, found in enumerate(pairs[1:], start=1):
        lives = flat[found[:, 1]] - flat[found[:, 0]]
        real = lives > off[found[:, 0]] + off[found[:, 1]]
        dropped += int(np.sum(~real))
        for (birth, death), life in zip(found[real].tolist(), lives[real].tolist(), strict=True):
            points.append(point(birth, "saddle", life))
            points.append(point(death, "maximum" if dimension == last - 1 else "saddle", life))
    places = {int(cell): index for index, cell in enumerate(tree.minima)}
    return Topology(
        value=value,
        minima=tuple(minima),
        saddles=_sorted([one for one in points if one.kind == "saddle"]),
        maxima=_sorted([one for one in points if one.kind == "maximum"])[::-1],
        merges=tuple(_numbered(merge, places, at) for merge, at in zip(tree.merges, passes, strict=True)),
        basins=tree.labels,
        diagrams=tuple(np.stack([flat[found[:, 0]], flat[found[:, 1]]], axis=1) for found in pairs),
        dropped=dropped,
        threshold=words,
        title=str(landscape.attrs.get("title") or "model"),
        caveat=CAVEAT.replace("of the network", "over the inputs") if of_inputs([landscape]) else CAVEAT,
    )


def _numbered(merge: Merge, places: Mapping[int, int], saddle: Critical) -> tuple[int, int, Critical]:
    return places[merge.younger], places[merge.elder], saddle


def _sorted(points: list[Critical]) -> tuple[Critical, ...]:
    return tuple(sorted(points, key=lambda one: one.value))


def _critical(landscape: xr.Dataset, values: np.ndarray, cell: int, kind: Kind, persistence: float) -> Critical:
    place = tuple(int(i) for i in np.unravel_index(cell, values.shape))
    coordinates = {axis: float(landscape[axis].values[i]) for axis, i in zip(axis_names(landscape), place, strict=True)}
    return Critical(
        kind=kind,
        cell=place,
        coordinates=coordinates,
        value=float(values[place]),
        persistence=persistence,
        boundary=any(i in (0, n - 1) for i, n in zip(place, values.shape, strict=True)),
    )
