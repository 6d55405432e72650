"""Is the server there at all that a library would try again and again?"""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from lossatlas.oneline import first_line

__all__ = ["SECONDS", "patient", "unreached"]

SECONDS = 8.0
"""How long a server may take until it takes a connection, or a download may stand still. What is slow goes on."""


def unreached(url: str) -> str:
    """Why a server cannot be reached: it is asked for a connection once.

    Args:
        url: its address.

    Returns:
        The reason; empty where it can be reached, and where a proxy would be asked instead.

    Example:
        >>> unreached("http://127.0.0.1:9")
        'Connection refused'
    """
    place = urlsplit(url)
    host, port = place.hostname or "", place.port or (80 if place.scheme == "http" else 443)
    proxies = urllib.request.getproxies()
    if not host or ((proxies.get(place.scheme) or proxies.get("all")) and not urllib.request.proxy_bypass(host)):
        return ""
    found: list[str] = []

    def ask() -> None:
        try:
            socket.create_connection((host, port), timeout=SECONDS).close()
            found.append("")
        except OSError as fault:
            found.append(fault.strerror or first_line(fault))

    asking = threading.Thread(target=ask, daemon=True)  # a name may take longer to be looked up than a connection
    asking.start()
    asking.join(SECONDS)
    return found[0] if found else f"no answer within {SECONDS:g} s"


@contextmanager
def patient() -> Iterator[None]:
    """Downloads through Python's own library end where not a byte comes for :data:`SECONDS`; by default they hang."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
