"""What a picture says about itself in words: the caption."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import xarray as xr

from lossatlas.draw.scene import PARAMETERS, Caption, Cells, Curve, PictureAxis
from lossatlas.errors import SpecError
from lossatlas.field.convexity import THRESHOLDS, Proof, at_centres, centre_words, proof
from lossatlas.field.inequality import bent
from lossatlas.field.lowest import lowest
from lossatlas.field.ruggedness import ruggedness
from lossatlas.field.stated import another_view
from lossatlas.field.ways import misfit
from lossatlas.figure.ranges import Range
from lossatlas.figure.words import NAMELESS, SCALES, apart, capital, means_over, number, percent
from lossatlas.results.landscape import Status, structured
from lossatlas.results.moves import ATTACKS, COLUMN, moved_words, not_convex, of_inputs
from lossatlas.results.naming import OWN_LOSS
from lossatlas.results.quantities import quantity

__all__ = [
    "CAVEAT",
    "MANY",
    "NO_SLICE",
    "SHARED",
    "about",
    "caption",
    "caveat",
    "common",
    "empty_words",
    "loss",
    "normalisation",
    "precision",
    "proved",
    "reason",
    "samples",
    "shown_words",
    "statistics",
    "unique",
]

CAVEAT = "A slice that looks convex does not prove that the loss is."
SHARED = "all cells share these, so differences between cells are better known."
NO_SLICE = "A median over planes is not a slice of the loss: it says nothing about convexity."
MANY = 6
"""Where there are more numbers than this, only the smallest and the largest are named."""

_REASONS = {
    Status.NOT_SAMPLED: "not sampled",
    Status.OK: "without a value",
    Status.NON_FINITE: "not finite",
    Status.FAILED: "failed",
    Status.CENSORED: "censored",
    Status.INTERPOLATED: "without a value",
}


def caption(
    landscapes: Sequence[xr.Dataset],
    blocks: Sequence[Cells],
    curves: Sequence[Curve],
    value: str,
    shown: Range,
    *,
    label: str = "",
    notes: str = "",
) -> Caption:
    """Write the caption.

    Args:
        landscapes: what is drawn.
        blocks: the blocks whose cells are counted.
        curves: the curves, where there are any.
        value: what is drawn.
        shown: the range shown.
        label: what the picture calls the value; by default its name.
        notes: what the overlays say about themselves.

    Returns:
        The caption.
    """
    return Caption(
        about=about(landscapes),
        axes=_axes(blocks),
        centre=" ".join(filter(None, [_centre(landscapes, blocks, value), _lowest(landscapes, value)])),
        shown=shown_words(value, shown, blocks, label, landscapes),
        runs=_runs(curves),
        empty=empty_words(value, blocks),
        notes=" ".join(
            filter(None, [misfit(landscapes), _sample_error(landscapes, value), *_rugged(landscapes, value), notes])
        ),
        caveat=caveat(landscapes, value),
    )


def _rugged(landscapes: Sequence[xr.Dataset], value: str) -> list[str]:
    """How rugged the loss is; of several slices, each in turn."""
    if any(landscape[value].attrs.get("kind") != "loss" or quantity(landscape, value) for landscape in landscapes):
        return []
    if any(structured(landscape, "sampling").get("kind") == "seeds" for landscape in landscapes):
        return []
    try:
        found = [ruggedness(landscape, value) for landscape in landscapes]
    except SpecError:  # too few points, or uneven ones
        return []
    if not all(np.isfinite(landscape[value].values).any() for landscape in landscapes):
        return []  # nothing is known yet
    if len(found) == 1:
        return [found[0].words]
    if any(math.isnan(one.descent) for one in found):
        return []
    falls, behind = _listed([one.descent for one in found], percent), _listed([one.behind for one in found], percent)
    minima = _listed([one.minima for one in found], lambda count: f"{count:.0f}" if count >= 0 else "unknown")
    return [
        f"Ruggedness: {falls} of the variation along rays from the centre falls after a rise; {behind} of the area "
        f"lies behind a ridge; {minima} other minima (a convex loss has none of these).",
    ]


def _sample_error(landscapes: Sequence[xr.Dataset], value: str) -> str:
    """How certain the means are, if all of the Landscapes know it."""
    if any(f"{value}_se" not in landscape for landscape in landscapes):
        return ""
    errors = np.concatenate([landscape[f"{value}_se"].values.ravel() for landscape in landscapes])
    errors = errors[np.isfinite(errors)]
    if not len(errors):
        return ""
    return f"Standard error over samples: {number(float(errors.min()), 2)} to {number(float(errors.max()), 2)}."


def about(landscapes: Sequence[xr.Dataset]) -> str:
    """Model, data, loss, samples, normalisation, BatchNorm mode and seed; what differs is listed once each."""
    parts = [
        common(landscapes, "model"),
        common(landscapes, "data"),
        samples(landscapes),
        " / ".join(unique(means_over(structured(one, "counts")) for one in landscapes)),
        loss(landscapes),
        " / ".join(unique(map(normalisation, landscapes))),
        statistics(landscapes),
        common(landscapes, "seed", before="seed "),
        ", ".join(unique(map(precision, landscapes))),
        "; ".join(unique(str(structured(one, "sampling").get("verdict", "")) for one in landscapes)),
        "; ".join(unique(str(structured(one, "sampling").get("range", "")) for one in landscapes)),
    ]
    words = _sentence(" · ".join(part for part in parts if part))
    return capital(words) if words.startswith("number of samples") else words


def caveat(landscapes: Sequence[xr.Dataset], value: str) -> str:
    """What the slices prove, and that the converse does not hold; for another quantity, what it does not prove."""
    attacks = ATTACKS if of_inputs(landscapes) else ""
    return " ".join(filter(None, [proved(landscapes, value), attacks]))


def proved(landscapes: Sequence[xr.Dataset], value: str) -> str:
    """What the slices prove, without the caveat of pictures of inputs."""
    if what := quantity(landscapes[0], value):
        how = unique(str(structured(one, "evaluation").get("in words", "")) for one in landscapes)
        return " ".join([*map(_sentence, how), what.caveat])
    if any(landscape[value].attrs.get("kind") != "loss" for landscape in landscapes):
        words = str(landscapes[0][value].attrs.get("long_name", ""))
        return f"{capital(words)}: {SHARED}" if words.startswith("standard error") else ""
    if any(structured(landscape, "sampling").get("kind") == "seeds" for landscape in landscapes):
        return NO_SLICE
    if along := unique(bent(landscape) for landscape in landscapes):
        straight = [landscape for landscape in landscapes if not bent(landscape)]
        curved = (
            f"Along a {' or a '.join(along)} even a convex loss may rise and fall: that proves nothing about the loss."
        )
        return " ".join(filter(None, [proved(straight, value) if straight else "", curved]))
    try:
        proofs = [proof(landscape, value) for landscape in landscapes]
    except SpecError:  # too few points, or uneven ones, for second differences
        return CAVEAT
    known = _at_centre(proofs)
    if not any(found.proves for found in proofs):
        return f"{CAVEAT} {known}".rstrip()
    bends = _bending(landscapes, proofs)
    if all(found.proves for found in proofs):
        return f"{_broken(proofs, not_convex(landscapes))} {bends} {known}".rstrip()
    return f"{bends} {CAVEAT} {known}".rstrip()


def _broken(proofs: Sequence[Proof], convex: str) -> str:
    """That the losses are not convex, by how much, and what that exceeds."""
    broken = [found.inequality for found in proofs if found.inequality is not None]
    if len(broken) == 1:
        return f"The loss is not {convex}: {broken[0].words}."
    sizes = _listed([one.difference for one in broken], number)
    noise = _listed([one.noise for one in broken], lambda value: number(value, 2))
    return (
        f"None of the losses is {convex}: second differences of {sizes}, where a convex function has none below 0 and "
        f"rounding explains {noise}."
    )


def _bending(landscapes: Sequence[xr.Dataset], proofs: Sequence[Proof]) -> str:
    """How much of the area bends down, in a sentence that also holds where something does so but not by much."""
    shares = [found.shares[THRESHOLDS[1]] for found in proofs if found.shares]
    where = _looked_at(landscapes, proofs)
    if not max(shares):
        return f"Nowhere does {where} bend down by more than 5 % of how it bends up."
    return _sentence(f"{_listed(shares, percent)} of {where} bends down by more than 5 % of how it bends up")


def _listed(values: Sequence[float], written: Callable[[float], str]) -> str:
    if len(values) > MANY:
        return f"{written(min(values))} to {written(max(values))}"
    return " / ".join(map(written, values))


def _looked_at(landscapes: Sequence[xr.Dataset], proofs: Sequence[Proof]) -> str:
    """What the shares are of: a cell counts only if all around it was evaluated."""
    inner = [np.prod([length - 2 for length in one["status"].shape]) for one in landscapes]
    if all(found.cells == cells for found, cells in zip(proofs, inner, strict=True)):
        return "the area"
    return f"the area with evaluated neighbours ({' / '.join(str(found.cells) for found in proofs)} cells)"


def _at_centre(proofs: Sequence[Proof]) -> str:
    """The smallest eigenvalues of the full Hessians, where they are known."""
    if len(proofs) == 1:
        return centre_words(proofs[0].lambda_min, proofs[0].proves, proofs[0].lambda_min_error)
    known = at_centres(proofs)
    return f"λmin at the centres: {known}." if known else ""


def common(landscapes: Sequence[xr.Dataset], attribute: str, before: str = "", after: str = "") -> str:
    """An attribute of all Landscapes, each of its values once."""
    found = unique(str(landscape.attrs.get(attribute, "")) for landscape in landscapes)
    nameless = {"samples": ("0",), "data": NAMELESS}.get(attribute, ())
    found = [entry for entry in found if entry and entry not in nameless]
    return f"{before}{', '.join(found)}{after}" if found else ""


def statistics(landscapes: Sequence[xr.Dataset]) -> str:
    """What became of BatchNorm's statistics; on the way to another network also whose they are where they stay."""
    whose = " at one network's statistics"
    modes = unique(f"{one.attrs.get('batchnorm', '')}{whose if misfit([one]) else ''}" for one in landscapes)
    return f"BatchNorm {', '.join(modes)}" if modes else ""


