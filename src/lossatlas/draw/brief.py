"""What does a caption of two lines say: what a picture is of, and what it proves?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from lossatlas.draw import captions
from lossatlas.errors import SpecError
from lossatlas.field.convexity import at_centres, proof
from lossatlas.field.inequality import bent
from lossatlas.field.lowest import lowest
from lossatlas.field.ways import misfit
from lossatlas.figure.ranges import Range
from lossatlas.figure.words import capital, means_over, number, percent
from lossatlas.oneline import verb_of
from lossatlas.results.landscape import Status, structured
from lossatlas.results.moves import ATTACKS, along_words, not_convex, of_inputs
from lossatlas.results.quantities import quantity

__all__ = ["begun", "proves", "what"]

_OWN = ("clipped at", "floor at", "number of samples", "inputs moved")


def what(landscapes: Sequence[xr.Dataset], drawn: Range) -> tuple[str, ...]:
    """What the picture is of, in a few parts, the most important first.

    Args:
        landscapes: what is drawn.
        drawn: the range that is shown. A cut comes first, and next to it what was not evaluated: these are said even if
            nothing else has room.

    Returns:
        Words without a full stop.
    """
    parts = [
        _cut(drawn),
        _interpolated(landscapes),
        " / ".join(captions.unique(map(along_words, landscapes))),
        captions.common(landscapes, "model"),
        captions.statistics(landscapes),
        captions.common(landscapes, "data"),
        "; ".join(captions.unique(str(structured(one, "sampling").get("verdict", "")) for one in landscapes)),
        ", ".join(captions.unique(map(captions.precision, landscapes))),
        _part(landscapes) or captions.samples(landscapes),
        " / ".join(captions.unique(means_over(structured(one, "counts"), samples=False) for one in landscapes)),
        captions.loss(landscapes),
        captions.common(landscapes, "seed", before="seed "),
        " / ".join(captions.unique(map(captions.normalisation, landscapes))),
    ]
    return tuple(part for part in parts if part)


def begun(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The parts as they appear on a page: the first begins with a capital, unless it is a name given by the user.

    Returns:
        The parts.

    Example:
        >>> begun(("clipped at 10, 3 % of cells above", "an MLP")), begun(("resnet20", "200 samples"))
        (('Clipped at 10, 3 % of cells above', 'an MLP'), ('resnet20', '200 samples'))
    """
    return (capital(parts[0]), *parts[1:]) if parts and parts[0].startswith(_OWN) else parts


def _cut(drawn: Range) -> str:
    ends = []
    if drawn.clipped is not None:
        ends.append(f"clipped at {number(drawn.clipped)}, {percent(drawn.above)} of cells above")
    if drawn.floored is not None:
        ends.append(f"floor at {number(drawn.floored)}, {percent(drawn.below)} of cells below")
    return "; ".join(ends)


def _interpolated(landscapes: Sequence[xr.Dataset]) -> str:
    """How many cells were not evaluated."""
    status = np.concatenate([one["status"].values.ravel() for one in landscapes])
    share = float(np.mean(status == Status.INTERPOLATED))
    return f"{percent(share)} of cells interpolated" if share else ""


def _part(landscapes: Sequence[xr.Dataset]) -> str:
    """The number of samples, where they are only a part of the data."""
    told = [structured(one, "sampling") for one in landscapes]
    counts = captions.unique(f"{one['samples']} of {one['of']}" for one in told if {"samples", "of"} <= set(one))
    return f"{', '.join(counts)} samples" if counts else ""


def proves(landscapes: Sequence[xr.Dataset], value: str) -> tuple[str, ...]:
    """What the picture proves, in sentences for one line; the caveat, if it is not a slice of a loss.

    Args:
        landscapes: what is drawn.
        value: which of their values.

    Returns:
        Sentences, the most important first; two of them, parted by a line break, where both must be said.
    """
    attacks = (ATTACKS,) if of_inputs(landscapes) else ()
    first, *others = _proved(landscapes, value) or ("",)
    said = "\n".join(filter(None, [first, _off_minimum(landscapes, value)]))
    return tuple(filter(None, [said, *others, misfit(landscapes), *attacks]))


def _off_minimum(landscapes: Sequence[xr.Dataset], value: str) -> str:
    """That a centre is not a minimum of the slice through it."""
    if any(landscape[value].attrs.get("kind") != "loss" or bent(landscape) for landscape in landscapes):
        return ""
    found = [one for one in (lowest(landscape, value) for landscape in landscapes) if one is not None]
    off = sum(one.centre_is_minimum is False for one in found)
    if not off:
        return ""
    if len(landscapes) == 1:
        return "The centre is not a minimum of this slice."
    return f"{off} of {len(landscapes)} {verb_of(off, 'has')} a centre that is not a minimum of the slice."


def _proved(landscapes: Sequence[xr.Dataset], value: str) -> tuple[str, ...]:
    """The same without the caveat of pictures of inputs."""
    if found := quantity(landscapes[0], value):
        return tuple(f"{sentence.removesuffix('.')}." for sentence in found.caveat.split(". "))
    if any(landscape[value].attrs.get("kind") != "loss" for landscape in landscapes):
        return (whole,) if (whole := captions.proved(landscapes, value)) else ()
    if any(map(bent, landscapes)):
        return (captions.proved(landscapes, value),)
    if any(structured(landscape, "sampling").get("kind") == "seeds" for landscape in landscapes):
        return (captions.NO_SLICE,)
    try:
        proofs = [proof(landscape, value) for landscape in landscapes]
    except SpecError:  # too few points, or uneven ones, for second differences
        return (captions.CAVEAT,)
    proven, known = sum(found.proves for found in proofs), at_centres(proofs)
    centre = (f"λmin at the centre: {known}.",) if known else ()
    if not proven:
        return (captions.CAVEAT, *centre)
    if len(proofs) == 1:
        return (f"This slice proves that the loss is not {not_convex(landscapes)}.", *centre)
    if proven == len(proofs):
        return (f"These slices prove that none of the losses is {not_convex(landscapes)}.", *centre)
    those = "slices prove that their loss" if proven > 1 else "slices proves that its loss"
    rest = "the others prove" if len(proofs) - proven > 1 else "the other proves"
    words = f"{proven} of {len(proofs)} {those} is not {not_convex(landscapes)}; {rest} nothing."
    return (words, *centre)
