"""How a name on the command line is taken apart: ``source:target(arguments)``."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lossatlas.errors import SpecError

__all__ = ["DATA", "FORMS", "OWN", "SEED", "Name", "parse"]

OWN = "file.py:callable or package.module:callable"
FORMS = "file.py:callable, package.module:callable, torchvision:NAME, timm:NAME, hf:folder, hf:OWNER/NAME or zoo:NAME"
DATA = "file.py:callable, package.module:callable, zoo:NAME, images.npz, text.txt or sentences.tsv"
"""What a name may look like: of the user's own (a loss, a metric), of a model, of data."""

SEED = 0
"""For weights that are drawn at random: without it the same command would mean another network each time."""


@dataclass(frozen=True, kw_only=True)
class Name:
    """A name, taken apart: ``source:target(arguments)``."""

    text: str
    source: str
    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def parse(text: str, forms: str = FORMS) -> Name:
    """Take a name apart.

    Returns:
        The name in its parts.

    Raises:
        SpecError: it has no colon, or its arguments are not literals.

    Example:
        >>> parse("zoo:resnet20(width=8)").arguments
        {'width': 8}
    """
    head, bracket, rest = text.partition("(")
    source, colon, target = head.strip().rpartition(":")
    if not colon or not source or not target:
        raise SpecError(f"{text!r} is not a name of the form {forms}")
    if not bracket:
        return Name(text=text, source=source, target=target)
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise SpecError("one pair of brackets, and names for all arguments")
        if any(keyword.arg is None for keyword in call.keywords):
            raise SpecError("arguments need names")
        arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError, TypeError) as fault:
        raise SpecError(f"{text!r}: the arguments must be literals with names, as in zoo:resnet20(width=8)") from fault
    return Name(text=text, source=source, target=target, arguments=arguments)
