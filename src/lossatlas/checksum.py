"""How is damage noticed? By a checksum of a file's content, kept in the file itself.

All checksums are BLAKE2b (RFC 7693) of eight bytes. They reveal damage and mix-ups, not forgery: anyone who can write a
file can also write its checksum.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lossatlas.errors import SpecError
from lossatlas.expected import described_type

__all__ = ["CHECKSUM", "of", "of_json", "sealed", "strict", "unsealed", "verified"]

CHECKSUM = "checksum"
"""The entry of a file that holds the checksum of all others."""


def of(*parts: bytes, key: bytes = b"") -> bytes:
    """The checksum of some parts; where one ends and the next begins counts.

    Args:
        parts: any number of them.
        key: of what they belong to, at most 64 bytes; another key gives the same parts another checksum.

    Returns:
        8 bytes.

    Example:
        >>> of(b"ab", b"c") == of(b"a", b"bc"), of(b"a") == of(b"a", key=b"run")
        (False, False)
    """
    digest = hashlib.blake2b(digest_size=8, key=key)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def of_json(content: Any) -> str:
    """The checksum of JSON values, as text; the order of names and the spaces between do not count."""
    plain = json.loads(json.dumps(content))
    return of(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hex()


def sealed(content: Mapping[str, Any], *, indent: int | None = 2, ascii: bool = True) -> str:
    """JSON text that carries its checksum.

    Args:
        content: JSON values by name.
        indent: of each level; ``None`` for one line.
        ascii: escape all other characters.

    Returns:
        The text.

    Example:
        >>> unsealed(sealed({"a": 1.5}), Path("a.json"))
        {'a': 1.5}
    """
    return json.dumps({**content, CHECKSUM: of_json(dict(content))}, indent=indent, ensure_ascii=ascii)


def strict(content: Any) -> Any:
    """JSON values as the standard allows them, without NaN and infinity: numbers that are not finite become null.

    Args:
        content: mappings, lists, tuples, text and numbers.

    Returns:
        The same, made of mappings and lists.

    Example:
        >>> strict({"a": [1.5, float("nan")]})
        {'a': [1.5, None]}
    """
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {name: strict(value) for name, value in content.items()}
    return [strict(value) for value in content] if isinstance(content, (list, tuple)) else content


def unsealed(text: str, source: Path, *, required: bool = False) -> dict[str, Any]:
    """The content of a JSON text, checked against its checksum; a text of version 0.1 has none.

    Args:
        text: of the file.
        source: the file, for messages.
        required: refuse a text without a checksum.

    Returns:
        The content, without the checksum.

    Raises:
        SpecError: the text is not a JSON object, or not what was written.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise SpecError(f"{source} is damaged (no JSON: {fault})") from fault
    if not isinstance(content, dict):
        raise SpecError(f"{source} is damaged ({described_type(content)}; expected a JSON object)")
    return verified(content, source, required=required)


def verified(content: Mapping[str, Any], source: Path, *, required: bool = False) -> dict[str, Any]:
    """JSON values without their checksum, checked against it.

    Args:
        content: of a file, or of a line of one.
        source: the file, for messages.
        required: refuse what has no checksum.

    Returns:
        The content, without the checksum.

    Raises:
        SpecError: it is not what was written.
    """
    content = dict(content)
    told = content.pop(CHECKSUM, None)
    if told is None and required:
        raise SpecError(f"{source} is damaged (its checksum is missing)")
    if told is not None and told != of_json(content):
        raise SpecError(f"{source} is damaged (its checksum does not match: it is not what was written)")
    return content
