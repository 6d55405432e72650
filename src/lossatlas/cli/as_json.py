"""How a command prints facts as JSON: as the standard has it, which knows no NaN and no infinity."""

from __future__ import annotations

import json
from typing import Any

import click

from lossatlas.checksum import strict

__all__ = ["echo_json"]


def echo_json(content: Any) -> None:
    """Print JSON; a number that is not finite is null, since other programs' readers refuse the words for it.

    Args:
        content: what ``json`` can write.
    """
    click.echo(json.dumps(strict(content), indent=2, ensure_ascii=False, allow_nan=False))
