"""How a command prints facts as JSON: by the standard, which has no NaN and no infinity."""

from __future__ import annotations

import json
from typing import Any

import click

from lossatlas.checksum import strict

__all__ = ["echo_json"]


def echo_json(content: Any) -> None:
    """Print JSON; a number that is not finite becomes null, since most parsers refuse NaN and Infinity.

    Args:
        content: what ``json`` can write.
    """
    click.echo(json.dumps(strict(content), indent=2, ensure_ascii=False, allow_nan=False))
