"""How does the server end while pages wait for answers? They are told, and what is in hand has a little time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from lossatlas.atlas.guard import App, Message, Receive, Send

__all__ = ["SECONDS", "Crew", "Ending", "over"]

SECONDS = 5.0
"""How long the end of the server waits for what its threads are computing."""


class Crew(ThreadPoolExecutor):
    """Threads that compute for pages. Their shutdown waits for nobody, as asyncio's own does: see :func:`over`.

    They are no daemons: such a thread stops where it is when the program ends, and if it was reading a file it keeps
    HDF5's lock, for which the end of the program waits.

    Args:
        name: of the threads.
        workers: how many; by default as many as Python thinks best.
    """

    def __init__(self, name: str, workers: int | None = None) -> None:
        super().__init__(workers, thread_name_prefix=name)
        self.in_hand: set[Future[Any]] = set()

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Have something computed."""
        future = super().submit(work, *arguments, **named)
        self.in_hand.add(future)
        future.add_done_callback(self.in_hand.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:
        """Begin nothing more."""
        super().shutdown(wait=False, cancel_futures=True)


def over(crews: tuple[Crew, ...], seconds: float = SECONDS) -> bool:
    """Let threads finish what they are computing, and nothing that waits for its turn.

    Args:
        crews: the threads.
        seconds: how long to wait for them.

    Returns:
        Whether they have finished; if not, the end of the program would wait for them.

    Example:
        >>> crew = Crew("adds", 1)
        >>> found = crew.submit(sum, (1, 2))
        >>> over((crew,)), found.result()
        (True, 3)
    """
    for crew in crews:
        crew.shutdown()
    return not wait([one for crew in crews for one in list(crew.in_hand)], timeout=seconds).not_done


class Ending:
    """An ASGI application around another one. When the server ends, it answers 503 to whoever still waits.

    Args:
        app: what answers until then.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self._ends = asyncio.Event()

    def end(self) -> None:
        """The server ends."""
        self._ends.set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request; one whose answer has begun is answered to the end."""
        begun = asyncio.Event()

        async def noted(message: Message) -> None:
            begun.set()
            await send(message)

        answer = asyncio.ensure_future(self.app(scope, receive, noted))
        ended = asyncio.ensure_future(self._ends.wait())
        try:
            await asyncio.wait((answer, ended), return_when=asyncio.FIRST_COMPLETED)
            if answer.done() or begun.is_set():
                await answer
                return
        except asyncio.CancelledError:
            if not self._ends.is_set():
                raise
        finally:
            ended.cancel()
            answer.cancel()
        if not begun.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await answer
            await send({"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"lossatlas serve has ended"})
