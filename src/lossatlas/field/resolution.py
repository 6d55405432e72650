"""To how many digits were the values of a field rounded? The values tell, where nobody else does.

Numbers from a table are rarely whole: 2.31 stands for all from 2.305 to 2.315, and what a program kept as float16 has
three digits. A convex function that is rounded so bends down between its points, by up to two units of the last place.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lossatlas.oneline import number_of

__all__ = ["rounded", "short_format"]

_DIGITS = 6
"""Digits up to which a rounding is looked for; float32, which is assumed without one, has seven."""

_OWN = {"float32": 6e-8, "float64": 1e-15}
"""How far off the rounded values may be, relatively, by the format that they were kept in afterwards."""

_USED = 0.5
"""Share of the different values that use the last digit, if values were rounded to it: nine of ten do."""

_COUNTS = 100
"""Whole numbers below it are counts; a loss that is printed with two digits is rare."""

_PLACES = 8
"""Places before and after the point at which the last digit is looked for."""

_BITS = {"bfloat16": 8, "float16": 11}
"""Bits of the mantissas of short formats, the first one included."""

_ODD, _MANY = 0.25, 8
"""Share of the values that use the last bit, half of which do in a format, and how many different ones that takes."""


def rounded(values: np.ndarray) -> tuple[np.ndarray, str]:
    """How far each value may be from what it was before it was rounded to a few decimals, and in words what was seen.

    Whole numbers below a hundred count as exact: they are counts. Nobody can tell larger ones from losses that were
    printed with three digits, so half a unit of their last digit is allowed, be it the tens. If a number of decimals
    and a number of digits explain the values, what leaves more room is taken.

    Args:
        values: any numbers.

    Returns:
        Half a unit of the last place, shaped like the values, and the words; zeros and nothing where the values are
        not rounded to so few digits.

    Example:
        >>> error, words = rounded(np.array([2.31, 2.3, 2.29, 2.35]))
        >>> error.tolist(), words
        ([0.005, 0.005, 0.005, 0.005], 'rounded to 2 decimals')
        >>> rounded(np.array([0.1, 0.123456789]))
        (array([0., 0.]), '')
    """
    found, said = np.zeros(np.shape(values)), ""
    size = np.abs(np.asarray(values, np.float64))
    known = size[np.isfinite(size) & (size > 0)]
    whole = np.array_equal(known, np.rint(known))
    if not len(known) or (whole and known.max() < _COUNTS):
        return found, said
    first = 2 if whole else 1  # a loss that is printed with one digit is rarer than 100, 200 and 300 of something
    for half, words in (*_by_decimals(known, size, first), *_by_digits(known, size, first)):
        if half.sum() > found.sum():
            found, said = half, words
    return found, said


def _by_decimals(known: np.ndarray, size: np.ndarray, first: int) -> Iterator[tuple[np.ndarray, str]]:
    for decimals in range(-_PLACES, _PLACES + 1):
        unit = 10.0**-decimals
        if unit * 10.0**first <= 10 * known.max() and _multiples(known, unit):
            if _use(known, unit):
                yield np.where(np.isfinite(size), unit / 2, 0.0), f"rounded to {_place(decimals)}"
            return


def _place(decimals: int) -> str:
    """The place of the last digit, in words."""
    if decimals > 0:
        return number_of(decimals, "decimal")
    return f"multiples of {10**-decimals}" if decimals else "whole numbers"


def _by_digits(known: np.ndarray, size: np.ndarray, first: int) -> Iterator[tuple[np.ndarray, str]]:
    for digits in range(first, _DIGITS + 1):
        if _multiples(known, (unit := _last(known, digits))):
            if _use(known, unit):
                whole = np.where(np.isfinite(size) & (size > 0), size, np.nan)
                yield np.nan_to_num(_last(whole, digits)) / 2, f"rounded to {number_of(digits, 'digit')}"
            return


def _last(size: np.ndarray, digits: int) -> np.ndarray:
    """The unit of the last of so many digits."""
    with np.errstate(invalid="ignore"):
        return np.asarray(10.0 ** (np.floor(np.log10(size) + 1e-12) + 1 - digits))


def _multiples(known: np.ndarray, unit: np.ndarray | float) -> bool:
    off = np.abs(known - np.rint(known / unit) * unit)
    with np.errstate(over="ignore"):
        own = _OWN["float32" if np.array_equal(known, known.astype(np.float32)) else "float64"] * known
    # Where the unit is as small as the spacing of float32, everything is a multiple of it.
    return bool(np.all((off <= own) & (unit > 4 * _OWN["float32"] * known)))


def _use(known: np.ndarray, unit: np.ndarray | float) -> bool:
    _, first = np.unique(known, return_index=True)
    return float(np.mean((np.rint(known / unit) % 10 != 0)[first])) >= _USED


def short_format(values: np.ndarray) -> str:
    """The short number format in which values were kept, as their bits show.

    Args:
        values: any numbers.

    Returns:
        "bfloat16" or "float16"; empty if it is neither, or if there are too few values to tell.

    Example:
        >>> x = np.linspace(-1, 1, 41)
        >>> short_format((1 + x**2).astype(np.float16)), short_format(1 + x**2), short_format(x * 0 + 0.5)
        ('float16', '', '')
    """
    size = np.abs(np.asarray(values, np.float64))
    known = np.unique(size[np.isfinite(size) & (size > 0)])
    if np.array_equal(known, np.rint(known)) and (not len(known) or known[-1] <= 2 ** min(_BITS.values())):
        return ""  # whole numbers of that size fit every format
    mantissas, _ = np.frexp(known)
    for name, bits in _BITS.items():
        whole = mantissas * 2.0**bits
        if np.array_equal(whole, np.rint(whole)):
            return name if len(known) >= _MANY and float(np.mean(whole % 2)) >= _ODD else ""
    return ""
