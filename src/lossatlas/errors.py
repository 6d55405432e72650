"""What can go wrong: a request that makes no sense, and a run folder that belongs to another run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

__all__ = ["Difference", "RunMismatchError", "SpecError", "unknown"]


class SpecError(ValueError):
    """A request that cannot be met: the message names the argument, what it got, what was expected and what to do.

    Example:
        >>> raise SpecError("by='row': unknown normalisation; choose one of filter, layer")
        Traceback (most recent call last):
        ...
        lossatlas.errors.SpecError: by='row': unknown normalisation; choose one of filter, layer
    """


class Difference(str):
    """How a part of one run differs from that of another, in words.

    Args:
        part: its name.
        there: what it is in the folder.
        here: what it is now.

    Example:
        >>> found = Difference("seed", "0", "1")
        >>> found, found.part
        ('seed is 0 there and 1 here', 'seed')
    """

    part: str
    values: tuple[str, str]

    def __new__(cls, part: str, there: str, here: str) -> Self:
        """The sentence."""
        found = super().__new__(cls, f"{part} is {there} there and {here} here")
        found.part, found.values = part, (there, here)
        return found

    def __getnewargs__(self) -> tuple[str, ...]:  # type: ignore[override]  # of str itself, it would be one text
        """How another process makes it again."""
        return (self.part, *self.values)


class RunMismatchError(RuntimeError):
    """A run folder holds another run: another model, data set, plane or setting. The message names which.

    Args:
        message: names the parts that differ.
        command: that made the run which is there; empty where it is not known.
        differing: how they differ; the message has these, joined by semicolons.
    """

    def __init__(self, message: str = "", command: str = "", differing: Sequence[Difference] = ()) -> None:
        super().__init__(message)
        self.command = command
        self.differing = tuple(differing)


def unknown(argument: str, got: object, choices: Iterable[str]) -> str:
    """The sentence about an unknown option, listing all valid ones.

    Args:
        argument: the argument's name.
        got: what it was given.
        choices: what it may be.

    Returns:
        The sentence, for a :class:`SpecError`.

    Example:
        >>> unknown("by", "row", ["filter", "layer"])
        "by='row' is unknown; choose one of: filter, layer"
    """
    return f"{argument}={got!r} is unknown; choose one of: {', '.join(choices)}"
