"""How a command prints facts as JSON: as the standard has it, which knows no NaN and no infinity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import click

__all__ = ["echo_json"]


def echo_json(content: Any) -> None:
    """Print JSON; a number that is not finite is null, since other programs' readers refuse the words for it.

    Args:
        content: what ``json`` can write.
    """
    click.echo(json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False))


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {name: _finite(value) for name, value in content.items()}
    return [_finite(value) for value in content] if isinstance(content, (list, tuple)) else content
