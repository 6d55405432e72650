"""What is found about a training run's path? Results with numbers that say what they prove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lossatlas.errors import SpecError
from lossatlas.figure.losses import NETWORK, SURFACE, clock, losses
from lossatlas.figure.overlays import Path
from lossatlas.figure.plot import Panel, Plot, Series, onto
from lossatlas.figure.words import number, percent
from lossatlas.oneline import number_of, one_line
from lossatlas.paths.along import along, falls
from lossatlas.paths.walks import Centre, Null

__all__ = ["CAVEAT", "Checkpoint", "Contrast", "PathLosses", "Principal", "Projected"]

CAVEAT = (
    "A path that is nearly flat proves little: a random walk with steps of the same length gives the shares beside it "
    "in any large number of dimensions."
)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What is known about one checkpoint.

    Attributes:
        step: of the training; its number in the list if no step was recorded.
        epoch: of the training, if known.
        loss: of the training as it was recorded, perhaps of one batch, if known.
        lr: learning rate, if known.
        notes: whatever else was recorded.
    """

    step: int
    epoch: float | None = None
    loss: float | None = None
    lr: float | None = None
    notes: Mapping[str, Any] | None = None

    __repr__ = one_line


@dataclass(frozen=True, kw_only=True)
class Principal:
    """The principal components of a path, beside those of a random walk.

    Attributes:
        shares: float64 [k], explained share of the variance.
        variances: float64 [k], mean squared coordinate along each.
        weights: float64 [n, k]: direction j is the sum over checkpoints of weight times (checkpoint - last one).
        coordinates: float64 [n, k], of each checkpoint about the last one, in parameter norm.
        null: what a random walk with the same step lengths explains.
        centre: about which point the variance is taken.
    """

    shares: np.ndarray
    variances: np.ndarray
    weights: np.ndarray
    coordinates: np.ndarray
    null: Null
    centre: Centre

    __repr__ = one_line

    @property
    def words(self) -> str:
        """The explained variance and that of the null, in a sentence."""
        about = "their mean" if self.centre == "mean" else "the last one"
        path = " and ".join(f"{100 * share:.1f} %" for share in self.shares[:2])
        walk = " and ".join(f"{100 * share:.1f} %" for share in self.null.shares[:2])
        return (
            f"The first components explain {path} of the variance of {len(self.weights)} checkpoints about {about}; "
            f"a random walk with the same step lengths gives {walk}."
        )

    def labels(self, axes: Sequence[str]) -> dict[str, str]:
        """What the first components are called on a picture, by axis."""
        shares = [f"{100 * a:.0f} % of the variance, random walk {100 * b:.0f} %" for a, b in self._both]
        return {axis: f"principal direction {i + 1} ({shares[i]})" for i, axis in enumerate(axes)}

    @property
    def _both(self) -> list[tuple[float, float]]:
        return list(zip(self.shares.tolist(), self.null.shares.tolist(), strict=True))

    def plot(self, ax: Any = None) -> Plot:
        """Explained variance by component, beside that of the random walk.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        number = np.arange(1, len(self.shares) + 1)
        spread = f"a random walk; lines span 90 % of {self.null.draws} draws"
        series = [
            Series(x=number, y=100 * self.shares, label="this path", style="bars", color=0),
            Series(
                x=number,
                y=100 * self.null.shares,
                low=100 * self.null.low,
                high=100 * self.null.high,
                label=spread,
                style="points",
                color=1,
            ),
        ]
        panel = Panel(
            series=series,
            x_label="principal component",
            y_label="explained variance, %",
            x_ticks=[(float(n), str(n)) for n in number],
        )
        return onto(ax, Plot(panels=[panel], title="How flat is the path?", caption=(self.words, CAVEAT)))


@dataclass(frozen=True, kw_only=True)
class Projected:
    """Where the checkpoints of a path lie over a plane.

    Attributes:
        axes: names of the plane's axes.
        coordinates: float64 [n, k], the nearest point of the plane, in multiples of its directions.
        residual: float64 [n], distance from the plane, in parameter norm.
        distance: float64 [n], distance from the plane's origin, in parameter norm.
    """

    axes: tuple[str, ...]
    coordinates: np.ndarray
    residual: np.ndarray
    distance: np.ndarray

    __repr__ = one_line

    @property
    def share(self) -> np.ndarray:
        """Residual as a share of the distance from the origin, float64 [n]; 0 at the origin."""
        zeros = np.zeros_like(self.residual)
        return np.asarray(np.divide(self.residual, self.distance, out=zeros, where=self.distance > 0))

    def bounds(self, points: int = 41, margin: float = 0.15) -> dict[str, tuple[float, float, int]]:
        """Axes that enclose the path and the origin, with some margin: ``la.Grid(**path.bounds())``.

        Args:
            points: along each axis.
            margin: on each side, as a share of the path's extent; an axis is at least a tenth as long as the
                longest one.

        Returns:
            ``(low, high, points)`` by axis.

        Raises:
            SpecError: fewer than two points, or a negative margin.
        """
        if points < 2 or margin < 0:
            raise SpecError(f"points={points}, margin={margin}; expected at least 2 points and a margin of at least 0")
        low, high = np.minimum(self.coordinates.min(axis=0), 0), np.maximum(self.coordinates.max(axis=0), 0)
        room = np.maximum(high - low, 0.1 * (high - low).max())
        if not room.max() > 0:
            raise SpecError("the path does not move in this plane; choose another one")
        middle, half = (low + high) / 2, room * (0.5 + margin)
        return {axis: (float(m - h), float(m + h), points) for axis, m, h in zip(self.axes, middle, half, strict=True)}


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """What random directions capture of a path.

    Attributes:
        cosines: of each random direction with the line from the first checkpoint to the last.
        expected: mean size of such a cosine in this dimension, sqrt(2 / (π P)) (Li et al. 2018, section 7).
        share: of the path's variance about its mean that the plane of the random directions explains.
        expected_share: the same, as expected for a random plane, k / P.
    """

    cosines: tuple[float, ...]
    expected: float
    share: float
    expected_share: float

    __repr__ = one_line

    @property
    def words(self) -> str:
        """The contrast in a sentence."""
        found = ", ".join(f"{cosine:+.2g}" for cosine in self.cosines)
        return (
            f"Random directions meet the line from first to last at cosines {found} (expected {self.expected:.2g}) and "
            f"explain {percent(self.share)} of the path's variance (expected {percent(self.expected_share)})."
        )


@dataclass(frozen=True, kw_only=True)
class PathLosses:
    """The loss along a path: of the networks themselves, and of the surface below them.

    Attributes:
        checkpoints: what is known about each.
        projected: where they lie over the plane.
        own: by value ("loss" and metrics), float64 [n], at each checkpoint.
        surface: by value, float64 [n], at the nearest point of the plane.
        runs: numbers of checkpoints of several runs, one after the other; by default all are of one.
        names: what these runs are called; by default they are numbered.
    """

    checkpoints: Sequence[Checkpoint]
    projected: Projected
    own: Mapping[str, np.ndarray]
    surface: Mapping[str, np.ndarray]
    runs: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    __repr__ = one_line

    @property
    def each(self) -> list[PathLosses]:
        """The same for every run by itself."""
        if len(self.runs) < 2:
            return [self]
        ends = np.cumsum(self.runs).tolist()
        return [self._part(slice(end - count, end)) for end, count in zip(ends, self.runs, strict=True)]

    def _part(self, part: slice) -> PathLosses:
        over = self.projected
        return PathLosses(
            checkpoints=self.checkpoints[part],
            projected=Projected(
                axes=over.axes,
                coordinates=over.coordinates[part],
                residual=over.residual[part],
                distance=over.distance[part],
            ),
            own={name: values[part] for name, values in self.own.items()},
            surface={name: values[part] for name, values in self.surface.items()},
        )

    @property
    def drops(self) -> list[tuple[int, str]]:
        """Where the learning rate fell to half or less: index of the first checkpoint after it, and its words.

        Example:
            >>> known = [Checkpoint(step=i, lr=lr) for i, lr in enumerate((0.1, 0.1, 0.01))]
            >>> nowhere = Projected(axes=(), coordinates=np.zeros((3, 0)), residual=np.zeros(3), distance=np.zeros(3))
            >>> PathLosses(checkpoints=known, projected=nowhere, own={}, surface={}).drops
            [(2, 'lr ÷ 10')]
        """
        return falls(self.checkpoints)

    @property
    def words(self) -> str:
        """How well the surface represents the path, in a sentence."""
        at, worst = int(np.nanargmax(self.projected.residual)), self._worst()
        residual, extent = float(self.projected.residual[at]), float(self.projected.distance.max())
        return (
            f"The path lies off this plane by up to {number(residual)} in parameter norm ({self._name(at)}), "
            f"{percent(residual / extent if extent else 0.0)} of its extent; the surface shows a loss of "
            f"{number(float(self.surface['loss'][worst]))} where the network has "
            f"{number(float(self.own['loss'][worst]))} ({self._name(worst)})."
        )

    def _worst(self) -> int:
        """Where the surface misleads most: by the largest factor or, if losses are not positive, difference."""
        own, surface = self.own["loss"], self.surface["loss"]
        if (own > 0).all() and (surface > 0).all():
            return int(np.nanargmax(np.abs(np.log(own / surface))))
        return int(np.nanargmax(np.abs(own - surface)))

    def overlay(self, label: str = "training path") -> Path:
        """The path on the surface, with epochs beside it, and arrows where the learning rate falls.

        Args:
            label: in the key.

        Returns:
            What ``la.draw(..., overlays=...)`` takes.

        Raises:
            SpecError: the plane does not have two axes.
        """
        coordinates = self.projected.coordinates
        if coordinates.shape[1] != 2:
            raise SpecError(
                f"the plane has {number_of(coordinates.shape[1], 'axis', 'axes')}; a path is drawn on a plane with two"
            )
        words = self._drop_words()
        words |= {i: text for i, text in self._epochs() if all(self._apart(i, other) for other in words)}
        return Path(
            x=coordinates[:, 0],
            y=coordinates[:, 1],
            label=label,
            words=list(words.items()),
            arrows=[i for i, _ in self.drops],
            note=self._note,
            along=self._along,
        )

    def overlays(self, label: str = "training path") -> list[Path]:
        """The path of every run on the surface, none joined to the next; see :meth:`overlay`.

        Args:
            label: in the key; for several runs, the name of each, or this with its number.

        Returns:
            What ``la.draw(..., overlays=...)`` takes.

        Raises:
            SpecError: the plane does not have two axes.
        """
        each = self.each
        if len(each) == 1:
            return [self.overlay(label)]
        labels = self.names or [f"{label}, run {place}" for place in range(1, len(each) + 1)]
        found = [one.overlay(name) for name, one in zip(labels, each, strict=True)]
        return [replace(path, note=self._note if place == 0 else "") for place, path in enumerate(found)]

    def plot(self, ax: Any = None) -> Plot:
        """The loss of the networks beside that of the surface below them, and the distance between the two.

        Args:
            ax: where to draw it as well, see :func:`lossatlas.figure.plot.onto`.

        Returns:
            The plot.
        """
        each = self.each
        if len(each) > 1:
            panels = [panel for one in each for panel in one.plot().panels]
            titled = [replace(panel, title=self._run(place // 2)) for place, panel in enumerate(panels)]
            return onto(ax, Plot(panels=titled, title="What the surface shows of the paths", caption=(self.words,)))
        x, unit = self._clock()
        loss = losses(self._along | {NETWORK: self.own["loss"], SURFACE: self.surface["loss"]})
        distances = {"from the centre": self.projected.distance, "off the plane": self.projected.residual}
        off = [
            Series(x=x, y=y, label=label, style="both", color=color)
            for (label, y), color in zip(distances.items(), (3, 2), strict=True)
        ]
        rest = Panel(series=off, x_label=unit, y_label="distance, parameter norm", marks=loss.marks)
        made = Plot(panels=[loss, rest], title="What the surface shows of the path", caption=(self.words,))
        return onto(ax, made)

    @property
    def _along(self) -> dict[str, np.ndarray]:
        return along(self.checkpoints, self.projected.residual, self.own["loss"], self.surface["loss"])

    @property
    def _note(self) -> str:
        return f"{self.words} Arrows: the learning rate falls." if any(one.drops for one in self.each) else self.words

    def _drop_words(self) -> dict[int, str]:
        """Learning-rate drops by checkpoint; those close together share one text."""
        heaps: list[list[tuple[int, str]]] = []
        for drop in self.drops:
            if heaps and not self._apart(heaps[-1][0][0], drop[0]):
                heaps[-1].append(drop)
            else:
                heaps.append([drop])
        x, unit = self._clock()
        found = {}
        for heap in heaps:
            when = ", ".join(number(float(x[i])) for i, _ in heap)
            what = " then ".join(dict.fromkeys(text for _, text in heap))
            found[heap[0][0]] = f"{unit}{'s' if len(heap) > 1 else ''} {when}: {what}"
        return found

    def _clock(self) -> tuple[np.ndarray, str]:
        return clock(along(self.checkpoints, self.projected.residual))

    def _name(self, index: int) -> str:
        if len(self.runs) > 1:  # each counts its own epochs
            ends = np.cumsum(self.runs)
            run = int(np.searchsorted(ends, index, side="right"))
            return f"{self._run(run)}, {self.each[run]._name(index - int(ends[run]))}"
        x, unit = self._clock()
        return f"{unit} {number(float(x[index]))}"

    def _run(self, place: int) -> str:
        return self.names[place] if self.names else f"run {place + 1}"

    def _epochs(self) -> list[tuple[int, str]]:
        """The first and last checkpoint, and a few in between that are not crowded together."""
        chosen: list[int] = [0, len(self.checkpoints) - 1]
        steps = np.linalg.norm(np.diff(self.projected.coordinates, axis=0), axis=1)
        travelled = np.concatenate([[0.0], np.cumsum(steps)])
        for share in np.linspace(0, 1, 7)[1:-1]:
            index = int(np.argmin(np.abs(travelled - share * travelled[-1])))
            if all(self._apart(index, other) for other in chosen):
                chosen.append(index)
        return [(i, self._name(i)) for i in sorted(set(chosen))]

    def _apart(self, a: int, b: int) -> bool:
        """Whether two checkpoints are far enough from each other to carry words."""
        coordinates = self.projected.coordinates
        span = np.ptp(coordinates, axis=0).max() or 1.0
        return bool(np.abs(coordinates[a] - coordinates[b]).max() > 0.2 * span)
