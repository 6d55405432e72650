"""Which map of curvature on the shelf lies over a surface? The newest of the same network, data and plane."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import xarray as xr

from lossatlas.atlas.shelf import Entry, Shelf
from lossatlas.draw.ratio import ratio_map
from lossatlas.errors import SpecError
from lossatlas.results import reading
from lossatlas.results.landscape import structured

__all__ = ["candidates", "over"]


def candidates(shelf: Shelf, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Entries one of which may be laid over what is drawn.

    Args:
        shelf: where to look for them.
        entries: what is drawn.

    Returns:
        Maps of curvature, including those in files, the newest first; none unless a single surface is drawn.
    """
    if len(entries) != 1 or entries[0].kind != "landscape":
        return ()
    cards = [(one, shelf.card(one)) for one in shelf.lately() if one.is_field and one != entries[0]]
    maps = [(float(card["changed"]), one) for one, card in cards if "ratio" in card.get("values", ())]
    return tuple(one for _, one in sorted(maps, key=lambda each: (-each[0], each[1].name)))


def over(surface: xr.Dataset, maps: Sequence[Entry]) -> xr.Dataset | None:
    """The first of some maps that belongs over a surface.

    Args:
        surface: what is drawn.
        maps: from :func:`candidates`.

    Returns:
        The map; nothing if none is known to be of the same network and plane. Names do not prove that, since two
        networks of one class have the same: both must have the fingerprint of the network.
    """
    network = _network(surface)
    for one in maps if network and "ratio" not in surface else ():
        with contextlib.suppress(SpecError, OSError, ValueError, KeyError):
            found = reading.open(one.path)
            if _network(found) == network:
                ratio_map(found, [surface])
                return found
    return None


def _network(found: xr.Dataset) -> str:
    """Its fingerprint; empty if none was taken."""
    return str(structured(found, "provenance").get("fingerprints", {}).get("model", ""))
