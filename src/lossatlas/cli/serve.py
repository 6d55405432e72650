"""`lossatlas serve`: runs in the browser, finished or still growing."""

from __future__ import annotations

import socket

import click

from lossatlas.errors import SpecError

__all__ = ["serve_command"]


@click.command("serve")
@click.argument("folders", nargs=-1, metavar="[FOLDER...]")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes any that is free."
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def serve_command(folders: tuple[str, ...], port: int, no_browser: bool) -> None:
    """Open runs in the browser: run folders, .nc files, or FOLDERs that hold them (default: runs).

    A run that another process is sampling grows on the page as its points are committed; that process does not notice.
    Only this machine can reach the page, only what lies in the named folders is shown, and nothing is changed there.

    \b
    Examples:
      lossatlas serve                         (all runs below ./runs)
      lossatlas serve runs/a --no-browser
      lossatlas serve runs results --port 0
    """
    import secrets
    import webbrowser

    from lossatlas import extras
    from lossatlas.atlas.server import application
    from lossatlas.atlas.shelf import Shelf

    uvicorn = extras.require("uvicorn", extra="serve", purpose="serve landscapes")
    shelf = Shelf(folders or ("runs",))
    token = secrets.token_urlsafe(18)
    app = application(shelf, token)
    listening = _bound(port)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/#token={token}"
    click.echo(f"{len(shelf.entries())} landscapes at {address}")
    click.echo("Ctrl-C ends it.")
    if not no_browser:
        webbrowser.open(address)
    settings = uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(settings)
    server.run(sockets=[listening])


def _bound(port: int) -> socket.socket:
    """A socket that this machine alone can reach."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(("127.0.0.1", port))
        made.listen(128)  # a browser that is quicker than the server waits instead of being refused
    except OSError as fault:
        made.close()
        raise SpecError(f"--port {port}: {fault.strerror}; choose another, or 0 for any that is free") from fault
    return made
