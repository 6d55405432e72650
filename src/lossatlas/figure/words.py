"""How a number is written on a picture."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

__all__ = [
    "NAMELESS", "SCALES", "WAY", "apart", "ascii_only", "capital", "column_title", "counted", "grouped", "means_over",
    "number", "numbers", "percent", "smallest", "with_error", "with_errors", "with_range",
]  # fmt: skip

WAY = re.compile(r"^from (?P<start>.+) \(0\) to (?P<end>.+) \(1\)$")
"""What the axis of a straight way between two networks is called."""

NAMELESS = ("tensors", "batches")
"""What nameless data are called: a picture then gives only the number of samples."""

SCALES = {"linear": "linear scale", "log": "logarithmic scale", "symlog": "symmetric logarithmic scale"}
"""What scales are called."""

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_LOWERED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def number(value: float, digits: int = 3) -> str:
    """A number for a reader: at most ``digits`` digits, powers of ten raised, a true minus sign.

    Args:
        value: the number.
        digits: significant digits.

    Returns:
        The text.

    Example:
        >>> [number(value) for value in (0.25, -52.7388, 1e10, 3.2e-7, -0.0, 1500)]
        ['0.25', '−52.7', '10¹⁰', '3.2×10⁻⁷', '0', '1500']
    """
    if not math.isfinite(value):
        return str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        rounded = float(f"{value:.{digits}g}") + 0.0  # which takes the sign from a negative zero
        return f"{rounded:.10g}".replace("-", "−")
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    power = "10" + str(int(exponent)).translate(_RAISED)
    return {"1": power, "-1": f"−{power}"}.get(mantissa, f"{mantissa}×{power}").replace("-", "−")


def numbers(values: Sequence[float]) -> tuple[str, ...]:
    """Numbers with as many digits as it takes to tell them apart, at least three.

    Returns:
        A text for each number.

    Example:
        >>> numbers([10000.1, 10000.2])
        ('10000.1', '10000.2')
    """
    span = max(values, default=0.0) - min(values, default=0.0)
    digits = 3
    while digits < 17 and any(abs(float(f"{value:.{digits}g}") - value) > 1e-6 * span for value in values):
        digits += 1
    return tuple(number(value, digits) for value in values)


def apart(low: float, high: float) -> tuple[str, str]:
    """Two numbers with three digits, or as many as it takes to tell how far they lie apart.

    Returns:
        The texts.

    Example:
        >>> apart(0.0123456, 52.7388), apart(2.30199, 2.30202)
        (('0.0123', '52.7'), ('2.30199', '2.30202'))
    """
    digits, distance = 3, high - low
    while digits < 12 and abs(float(f"{high:.{digits}g}") - float(f"{low:.{digits}g}") - distance) > 0.05 * abs(
        distance
    ):
        digits += 1
    return number(low, digits), number(high, digits)


def ascii_only(text: str) -> str:
    r"""The same text for a format that takes nothing but ASCII.

    Returns:
        The text, in ASCII only.

    Example:
        >>> print(ascii_only("−3.2×10⁻⁷ · naïve"))
        -3.2x10^-7 | na\xefve
    """
    plain = text.replace("×10", "x10").replace("−", "-").replace(" · ", " | ")
    plain = re.sub("([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda raised: "^" + raised[1].translate(_LOWERED), plain)
    return plain.encode("ascii", "backslashreplace").decode("ascii")


def capital(words: str) -> str:
    """Words as the beginning of a sentence; a first letter that is not a Latin one, such as λ, stays.

    Returns:
        The words.

    Example:
        >>> capital("the loss falls"), capital("λ is 2")
        ('The loss falls', 'λ is 2')
    """
    return words[:1].upper() + words[1:] if words[:1].isascii() else words


def means_over(counts: Mapping[str, Mapping[str, Any]], *, samples: bool = True) -> str:
    """What means are over.

    Args:
        counts: by value ``number`` and ``unit``, as a Landscape has them.
        samples: also those over samples.

    Returns:
        The words; empty where nothing is known.

    Example:
        >>> means_over({"loss": {"unit": "token", "number": 2096.0}, "error": {"unit": "sample", "number": 15}})
        'means over 2 096 tokens and 15 samples'
    """
    told = counted(counts, samples=samples)
    return f"means over {told}" if told else ""


def counted(counts: Mapping[str, Mapping[str, Any]], *, samples: bool = True) -> str:
    """What means are over, and how many; for the arguments see :func:`means_over`."""
    told = [count for count in counts.values() if samples or count["unit"] != "sample"]
    return " and ".join(dict.fromkeys(grouped(count["number"], count["unit"]) for count in told))


def grouped(count: float, one: str) -> str:
    """How many there are of something, with the thousands apart.

    Args:
        count: how many.
        one: the word for one of them.

    Returns:
        The text.

    Example:
        >>> grouped(1386, "parameter"), grouped(1.0, "token")
        ('1 386 parameters', '1 token')
    """
    said = f"{count:,}" if isinstance(count, int) else f"{count:,.10g}"  # a sum of weights is a float
    return f"{said.replace(',', ' ')} {one if count == 1 else f'{one}s'}"


def percent(share: float) -> str:
    """A share as a percentage that is never rounded to nothing.

    Returns:
        The text, with a percent sign.

    Example:
        >>> percent(0.314), percent(0.0004), percent(0.0)
        ('31 %', '0.04 %', '0 %')
    """
    value = 100.0 * share
    if value == 0 or value >= 1:
        return f"{min(value, 99.0) if value < 100 else value:.0f} %"
    return f"{value:.1g} %"


def with_error(value: float, error: float) -> str:
    """A number and how far it may be off, on either side.

    Returns:
        The text; the number alone where its error is not known.

    Example:
        >>> with_error(12.3456, 0.0123), with_error(12.3456, math.nan)
        ('12.3 ± 0.012', '12.3')
    """
    return f"{number(value)} ± {number(error, 2)}" if math.isfinite(error) else number(value)


def smallest(value: float, error: float) -> str:
    """A smallest eigenvalue; one that is no larger than its error has no sign that is known.

    Returns:
        The text.

    Example:
        >>> smallest(-3.0, 0.01), smallest(-1e-9, 2e-8), smallest(1e-9, 2e-8)
        ('−3', 'none below −2×10⁻⁸', 'none below −2×10⁻⁸')
    """
    return f"none below {number(-error, 2)}" if abs(value) <= error else number(value)


def with_errors(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, float | str]]:
    """Rows of a table for a reader: each value beside its error, where the row has one.

    Args:
        rows: values by column; the column "error of X" is that of X. A smallest eigenvalue that is no larger than its
            error has no sign that is known.

    Returns:
        The rows, without the columns of errors.

    Example:
        >>> with_errors([{"layer": "fc", "λmin": -1e-9, "error of λmin": 2e-8, "λmax": 12.3, "error of λmax": 0.01}])
        [{'layer': 'fc', 'λmin': 'none below −2×10⁻⁸', 'λmax': '12.3 ± 0.01'}]
    """
    found: list[dict[str, float | str]] = []
    for row in rows:
        told: dict[str, float | str] = {}
        for name, value in row.items():
            error = row.get(f"error of {name}")
            if error is None:
                told |= {} if name.startswith("error of ") else {name: value}
            else:
                told[name] = (smallest if name == "λmin" and abs(value) <= error else with_error)(value, error)
        found.append(told)
    return found


def with_range(shares: list[float]) -> str:
    """The mean of some shares, and the smallest and the largest, in percent."""
    mean = sum(shares) / len(shares)
    return f"{100 * mean:.0f} % ({100 * min(shares):.0f} to {100 * max(shares):.0f})"


def column_title(title: str, names: Container[str]) -> str:
    """The title of one of our columns, in brackets if a column of the user's has the same name.

    Returns:
        The title.

    Example:
        >>> column_title("proves", ("ours", "theirs")), column_title("proves", ("proves", "theirs"))
        ('proves', '(proves)')
    """
    while title in names:
        title = f"({title})"
    return title
