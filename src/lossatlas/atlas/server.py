"""What can a browser request? The few routes of the atlas: the page, the list, a scene, events, a figure."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import fields as fields_of
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from lossatlas import extras
from lossatlas.atlas import sheets
from lossatlas.atlas.guard import Guard
from lossatlas.atlas.over import candidates, over
from lossatlas.atlas.rugged import Rugged
from lossatlas.atlas.schema import SCHEMA
from lossatlas.atlas.shelf import Entry, Shelf, named
from lossatlas.atlas.watch import Watch
from lossatlas.draw import View, compile, draw
from lossatlas.draw.payload import packed, payload
from lossatlas.errors import SpecError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["FORMATS", "MOST", "application", "framed"]

FORMATS = {"pdf": "application/pdf", "svg": "image/svg+xml", "png": "image/png", "html": "text/html"}
MOST = 6
"""How many landscapes are compared at once."""


def framed(landscapes: list[xr.Dataset], view: View) -> bytes:
    """A scene as it is sent: the length of its words (uint32, little-endian), the words as JSON, then its arrays.

    Args:
        landscapes: what is drawn together.
        view: how.

    Returns:
        The bytes; the arrays begin at a multiple of 8, as their offsets do.
    """
    content, numbers = packed(payload(compile(landscapes, view)))
    words = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    words += b" " * (-(len(words) + 4) % 8)
    return struct.pack("<I", len(words)) + words + numbers


class _Desk:
    """What the routes share."""

    def __init__(self, shelf: Shelf, watch: Watch) -> None:
        self.shelf = shelf
        self.watch = watch
        self.rugged = Rugged()
        self.scene = functools.lru_cache(maxsize=64)(self._scene)

    def asked(self, request: Request) -> list[Entry]:
        """The entries that a request names; what is not on the shelf is not an entry."""
        numbers = request.query_params.getlist("run")
        found = [self.shelf.entry(number) for number in numbers]
        if not 1 <= len(found) <= MOST or None in found:
            raise SpecError(f"run={numbers}: expected the ids of one to {MOST} entries of /api/runs")
        return [entry for entry in found if entry is not None]

    def fetched(self, request: Request) -> bytes:
        """The scene that a request asks for, made again only if something in it has changed."""
        entries, small = tuple(self.asked(request)), "small" in request.query_params
        maps = () if small else candidates(self.shelf, entries)
        return self.scene(entries, maps, tuple(entry.version for entry in (*entries, *maps)), small)

    def seen(self, entries: Sequence[Entry], maps: Sequence[Entry]) -> tuple[list[xr.Dataset], View]:
        """What is drawn of some results, a surface with the map of curvature that belongs over it."""
        landscapes, view = _seen(entries)
        ratio = over(landscapes[0], maps) if maps else None
        return landscapes, view if ratio is None else replace(view, ratio=ratio)

    def _scene(
        self, entries: tuple[Entry, ...], maps: tuple[Entry, ...], versions: tuple[str, ...], small: bool
    ) -> bytes:
        if small:
            return framed(*_together(entries, [entry.small() for entry in entries]))
        return framed(*self.seen(entries, maps))


def _seen(entries: Sequence[Entry]) -> tuple[list[xr.Dataset], View]:
    """What is drawn of some results: several paths in one plane if possible, everything else side by side."""
    if len(entries) > 1 and all(entry.kind == "path" for entry in entries):
        for ground in entries:
            with contextlib.suppress(SpecError):
                return ground.seen_with([one for one in entries if one is not ground])
        with contextlib.suppress(SpecError):  # there is no surface: use the plane that all of them span
            return entries[0].seen_beside(entries[1:])
    return _together(entries, [entry.seen() for entry in entries])


def _together(entries: Sequence[Entry], seen: Sequence[tuple[list[xr.Dataset], View]]) -> tuple[list[xr.Dataset], View]:
    """Several results in one picture: what lies on each stays with its panel, and no two have the same name."""
    landscapes = [one for part, _ in seen for one in part]
    if len(seen) == 1:
        return landscapes, seen[0][1]
    upon = [replace(one, panel=place) for place, (_, view) in enumerate(seen) for one in view.overlays]
    values = {view.value for _, view in seen}
    value = values.pop() if len(values) == 1 else "loss"
    titles = [{str(one.attrs.get("title", "")) for one in part} for part, _ in seen]
    told = len(set().union(*titles)) == sum(map(len, titles))
    # Landscapes of one title would be taken for runs of one model.
    names = [] if told else [name for name, (part, _) in zip(named(entries), seen, strict=True) for _ in part]
    return landscapes, View(overlays=upon, labels=names, value=value)


def application(shelf: Shelf, token: str, *, every: float = 0.5) -> Any:
    """The application: an ASGI callable, guarded.

    Args:
        shelf: what may be served.
        token: what anything but reading must bring.
        every: seconds between two looks at a run that is watched.

    Returns:
        The application.

    Raises:
        MissingExtraError: starlette is not installed; the message has the command that installs it.
    """
    extras.require("starlette", extra="serve", purpose="serve landscapes")
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.gzip import GZipMiddleware
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    xr.Dataset(coords={"x": [0.0]})  # this imports dask where it is installed: two threads would each find half of it
    desk = _Desk(shelf, Watch(shelf, every))

    async def bad(request: Request, fault: Exception) -> Response:
        return JSONResponse({"fault": str(fault)}, status_code=400)

    # Words are sent compressed, which matters through a tunnel; events must not be buffered, and arrays hardly shrink.
    small = [Middleware(GZipMiddleware, compresslevel=6)]
    routes = [
        Route("/", _page, methods=["GET"]),
        Route("/atlas.js", _asset("atlas.js", "text/javascript"), methods=["GET"], middleware=small),
        Route("/third.js", _asset("third.js", "text/javascript"), methods=["GET"], middleware=small),
        Route("/atlas.css", _asset("atlas.css", "text/css"), methods=["GET"], middleware=small),
        Route("/api/schema", _schema, methods=["GET"], middleware=small),
        Route("/api/runs", functools.partial(_runs, desk), methods=["GET"], middleware=small),
        Route("/api/scene", functools.partial(_scene, desk), methods=["GET"]),
        Route("/api/events", functools.partial(_events, desk), methods=["GET"]),
        Route("/api/sheet", functools.partial(_sheet, desk), methods=["GET"], middleware=small),
        Route("/api/picture", functools.partial(_picture, desk), methods=["GET"]),
        Route("/api/compare", functools.partial(_compare, desk), methods=["GET"], middleware=small),
        Route("/api/figure", functools.partial(_figure, desk), methods=["POST"]),
    ]
    made = Starlette(routes=routes, exception_handlers={SpecError: bad})
    made.state.watch, made.state.rugged = desk.watch, desk.rugged
    return Guard(made, token)


def _resource(name: str) -> str:
    return resources.files("lossatlas.draw").joinpath("page", name).read_text(encoding="utf-8")


async def _page(request: Request) -> Response:
    from starlette.responses import HTMLResponse

    return HTMLResponse(_resource("served.html"))


def _asset(name: str, kind: str) -> Any:
    async def answer(request: Request) -> Response:
        from starlette.responses import Response

        return Response(_resource(name), media_type=kind)

    return answer


async def _schema(request: Request) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(SCHEMA)


async def _runs(desk: _Desk, request: Request) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(
        await asyncio.to_thread(lambda: [desk.rugged.card(one, desk.shelf.card(one)) for one in desk.shelf.entries()])
    )


async def _scene(desk: _Desk, request: Request) -> Response:
    from starlette.responses import Response

    return Response(await asyncio.to_thread(desk.fetched, request), media_type="application/octet-stream")


async def _sheet(desk: _Desk, request: Request) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(await asyncio.to_thread(lambda: sheets.sheet(desk.asked(request)[0])))


async def _picture(desk: _Desk, request: Request) -> Response:
    from starlette.responses import Response

    text = request.query_params.get("picture", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise SpecError(f"picture={text!r}: expected a number")
    body, kind = await asyncio.to_thread(lambda: sheets.picture(desk.asked(request)[0], int(text)))
    return Response(body, media_type=kind)


async def _compare(desk: _Desk, request: Request) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(await asyncio.to_thread(lambda: sheets.compared(desk.asked(request))))


async def _events(desk: _Desk, request: Request) -> Response:
    from starlette.responses import StreamingResponse

    (entry,) = await asyncio.to_thread(desk.asked, request)
    return StreamingResponse(desk.watch.events(entry.id), media_type="text/event-stream")


async def _figure(desk: _Desk, request: Request) -> Response:
    """A picture by the same code as `lossatlas draw`."""
    from starlette.responses import Response

    asked = await request.json()
    kind = asked.pop("format", "pdf") if isinstance(asked, dict) else None
    if kind not in FORMATS:
        raise SpecError(f"format={kind!r}: choose one of: {', '.join(FORMATS)}")

    def made() -> bytes:
        fields: dict[str, Any] = {"clip": None if asked.get("clip") == "none" else asked.get("clip", "auto")}
        fields |= {name: value for name, value in asked.items() if name in _FIELDS}
        entries = desk.asked(request)
        landscapes, view = desk.seen(entries, candidates(desk.shelf, entries) if kind == "html" else ())
        fields |= {"overlays": view.overlays, "labels": view.labels, "ratio": view.ratio}
        with tempfile.TemporaryDirectory() as folder:
            return draw(landscapes, Path(folder) / f"figure.{kind}", **fields).read_bytes()

    try:
        return Response(await asyncio.to_thread(made), media_type=FORMATS[kind])
    except TypeError as fault:
        raise SpecError(f"the figure cannot be drawn: {fault}") from fault


_FIELDS = tuple({field.name for field in fields_of(View)} - {"clip", "overlays", "ratio", "labels", "camera"})
