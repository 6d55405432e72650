"""What does the file of a picture say about how it was made, and how is that read back?"""

from __future__ import annotations

import base64
import html
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr

from lossatlas import extras
from lossatlas.errors import SpecError
from lossatlas.expected import described_type
from lossatlas.results.landscape import axis_names, structured

__all__ = ["PICTURES", "Recorded", "described", "exif", "lines", "metadata", "plain", "read"]

PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp", ".eps")
"""Files that carry a record."""

_WORD = "lossatlas"
_ATTRIBUTES = ("title", "model", "data", "loss", "samples", "normalisation", "still", "batchnorm", "seed", "dtype")
_DESCRIPTION, _COMMENT = 0x010E, 0x9286
_EXIF, _UNICODE = 0x8769, b"UNICODE\x00"
_LARGEST = 512 * 2**20
_LINE = 200


class Recorded(Protocol):
    """What is drawn: a Scene or a Plot."""

    @property
    def title(self) -> str:
        """Heading of the whole; empty for none."""
        ...

    @property
    def sentences(self) -> tuple[str, ...]:
        """The whole caption."""
        ...


def described(sources: Sequence[xr.Dataset], view: Any) -> dict[str, Any]:
    """What the file of a picture says about its Landscapes, and about how they are seen.

    Args:
        sources: the Landscapes.
        view: the View; fields with their default value are left out, as is what lies on the field.

    Returns:
        Only numbers, texts, lists and mappings.
    """
    told = {entry.name: getattr(view, entry.name) for entry in fields(view) if entry.name not in ("overlays", "ratio")}
    default = {entry.name: None if entry.default is MISSING else entry.default for entry in fields(view)}
    seen = {name: value for name, value in told.items() if value != default[name]}
    return {"landscapes": [_landscape(one) for one in sources], "view": plain(seen)}


def _landscape(source: xr.Dataset) -> dict[str, Any]:
    known = {name: source.attrs.get(name, "") for name in _ATTRIBUTES}
    known["samples"] = known["samples"] or "unknown"
    made = structured(source, "provenance")
    axes = {
        name: {
            "direction": source[name].attrs.get("long_name", ""),
            "length": source[name].attrs.get("length", math.nan),
            "points": source.sizes[name],
            "from": source[name].values[0],
            "to": source[name].values[-1],
        }
        for name in axis_names(source)
    }
    further = {
        "axes": axes,
        "centre": structured(source, "centre"),
        "created": source.attrs.get("created", ""),
        "software": source.attrs.get("software", ""),
        "command": made.get("command", ""),
        "fingerprints": made.get("fingerprints", {}),
    }
    found: dict[str, Any] = plain({name: value for name, value in (known | further).items() if value not in ("", {})})
    return found


