"""Who may ask for what? Only loopback names, only pages of this server, and a token for anything but reading."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

__all__ = ["TOKEN", "Guard"]

TOKEN = "x-lossatlas-token"
"""The header that carries the token."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
_READING = ("GET", "HEAD")
_NAMES = ("127.0.0.1", "localhost", "::1")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Guard:
    """An ASGI application around another one. It answers 403 to what is not allowed and puts the policy on the rest.

    A name other than that of this machine in ``Host`` is the mark of DNS rebinding; another ``Origin``, or a request
    that the browser says comes from another site, is another site's page trying its luck.

    Args:
        app: what is guarded.
        token: what anything but reading must bring.
    """

    def __init__(self, app: App, token: str) -> None:
        self.app = app
        self.token = token

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        refused = self.refused(scope["method"], scope["headers"])

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        if refused:
            await marked({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": refused.encode()})
            return
        await self.app(scope, receive, marked)

    def refused(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Why a request is refused; empty if it is not."""
        given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
        host = given.get("host", "")
        if _name(f"http://{host}") not in _NAMES:
            return "this server answers only to 127.0.0.1 and localhost"
        origin = given.get("origin")
        if origin is not None and origin != f"http://{host}":
            return "this server answers only its own pages"
        if given.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "this server answers only its own pages"
        if method not in _READING and not secrets.compare_digest(given.get(TOKEN, "").encode(), self.token.encode()):
            return "anything but reading needs the token that `lossatlas serve` printed"
        return ""


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
