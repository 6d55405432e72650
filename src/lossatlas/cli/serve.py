"""`lossatlas serve`: results in the browser, finished or still growing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import click

from lossatlas.cli.needed import flag, needing
from lossatlas.cli.options import WHAT, Measuring, flags, settings
from lossatlas.errors import SpecError
from lossatlas.oneline import number_of

__all__ = ["leave", "listen", "serve_command"]


_SAMPLING = flag("sample_while_training")


@click.command("serve", cls=Measuring, own="The page")
@click.argument("folders", nargs=-1, metavar="[FOLDER...]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    metavar="N",
    help="Port of the page; 0 takes any that is free.",
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option(
    "--sample-while-training",
    is_flag=True,
    help="Sample the surface under every recorded path, at the lowest priority; needs --model and --data.",
)
@needing(
    "--budget",
    needs=_SAMPLING,
    type=float,
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Time for each path.",
)
@needing(
    "--grid",
    needs=_SAMPLING,
    type=int,
    default=33,
    show_default=True,
    metavar="N",
    help="Points along each axis of the finest surface: 2^k + 1.",
)
@flags((*WHAT, "metric"), needs=_SAMPLING)
def serve_command(
    folders: tuple[str, ...], port: int, no_browser: bool, sample_while_training: bool, budget: float, grid: int,
    config: Path | None, **given: Any,
) -> None:  # fmt: skip
    """Open results in the browser: runs, recorded paths, studies, .nc files, or FOLDERs that hold them (default: runs).

    A run that another process is sampling grows on the page as its points are committed, and so does the path of a
    training that lossatlas.Recorder keeps; these processes do not notice. Only this machine can reach the page, only
    what lies in the named folders is shown, and nothing is changed there.

    With --sample-while-training a second process, of the lowest priority, samples the surface under each path, coarse
    first, and keeps it beside the path, in its folder surface. A grid is begun only if the rest of the budget allows
    it.

    \b
    Examples:
      lossatlas serve                         (all results below ./runs)
      lossatlas serve runs/a --no-browser
      lossatlas serve runs results --port 0
      lossatlas serve paths --sample-while-training --model net.py:make --data net.py:data --budget 300
    """
    from lossatlas.atlas.shelf import Shelf

    shelf = Shelf(folders or ("runs",))
    if not sample_while_training:
        leave(listen(shelf, port, show=not no_browser))
        return
    from lossatlas.cli import below
    from lossatlas.cli.scan import Scan

    scan = Scan(**settings(config, given))
    below.check(budget, grid)
    with below.beside(below.refine, shelf.roots, scan, budget, grid, os.getpid()):
        done = listen(shelf, port, show=not no_browser)
    leave(done)


def listen(shelf: Any, port: int, *, show: bool, run: str = "", words: str = "") -> bool:
    """Serve until Ctrl-C.

    Args:
        shelf: what may be served.
        port: 0 takes any that is free.
        show: open a browser.
        run: the id of the entry that the page opens with; left out, the overview.
        words: printed in place of the number of results.

    Returns:
        Whether nothing is computed for a page any more, so that the program ends when it has come to its end.

    Raises:
        SpecError: the port is taken.
        MissingExtraError: starlette or uvicorn is not installed; the message has the command that installs it.
    """
    import secrets
    import webbrowser

    from lossatlas import extras
    from lossatlas.atlas.server import application

    extras.require("uvicorn", extra="serve", purpose="serve landscapes")
    token = secrets.token_urlsafe(18)
    app = application(shelf, token)
    listening = _bound(port)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/#token={token}" + (f"&run={run}" if run else "")
    click.echo(f"{words or number_of(len(shelf.entries()), 'result')} at {address}")
    click.echo("Ctrl-C ends it.")
    if show:
        webbrowser.open(address)
    return _served(app, listening)


def leave(done: bool) -> None:
    """End the process here if a thread still computes what nobody will see, for which its own end would wait.

    Args:
        done: whether none does.
    """
    if not done:
        sys.stdout.flush()
        os._exit(0)


def _served(app: Any, listening: socket.socket) -> bool:
    """Serve until a signal; whether all that was being computed for a page was finished in the time for that."""
    import uvicorn

    from lossatlas.atlas import ending

    told, crews = ending.Ending(app), (ending.Crew("pages"), app.app.state.rugged.crew)
    settings = uvicorn.Config(
        told, log_level="warning", server_header=False, timeout_graceful_shutdown=1, lifespan="off"
    )
    server: Any = uvicorn.Server(settings)
    stop = server.handle_exit

    def ended(*about: Any) -> None:
        app.app.state.watch.end()  # pages that watch a run would keep the server waiting
        told.end()
        stop(*about)

    async def serving() -> None:
        asyncio.get_running_loop().set_default_executor(crews[0])
        await server.serve(sockets=[listening])

    server.handle_exit = ended
    hangup = getattr(signal, "SIGHUP", None)  # uvicorn handles only INT and TERM
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        signal.signal(hangup, ended)
    try:
        with contextlib.suppress(KeyboardInterrupt):  # it has ended in good order
            asyncio.run(serving())
        return ending.over(crews, 0 if server.force_exit else ending.SECONDS)
    except KeyboardInterrupt:
        return False


def _bound(port: int) -> socket.socket:
    """A socket that only this machine can reach."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(("127.0.0.1", port))
        made.listen(128)  # a browser that is quicker than the server waits instead of being refused
    except OSError as fault:
        made.close()
        raise SpecError(f"--port {port}: {fault.strerror}; choose another, or 0 for any that is free") from fault
    return made
