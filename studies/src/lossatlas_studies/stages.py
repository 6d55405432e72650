"""How do the parts of a study survive an interruption? Each has a folder of its own, keyed by its settings."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from lossatlas.atomic import write_text
from lossatlas.errors import SpecError

DONE = "done.json"
FORMAT = 2
"""Raised when stages of an older version no longer mean the same."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Done:
    """A stage that is finished.

    Attributes:
        result: what it returned, plain numbers and texts.
        folder: where its files are.
        seconds: how long it took when it was run, all attempts together.
        fresh: whether it was run now, rather than found.
    """

    result: dict[str, Any]
    folder: Path
    seconds: float
    fresh: bool


@dataclass(kw_only=True)
class Bench:
    """Where the stages of studies are kept, and on which device they are run.

    Studies share it: a network trained by one is found by another.

    Attributes:
        folder: holds a folder for each stage.
        device: where networks are trained and measured; empty for a GPU where there is one.
        say: called with a line about each stage that is run.
        used: the stages that were asked for so far, by name.
    """

    folder: Path
    device: str = ""
    say: Say = lambda words: None
    used: dict[str, Done] = field(default_factory=dict)

    def stage(self, name: str, key: Mapping[str, Any], work: Callable[[Path], Mapping[str, Any]]) -> Done:
        """Run a stage, or find its result.

        Args:
            name: what it is called in messages and in the folder's name.
            key: everything that its result depends on, plain numbers and texts.
            work: does it. It is given the stage's folder, in which an interrupted attempt may have left files to go on
                from, and returns plain numbers and texts.

        Returns:
            The result. It counts as finished only when all of it is on the disk.

        Raises:
            SpecError: the key or the result is not plain; or the folder is damaged.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     bench = Bench(folder=Path(folder))
            ...     first = bench.stage("add", {"a": 1}, lambda _: {"sum": 1 + 1})
            ...     again = bench.stage("add", {"a": 1}, lambda _: {"sum": 0})
            >>> again.result, again.fresh
            ({'sum': 2}, False)
        """
        settings = _plain({"format": FORMAT, "stage": name, **key}, name)
        folder = self.folder / f"{_slug(name)}-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            done = _read(folder)
            if done is None:
                self.say(name)
                done = _run(folder, settings, work)
        self.used[f"{name} [{folder.name.rpartition('-')[2]}]"] = done
        return done

    @property
    def seconds(self) -> float:
        """What the stages cost when they were run, those found included."""
        return sum(done.seconds for done in self.used.values())


def _run(folder: Path, settings: str, work: Callable[[Path], Mapping[str, Any]]) -> Done:
    write_text(folder / "settings.json", settings)
    spent = folder / "spent.txt"
    before = float(spent.read_text(encoding="utf-8")) if spent.is_file() else 0.0
    begun = time.perf_counter()
    try:
        result = dict(work(folder))
    finally:
        seconds = before + time.perf_counter() - begun
        write_text(spent, repr(seconds))
    content = _plain({"result": result, "seconds": seconds}, folder.name)
    write_text(folder / DONE, content)
    return Done(result=json.loads(content)["result"], folder=folder, seconds=seconds, fresh=True)


def _read(folder: Path) -> Done | None:
    path = folder / DONE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Done(result=content["result"], folder=folder, seconds=float(content["seconds"]), fresh=False)
    except (ValueError, KeyError, TypeError) as fault:
        raise SpecError(f"{path} is damaged ({fault}); delete the folder to run this stage again") from fault


def _plain(content: Mapping[str, Any], name: str) -> str:
    try:
        return json.dumps(content, sort_keys=True, ensure_ascii=False)
    except TypeError as fault:
        raise SpecError(f"stage {name!r}: {fault}; keys and results are numbers, texts, lists and mappings") from fault


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60]
