"""What is a run? Its axes, its identity, and whether two runs are the same."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from lossatlas import checksum
from lossatlas.errors import Difference, SpecError
from lossatlas.oneline import one_line
from lossatlas.results.landscape import About, Axis

__all__ = ["CENTRE_TOLERANCE", "FORMAT", "RUNS", "SPEC", "Block", "RunSpec"]

FORMAT, FIRST = 2, 1
"""The format that is written, and the oldest that is read: version 0.1 kept no checksums."""

SPEC = "spec.json"
"""The file that says what a folder holds."""

RUNS = ("landscape", "curvature map")
"""The kinds of result that have a specification like this."""

CENTRE_TOLERANCE = 1e-6

_SINCE_0_2 = ("code", "device")
"""Parts of an identity that version 0.1 did not know."""


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What a run is.

    Attributes:
        identity: what must be equal to resume, JSON values by name. Floats are compared to 1e-6 relative (another
            device rounds differently), all else exactly.
        axes: the axes, in the order of the dimensions.
        values: names of what is measured.
        about: what the Landscape will say about itself.
        format: of the folder; one of version 0.1 has format 1, and no checksums.
        seal: the checksum of the specification as it was written; empty for one that has not been.
    """

    identity: Mapping[str, Any]
    axes: Mapping[str, Axis]
    values: tuple[str, ...]
    about: About
    format: int = FORMAT
    seal: str = ""

    @property
    def kind(self) -> str:
        """What kind of result it is, see :data:`lossatlas.results.opening.KINDS`."""
        return RUNS["curvature" in self.identity]

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of points along each axis."""
        return tuple(len(axis.coordinates) for axis in self.axes.values())

    @property
    def centre_cell(self) -> int | None:
        """The flat index, in C order of the axes, of the cell whose coordinates are all zero; None without one."""
        at = [np.flatnonzero(axis.coordinates == 0) for axis in self.axes.values()]
        if any(len(found) == 0 for found in at):
            return None
        return int(np.ravel_multi_index([int(found[0]) for found in at], self.shape))

    @property
    def key(self) -> bytes:
        """What the checksums of the run's points are made under, so that those of another run do not pass for them."""
        return bytes.fromhex(self.seal or checksum.of_json(self._content()))

    def to_json(self) -> str:
        """The specification as readable text, with its checksum; without one where it is of version 0.1."""
        content = self._content()
        return json.dumps(content, indent=2) if self.format == FIRST else checksum.sealed(content)

    def _content(self) -> dict[str, Any]:
        axes = {name: {**asdict(axis), "coordinates": axis.coordinates.tolist()} for name, axis in self.axes.items()}
        return {
            "format": self.format,
            **({} if self.format == FIRST else {"kind": self.kind}),
            "identity": dict(self.identity),
            "values": list(self.values),
            "about": asdict(self.about),
            "axes": axes,
        }

    def differences(self, other: RunSpec) -> list[Difference]:
        """How the identity of another run differs from this one, part by part, in words.

        For a run of version 0.1, only the parts that it knew are compared.

        Returns:
            A sentence for each part that differs.
        """
        wanted = json.loads(json.dumps(dict(other.identity)))
        if self.format == FIRST and other.format != FIRST:
            wanted = {name: part for name, part in wanted.items() if name not in _SINCE_0_2}
        return list(_differences(self.identity, wanted))

    @classmethod
    def from_json(cls, text: str, source: Path) -> RunSpec:
        """Read a specification back.

        Returns:
            The specification.

        Raises:
            SpecError: the text is damaged or of another format; the message names the source.
        """
        content = checksum.unsealed(text, source)
        try:
            if content.get("kind", "landscape") not in RUNS:
                raise SpecError(
                    f"{source.parent} holds a result of the kind {content['kind']!r}; choose another folder"
                )
            written = content["format"]
            if written not in (FIRST, FORMAT):
                raise SpecError(f"{source} has format {written}; this version reads formats {FIRST} and {FORMAT}")
            checksum.unsealed(text, source, required=written == FORMAT)
            about = content["about"] | {"still": tuple(content["about"]["still"])}
            axes = {
                name: Axis(**{**axis, "coordinates": np.array(axis["coordinates"], np.float64)})
                for name, axis in content["axes"].items()
            }
            values = tuple(content["values"])
            facts = {"identity": content["identity"], "axes": axes, "values": values, "about": About(**about)}
            return cls(**facts, format=written, seal=checksum.of_json(content))
        except SpecError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise SpecError(f"{source} is damaged ({type(fault).__name__}: {fault})") from fault


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some finished points.

    Attributes:
        indices: int64 [n], flat index in C order of the axes.
        values: float64 [n, number of values].
        status: int8 [n], see :class:`~lossatlas.results.landscape.Status`.
        notes: empty, or n texts: why a point failed.
    """

    indices: np.ndarray
    values: np.ndarray
    status: np.ndarray
    notes: tuple[str, ...] = ()

    __repr__ = one_line

    def where(self, wanted: np.ndarray) -> Block:
        """Some of the points: bool [n]."""
        notes = tuple(note for note, stays in zip(self.notes, wanted, strict=True) if stays) if self.notes else ()
        return Block(indices=self.indices[wanted], values=self.values[wanted], status=self.status[wanted], notes=notes)

    @classmethod
    def joined(cls, blocks: Sequence[Self], width: int) -> Self:
        """Several blocks as one, ordered by index; ``width`` values each, even where there is no block.

        Returns:
            One block.

        Example:
            >>> Block.joined([], 2).values.shape
            (0, 2)
        """
        if not blocks:
            return cls(indices=np.empty(0, np.int64), values=np.empty((0, width)), status=np.empty(0, np.int8))
        indices = np.concatenate([block.indices for block in blocks])
        order = np.argsort(indices, kind="stable")
        return cls(
            indices=indices[order],
            values=np.concatenate([block.values for block in blocks])[order],
            status=np.concatenate([block.status for block in blocks])[order],
        )


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> Iterator[Difference]:
    for name in sorted({*there, *wanted}):
        a, b = there.get(name), wanted.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, f"{prefix}{name} ")
        elif isinstance(a, float) and isinstance(b, float):
            if not math.isclose(a, b, rel_tol=CENTRE_TOLERANCE) and not (math.isnan(a) and math.isnan(b)):
                yield Difference(f"{prefix}{name}", repr(a), repr(b))
        elif a != b:
            yield Difference(f"{prefix}{name}", _short(a), _short(b))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
