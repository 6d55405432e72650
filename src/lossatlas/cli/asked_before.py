"""Which flags differ from those of the command that made a run which another one cannot resume?"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import groupby

from lossatlas.errors import RunMismatchError

__all__ = ["with_flags"]

_HARMLESS = frozenset(
    ["film", "grid", "json", "losses", "o", "out", "plane", "report", "run", "save", "scale", "title", "variance"]
)
"""Flags that say where an answer goes, not what was asked."""


def with_flags(fault: RunMismatchError, arguments: Sequence[str]) -> str:
    """The message that a folder belongs to another run, with the flags that differ in place of how its parts do.

    Args:
        fault: what was found, with the command that made the run, if it is known.
        arguments: of the command now, with the name of the program.

    Returns:
        The message; as it was if the commands are not two of the same name, or have the same flags.

    Example:
        >>> from lossatlas.errors import Difference
        >>> differing = [Difference("data", "8b0", "677")]
        >>> fault = RunMismatchError(f"a is another run: {differing[0]}.", "lossatlas connect --lr 0.1", differing)
        >>> with_flags(fault, ["lossatlas", "connect", "--lr", "0.2"])
        'a is another run: --lr is 0.1 there and 0.2 here (data differs).'
    """
    message, there, here = str(fault), _flags(shlex.split(fault.command)), _flags(arguments)
    if not fault.differing or there is None or here is None or there.pop("") != here.pop(""):
        return message
    names = [name for name in {**there, **here} if name not in _HARMLESS and there.get(name) != here.get(name)]
    if not names:
        return message
    said = "; ".join(f"--{name} {_was(there.get(name), here.get(name))}" for name in names)
    parts = ", ".join(each.part for each in fault.differing)
    verb = "differs" if len(fault.differing) == 1 else "differ"
    return message.replace("; ".join(fault.differing), f"{said} ({parts} {verb})")


def _was(there: tuple[str, ...] | None, here: tuple[str, ...] | None) -> str:
    """What a flag was and is."""
    if there is None or here is None:
        given = " ".join(there or here or ()) or "given"
        return f"is {given} {'here and was not given there' if there is None else 'there and is not given here'}"
    return f"is {' '.join(there)} there and {' '.join(here)} here"


def _flags(arguments: Sequence[str]) -> dict[str, tuple[str, ...]] | None:
    """The values of every flag of a command of ours, and its name under the empty one; nothing of another program."""
    if len(arguments) < 2 or not re.search(r"(^|/)lossatlas(/__main__\.py)?$", arguments[0]):
        return None
    name, found, flag = arguments[1], dict[str, list[str]](), ""
    split = (part for word in arguments[2:] for part in (word.split("=", 1) if _long(word) and "=" in word else [word]))
    for is_flag, words in groupby(split, _long):
        if is_flag:
            *alone, flag = (word.lstrip("-") for word in words)
            for one in (*alone, flag):
                found.setdefault(one, [])
        else:
            found.setdefault(flag, []).extend(words)
    return {"": (name,), **{key: tuple(values) for key, values in found.items() if key}}


def _long(word: str) -> bool:
    """Whether a word is a flag, which a negative number is not."""
    return re.match(r"--?[a-z]", word) is not None
