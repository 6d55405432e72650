"""Which flags differ from those of the command that made a run which another one cannot resume?"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import groupby

__all__ = ["with_flags"]

_OTHERS = re.compile(
    r"^(?P<head>.* belongs to another \w+: )(?P<parts>.*)(?P<advice>\. Choose another folder.*)$", re.DOTALL
)
_HARMLESS = {
    "run",
    "out",
    "o",
    "plane",
    "grid",
    "report",
    "title",
    "scale",
    "json",
    "film",
    "losses",
    "variance",
    "save",
}
"""Flags that say where an answer goes, not what was asked."""


def with_flags(message: str, command: str, arguments: Sequence[str]) -> str:
    """The message that a folder belongs to another run, with the flags that differ before the parts that do.

    Args:
        message: names the parts, some by fingerprint.
        command: that made the run.
        arguments: of the command now, with the name of the program.

    Returns:
        The message; as it was where the commands are not two of the same name, or have the same flags.

    Example:
        >>> said = "a belongs to another run: data is 8b0 there and 677 here. Choose another folder, or delete this one"
        >>> print(with_flags(said, "lossatlas connect --lr 0.1", ["lossatlas", "connect", "--lr", "0.2"])[:65])
        a belongs to another run: --lr is 0.1 there and 0.2 here (data di
    """
    found, there, here = _OTHERS.match(message), _flags(shlex.split(command)), _flags(arguments)
    if found is None or there is None or here is None or there.pop("") != here.pop(""):
        return message
    names = [name for name in {**there, **here} if name not in _HARMLESS and there.get(name) != here.get(name)]
    if not names:
        return message
    said = "; ".join(f"--{name} {_was(there.get(name), here.get(name))}" for name in names)
    parts = [part.partition(" is ")[0] for part in found["parts"].split("; ")]
    verb = "differs" if len(parts) == 1 else "differ"
    return f"{found['head']}{said} ({', '.join(parts)} {verb}){found['advice']}"


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