def samples(landscapes: Sequence[xr.Dataset]) -> str:
    """The number of samples, or that it is unknown, if even the number format is."""
    known = common(landscapes, "samples")
    known += "" if not known else " sample" if known == "1" else " samples"
    imported = any(one.attrs.get("dtype") == "unknown" and not one.attrs.get("samples") for one in landscapes)
    return known or ("number of samples unknown" if imported else "")


def loss(landscapes: Sequence[xr.Dataset]) -> str:
    """Which losses: by their names; one without a name of its own is called a loss."""
    known = common(landscapes, "loss").split(", ")
    return ", ".join(f"{name} loss" if name == OWN_LOSS else name for name in known)


def unique(entries: Iterable[str]) -> list[str]:
    """Words once each, in order, without empty ones."""
    return [entry for entry in dict.fromkeys(entries) if entry]


def normalisation(landscape: xr.Dataset) -> str:
    """How directions were normalised, and what does not move."""
    if words := moved_words(landscape):
        return words
    rule = str(landscape.attrs.get("normalisation", ""))
    if not rule:
        return ""
    moved = "directions not normalised" if rule == "none" else f"{rule}-normalised directions"
    still = [role for role in str(landscape.attrs.get("still", "")).split(",") if role]
    names = {"bias": "biases", "norm": "norm layers"}
    return f"{moved}, {' and '.join(names.get(role, role) for role in still)} still" if still else moved


