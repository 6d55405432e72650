"""What are the values of a map of curvature? Their labels, their range, and what they do not prove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from lossatlas.oneline import one_line

__all__ = ["QUANTITIES", "Quantity", "mark", "quantity"]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A value that means the same in every map.

    Attributes:
        label: what pictures call it.
        caveat: what it does not prove.
        ends: where its scale may end, ascending, from zero: the first one that holds all values; empty for any range.
    """

    label: str
    caveat: str
    ends: tuple[float, ...] = ()

    __repr__ = one_line


_ENDS = "The true λmin may be lower and the true λmax higher: the iteration approaches both from within."

QUANTITIES = {
    "ratio": Quantity(
        label="|λmin/λmax|",
        caveat="Over all directions, not just this plane. 0 where none bends down, 1 where the strongest downward "
        f"bend equals the strongest upward one. {_ENDS} Derivatives do not see kinks, such as those of ReLU.",
        ends=(0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0),
    ),
    "lambda_min": Quantity(label="λmin", caveat=f"Per squared parameter norm. {_ENDS} Derivatives do not see kinks."),
    "lambda_max": Quantity(label="λmax", caveat=f"Per squared parameter norm. {_ENDS} Derivatives do not see kinks."),
    "residual": Quantity(
        label="largest residual", caveat="‖Hv − λv‖ over the size of λ: how far v is from an eigenvector."
    ),
    "products": Quantity(
        label="Hessian-vector products", caveat="The cost of a point; it says nothing about the surface."
    ),
    "critical": Quantity(
        label="2/ηc",
        caveat="ηc: step along its gradient at which the loss first rises. For that one direction; to second order "
        "never above λmax.",
    ),
    "scaled critical": Quantity(
        label="2/ηc, scaled gradient",
        caveat="ηc: step along its scaled gradient at which the loss first rises. For that one direction; not bounded "
        "by λmax of the unscaled Hessian.",
    ),
    "relative critical": Quantity(
        label="2/ηc, relative",
        caveat="ηc: step along the first loss's update at which a second loss rises. For that one direction; not "
        "bounded by λmax of either loss.",
    ),
    "evaluations": Quantity(
        label="evaluations of the loss", caveat="The cost of a point; it says nothing about the surface."
    ),
}


def mark(landscape: xr.Dataset, curvature: Mapping[str, Any]) -> None:
    """Label the values of a map of curvature; in place.

    Args:
        landscape: the map.
        curvature: how it was taken, as the identity of its run has it.
    """
    for name in map(str, landscape.data_vars):
        if name in QUANTITIES:
            known = _of_update(curvature) if name == "critical" else name
            landscape[name].attrs |= {"quantity": known, "long_name": QUANTITIES[known].label}


def _of_update(curvature: Mapping[str, Any]) -> str:
    """Which critical sharpness it is: of the loss along its own gradient, along a scaled one, or of another loss."""
    if curvature.get("second") is not None:
        return "relative critical"
    return "critical" if curvature.get("scaled") is None else "scaled critical"


def quantity(landscape: xr.Dataset, value: str) -> Quantity | None:
    """What a value is, where it belongs to a map of curvature."""
    return QUANTITIES.get(str(landscape[value].attrs.get("quantity", "")))
