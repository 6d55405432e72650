"""What has happened to a run since? One look at its journal serves all who watch; the run is not disturbed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from lossatlas.atlas.shelf import Shelf

__all__ = ["Watch"]

_EVERY = 0.5
_SILENT = 15.0


class Watch:
    """Tells pages how far runs have got.

    Args:
        shelf: the runs.
        every: seconds between two looks.
    """

    def __init__(self, shelf: Shelf, every: float = _EVERY) -> None:
        self.shelf = shelf
        self.every = every
        self.looks = 0
        self._listeners: dict[str, set[asyncio.Queue[dict[str, Any]]]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def end(self) -> None:
        """Tell all listeners that nothing more will come: the server stops."""
        for listeners in self._listeners.values():
            for queue in listeners:
                queue.put_nowait({})

    async def events(self, number: str) -> AsyncIterator[str]:
        """Server-sent events of a run: how far it has got, and again whenever that changes.

        Args:
            number: the id of an entry.

        Yields:
            Text in the format of server-sent events.
        """
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        listeners = self._listeners.setdefault(number, set())
        listeners.add(queue)
        if number not in self._tasks or self._tasks[number].done():
            self._tasks[number] = asyncio.create_task(self._look(number))
        else:
            if found := await asyncio.to_thread(self._state, number):
                queue.put_nowait(found)
        try:
            while True:
                try:
                    found = await asyncio.wait_for(queue.get(), timeout=_SILENT)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if not found:
                    return
                yield f"event: progress\ndata: {json.dumps(found)}\n\n"
        finally:
            listeners.discard(queue)

    async def _look(self, number: str) -> None:
        """Look while someone listens."""
        last: dict[str, Any] = {}
        first: tuple[float, int] | None = None
        while self._listeners.get(number):
            found = await asyncio.to_thread(self._state, number)
            self.looks += 1
            if found and found.get("version") != last.get("version"):
                now = time.monotonic()
                done = int(found.get("done", 0))
                first = first or (now, done)
                if now > first[0] and done > first[1]:
                    found["rate"] = (done - first[1]) / (now - first[0])
                    found["left"] = (int(found["total"]) - done) / found["rate"]
                last = found
                for queue in list(self._listeners[number]):
                    queue.put_nowait(found)
            await asyncio.sleep(self.every)
        self._tasks.pop(number, None)

    def _state(self, number: str) -> dict[str, Any]:
        """How far a run has got; empty if it cannot be read, as between its first two files."""
        entry = self.shelf.entry(number)
        if entry is None:
            return {"version": "", "gone": True}
        card = self.shelf.card(entry)
        if "fault" in card:
            return {}
        return {
            "kind": entry.kind,
            "version": card["version"],
            "finished": card.get("finished", True),
            **card.get("counts", {}),
        }