def precision(landscape: xr.Dataset) -> str:
    """The number format of an approximation, with its measured error."""
    how = structured(landscape, "evaluation")
    error = how.get("error", {}).get("loss")
    if not error:
        return ""
    name = how.get("plan", {}).get("precision", "")
    share = 100 * float(error["largest relative"])
    return f"{name}: loss within {share:.2g} % at {how.get('check points', 0)} check points"


def _axes(blocks: Sequence[Cells]) -> str:
    by_name: dict[str, list[PictureAxis]] = {}
    for block in blocks:
        for axis in block.axes:
            by_name.setdefault(axis.name, []).append(axis)
    parts = []
    for name, axes in by_name.items():
        labels = ", ".join(unique(axis.label for axis in axes))
        lengths = ", ".join(unique(number(axis.length) for axis in axes if np.isfinite(axis.length)))
        norm = "length" if axes[0].unit == PARAMETERS else axes[0].unit
        length = f" of {f'{norm} {lengths}' if lengths else f'unknown {norm}'}" if labels != COLUMN else ""
        parts.append(f"{name}: {labels}{length}")
    cuts = unique(block.note for block in blocks)
    parts += [f"slice at {' / '.join(cuts)}"] if cuts else []
    return _sentence("; ".join(parts))


def _centre(landscapes: Sequence[xr.Dataset], blocks: Sequence[Cells], value: str) -> str:
    marked = [source for source, block in zip(landscapes, blocks, strict=True) if block.marks_centre]
    found = [structured(source, "centre").get(value) for source in marked]
    known = [float(centre) for centre in found if isinstance(centre, (int, float))]
    if not known:
        return ""
    words = unique(map(number, known))
    if len(words) > 3:
        words = [f"{number(min(known))} to {number(max(known))}"]
    mark = "The dotted line" if len(blocks[0].axes) == 1 else "+"
    return f"{mark} marks the centre, {value} {', '.join(words)}."