def plain(value: Any) -> Any:
    """The same in numbers, texts, lists and mappings only; a number that is not finite becomes its name."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _record(page: Recorded, command: str) -> str:
    """The record as JSON in ASCII, which every format holds."""
    words = {"title": page.title, "caption": list(page.sentences)}
    known = {
        **words,
        **getattr(page, "record", {}),
        "drawn by": f"lossatlas {version('lossatlas')}",
        "drawing": command,
    }
    return json.dumps({name: value for name, value in known.items() if value not in ("", [])})


def metadata(page: Recorded, kind: str, command: str = "") -> dict[str, Any]:
    """What matplotlib is to write into a file.

    Args:
        page: what is drawn.
        kind: "png", "pdf" or "svg"; other formats take :func:`exif` or :func:`lines`.
        command: how the picture was made.

    Returns:
        Texts by the keys of the format.
    """
    title, words = page.title or "Loss landscape", " ".join(page.sentences)
    if kind == "png":
        return {"Title": title, "Description": words, "Software": "lossatlas", _WORD: _record(page, command)}
    if kind == "svg":
        return {"Title": title, "Description": words, "Date": None, "Keywords": [_record(page, command)]}
    if kind == "pdf":
        return {"Title": title, "Subject": words, "CreationDate": None, "Keywords": _record(page, command)}
    return {}


def exif(page: Recorded, command: str = "") -> bytes:
    """The same for jpg and webp, as Exif: the caption as description, the record as comment."""
    image = extras.require("PIL.Image", extra="draw", purpose="write a .jpg or .webp file")
    known = image.Exif()
    known[_DESCRIPTION] = " ".join(page.sentences)
    known.get_ifd(_EXIF)[_COMMENT] = b"ASCII\x00\x00\x00" + _record(page, command).encode("ascii")
    return bytes(known.tobytes())


def lines(page: Recorded, command: str = "") -> str:
    """The same for eps, as comments, none longer than the format allows."""
    packed = base64.b64encode(_record(page, command).encode("ascii")).decode("ascii")
    pieces = [packed[start : start + _LINE] for start in range(0, len(packed), _LINE)]
    return "".join(f"%{_WORD}: {piece}\n" for piece in pieces)


def read(path: str | Path) -> dict[str, Any]:
    """What the file of a picture says about how it was made.

    Args:
        path: a png, pdf, svg, jpg, webp or eps that :func:`lossatlas.draw` wrote.

    Returns:
        Its ``title``, ``caption``, ``landscapes``, ``view``, ``drawn by`` and ``drawing``, as far as known.

    Raises:
        SpecError: the file cannot be read, or carries no record.
    """
    target = Path(path)
    reader = {".png": _png, ".pdf": _pdf, ".svg": _svg, ".eps": _eps}.get(target.suffix.lower(), _raster)
    try:
        if target.stat().st_size > _LARGEST:
            raise SpecError(f"{target} is larger than 512 MiB, which no picture of lossatlas is")
        text = reader(target)
    except (OSError, SyntaxError, ValueError) as fault:
        raise SpecError(f"{target} cannot be read as a picture: {fault}") from fault
    if text is None:
        raise SpecError(f"{target} carries no record of lossatlas; was it written by another program, or saved again?")
    try:
        found = _without_controls(json.loads(text))
    except (ValueError, RecursionError) as fault:
        raise SpecError(f"{target} carries a damaged record: {fault}") from fault
    if not isinstance(found, dict):
        raise SpecError(f"{target} carries a damaged record: expected a mapping, got {described_type(found)}")
    return found


def _without_controls(value: Any) -> Any:
    """The same without characters that control a terminal: a picture may come from anyone."""
    if isinstance(value, dict):
        return {_without_controls(key): _without_controls(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_controls(one) for one in value]
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", value) if isinstance(value, str) else value


def _png(path: Path) -> str | None:
    image = extras.require("PIL.Image", extra="draw", purpose="read a picture")
    with image.open(path) as opened:
        found = opened.info.get(_WORD)
    return None if found is None else str(found)


def _raster(path: Path) -> str | None:
    image = extras.require("PIL.Image", extra="draw", purpose="read a picture")
    with image.open(path) as opened:
        found = opened.getexif().get_ifd(_EXIF).get(_COMMENT, b"")
    data = found if isinstance(found, bytes) else str(found).encode("ascii", "replace")
    return (
        data.partition(b"{")[1].decode() + data.partition(b"{")[2].decode("ascii", "replace") if b"{" in data else None
    )


def _svg(path: Path) -> str | None:
    for element in ElementTree.parse(path).iter():
        if element.text and element.text.lstrip().startswith("{") and '"drawn by"' in element.text:
            return html.unescape(element.text) if "&quot;" in element.text else element.text
    return None


def _pdf(path: Path) -> str | None:
    """The keywords: a literal string (ISO 32000, 7.3.4.2) in the document's information."""
    data = path.read_bytes()
    for start in re.finditer(rb"/Keywords\s*\(", data):
        text = _literal(data, start.end())
        if text.startswith("{") and '"drawn by"' in text:
            return text
    return None


def _literal(data: bytes, start: int) -> str:
    """A literal string, from after its opening bracket: brackets nest, and a backslash escapes the next character."""
    made, depth, at = bytearray(), 1, start
    escapes = {ord("n"): 10, ord("r"): 13, ord("t"): 9, ord("b"): 8, ord("f"): 12}
    while at < len(data):
        letter = data[at]
        if letter == ord("\\") and at + 1 < len(data):
            octal = re.match(rb"[0-7]{1,3}", data[at + 1 : at + 4])
            made.append(int(octal[0], 8) % 256 if octal else escapes.get(data[at + 1], data[at + 1]))
            at += 1 + (len(octal[0]) if octal else 1)
            continue
        depth += (letter == ord("(")) - (letter == ord(")"))
        if depth == 0:
            break
        made.append(letter)
        at += 1
    return made.decode("latin-1")


def _eps(path: Path) -> str | None:
    pieces = re.findall(rf"^%{_WORD}: (\S+)$", path.read_text(encoding="latin-1"), flags=re.MULTILINE)
    return base64.b64decode("".join(pieces)).decode("ascii") if pieces else None
