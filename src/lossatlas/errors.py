"""What can go wrong: a request that makes no sense, and a run folder that belongs to another run."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["RunMismatchError", "SpecError", "unknown"]


class SpecError(ValueError):
    """A request that cannot be met: the message names the argument, what it got, what was expected and what to do.

    Example:
        >>> raise SpecError("by='row': unknown normalisation; choose one of filter, layer")
        Traceback (most recent call last):
        ...
        lossatlas.errors.SpecError: by='row': unknown normalisation; choose one of filter, layer
    """


class RunMismatchError(RuntimeError):
    """A run folder holds another run: another model, data set, plane or setting. The message names which.

    Args:
        message: names the parts that differ.
        command: that made the run which is there; empty where it is not known.
    """

    def __init__(self, message: str = "", command: str = "") -> None:
        super().__init__(message)
        self.command = command


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