def _lowest(landscapes: Sequence[xr.Dataset], value: str) -> str:
    """Where the loss of one Landscape is lowest; for several, how many have points below their centre."""
    if any(landscape[value].attrs.get("kind") != "loss" for landscape in landscapes):
        return ""
    found = [one for one in (lowest(landscape, value) for landscape in landscapes) if one is not None]
    if len(landscapes) == 1:
        return found[0].words if found else ""
    below = sum(one.below_centre for one in found)
    return f"{below} of {len(landscapes)} have points that are lower than their centre." if below else ""


def shown_words(
    value: str, shown: Range, blocks: Sequence[Cells], label: str = "", landscapes: Sequence[xr.Dataset] = ()
) -> str:
    """The range shown, the scale, what was clipped, and the stated errors if they are for another view.

    Returns:
        A sentence of the caption.

    Example:
        >>> shown = Range(scale="linear", low=0.1, high=12.0, levels=(), clipped=12.0, above=0.31)
        >>> shown_words("loss", shown, [])
        'Loss from 0.1 to 12, linear scale; clipped at 12: 31 % of cells above.'
    """
    finite = [block.values[value][block.drawable(value)] for block in blocks]
    finite = [array for array in finite if array.size]
    if blocks and not finite:
        return f"{capital(label or value)}: no cell has a finite value."
    if finite and min(a.min() for a in finite) == max(a.max() for a in finite):
        which = "" if sum(map(len, finite)) == sum(block.status.size for block in blocks) else " with a value"
        return f"{capital(label or value)} is {number(float(finite[0].flat[0]))} in every cell{which}."
    scale = SCALES[shown.scale]
    scale += f", linear below {number(shown.linear_below)}" if shown.scale == "symlog" else ""
    low, high = apart(shown.low, shown.high)
    words = f"{capital(label or value)} from {low} to {high}, {scale}"
    if shown.why:
        words += f" ({shown.why})"
    if shown.clipped is not None:
        words += f"; clipped at {number(shown.clipped)}: {percent(shown.above)} of cells above"
        words += f", up to {number(max(float(a.max()) for a in finite))}" if finite else ""
    if shown.floored is not None:
        words += f"; floor at {number(shown.floored)}: {percent(shown.below)} of cells below"
        words += f", down to {number(min(float(a.min()) for a in finite))}" if finite else ""
    return " ".join([_sentence(words), *unique(another_view(one, shown, value) for one in landscapes)])


def empty_words(value: str, blocks: Sequence[Cells]) -> str:
    """How many cells are hatched, and why.

    Returns:
        A sentence; empty where every cell has a value.
    """
    counts: dict[Status, int] = {}
    for block in blocks:
        for status, mask in block.hatched(value).items():
            counts[status] = counts.get(status, 0) + int(mask.sum())
    total = sum(block.status.size for block in blocks)
    parts = [f"{count} {reason(status)}" for status, count in sorted(counts.items())]
    return _sentence(f"Hatched, of {total} cells: {', '.join(parts)}") if parts else ""


def reason(status: Status) -> str:
    """Why a cell is hatched, as the legend says it."""
    return _REASONS[status]


def _runs(curves: Sequence[Curve]) -> str:
    if all(len(curve.members) == 1 for curve in curves):
        return ""
    sizes = ", ".join(unique(str(len(curve.members)) for curve in curves))
    return f"Lines: median of {sizes} runs; bands: smallest to largest."


def _sentence(text: str) -> str:
    return f"{text}." if text and text[-1] not in ".!?" else text
