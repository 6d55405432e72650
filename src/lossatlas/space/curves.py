r"""How does one coordinate become parameters on a curved path between two models? A Bézier curve or a chain of lines.

Both are weighted sums of their points :math:`P_0, …, P_m`, with weights that depend only on t: :math:`θ(t) = \sum_k
w_k(t) P_k`, :math:`\sum_k w_k = 1`. For a Bézier curve :math:`w_k = \binom{m}{k} t^k (1-t)^{m-k}`; for a chain of lines
at most two neighbouring weights are not zero (Garipov et al. 2018, arXiv 1802.10026, section 3).

The coordinate ``x`` is the share of the curve's length, so that ``x`` times the length is the distance travelled; t
grows with it, but not evenly.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from lossatlas.errors import SpecError, unknown
from lossatlas.oneline import one_line
from lossatlas.space.parameters import Parameters, check_same_shapes, combine, difference, dot

__all__ = ["KINDS", "Curve", "Kind", "midway"]

Kind = Literal["bezier", "polygon"]
KINDS: tuple[str, ...] = get_args(Kind)
_FINE = 1000


@dataclass(frozen=True)
class Curve:
    """A curve through parameter space.

    Args:
        points: two or more points, tensors by name; a Bézier curve passes through the first and last, a chain of lines
            through all.
        kind: ``"bezier"`` or ``"polygon"``.

    Raises:
        SpecError: there are fewer than two points, their shapes differ, they are all the same, or the kind is unknown.

    Example:
        >>> a, bend, b = ({"w": torch.tensor(point)} for point in ([0.0, 0.0], [1.0, 2.0], [2.0, 0.0]))
        >>> Curve((a, bend, b), "bezier").point(0.5)["w"].tolist()
        [1.0, 1.0]
        >>> Curve((a, bend, b), "polygon").at({"x": 0.5})["w"].tolist()
        [1.0, 2.0]
    """

    points: Sequence[Parameters]
    kind: Kind = "bezier"

    __repr__ = one_line

    def __post_init__(self) -> None:
        """Check the points."""
        if self.kind not in KINDS:
            raise SpecError(unknown("kind", self.kind, KINDS))
        if len(self.points) < 2:
            raise SpecError(f"points: {len(self.points)} given; a curve needs at least two")
        for point in self.points[1:]:
            check_same_shapes(point, self.points[0])
        if not math.isfinite(self.length):
            raise SpecError("points have weights that are not finite; every point of a curve between them would be NaN")
        if not self.length > 0:
            raise SpecError("points are all the same: there is no path between them")

    @property
    def axes(self) -> tuple[str, ...]:
        """The one coordinate: the share of the curve's length."""
        return ("x",)

    def weights(self, t: float) -> np.ndarray:
        """The weight of each point at t, float64 [m + 1]; they sum to one."""
        m = len(self.points) - 1
        if self.kind == "bezier":
            return np.array([math.comb(m, k) * t**k * (1 - t) ** (m - k) for k in range(m + 1)])
        return np.asarray(np.maximum(1 - np.abs(t * m - np.arange(m + 1)), 0.0))

    def point(self, t: float) -> dict[str, Tensor]:
        """The parameters at t, from 0 at the first point to 1 at the last."""
        first = self.points[0]
        pairs = list(zip(self.weights(t)[1:].tolist(), self._ways, strict=True))
        return {name: combine(first[name], [(w, way[name]) for w, way in pairs if w]) for name in first}

    def at(self, coordinates: Mapping[str, float]) -> dict[str, Tensor]:
        """The parameters at a share of the curve's length: ``{"x": 0.5}`` is half-way.

        Returns:
            Tensors by name.

        Raises:
            SpecError: another axis than x.
        """
        if set(coordinates) - {"x"}:
            raise SpecError(f"coordinates {sorted(coordinates)}: a curve has only the axis 'x'")
        return self.point(float(self.times([coordinates.get("x", 0.0)])[0]))

    @functools.cached_property
    def _ways(self) -> list[dict[str, Tensor]]:
        return [difference(point, self.points[0]) for point in self.points[1:]]

    @functools.cached_property
    def gram(self) -> np.ndarray:
        """Inner products of the ways from the first point to the others, float64 [m, m]."""
        return np.array([[dot(a, b) for b in self._ways] for a in self._ways])

    @functools.cached_property
    def _travelled(self) -> tuple[np.ndarray, np.ndarray]:
        """Values of t, and the length of the curve up to each."""
        pieces = len(self.points) - 1
        t = np.linspace(0, 1, _FINE * pieces + 1)  # a chain of lines has its corners among them
        steps = np.diff([self.weights(value)[1:] for value in t], axis=0)
        lengths = np.sqrt(np.maximum(np.einsum("ia,ab,ib->i", steps, self.gram, steps), 0.0))
        return t, np.concatenate([[0.0], np.cumsum(lengths)])

    @property
    def length(self) -> float:
        """Length of the curve, in parameter norm."""
        return float(self._travelled[1][-1])

    def times(self, shares: Sequence[float] | np.ndarray) -> np.ndarray:
        """The values of t at shares of the curve's length, float64 [n]."""
        t, travelled = self._travelled
        return np.asarray(np.interp(np.asarray(shares, float) * travelled[-1], travelled, t))

    def coordinates(self, t: Sequence[float] | np.ndarray) -> np.ndarray:
        """Where the curve lies: multiples of the ways from the first point to the others, float64 [n, m]."""
        return np.array([self.weights(value)[1:] for value in t])


def midway(a: Parameters, b: Parameters, share: float) -> dict[str, Tensor]:
    """A point on the straight line, at 0 the first and at 1 the second model."""
    with torch.no_grad():
        return {name: combine(a[name], [(share, b[name].to(a[name]) - a[name])]) for name in a}
