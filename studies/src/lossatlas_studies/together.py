"""How are several studies run side by side? Each in a process of its own, so that a failure does not affect others."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from lossatlas_studies.stages import Say

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""The variables from which the libraries below torch and numpy take their number of threads."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How one of the processes ended.

    Attributes:
        name: of what it ran.
        code: its exit status, 0 if all went well.
        last: the last line that it wrote.
    """

    name: str
    code: int
    last: str


def run_together(commands: Mapping[str, Sequence[str]], jobs: int, say: Say) -> list[Ended]:
    """Run commands, some at a time, and wait for all of them, whether or not some fail.

    With more than one at a time every process has one thread for its arithmetic. An interruption ends them all, each
    after its block, and a second one at once; stages that were finished are found by the next run.

    Args:
        commands: by name.
        jobs: how many at a time.
        say: called with every line that they write, after the name.

    Returns:
        How each ended, in the order given.

    Example:
        >>> import sys
        >>> run_together({"a": [sys.executable, "-c", "print('done')"]}, 1, print)
        a: done
        [Ended(name='a', code=0, last='done')]
    """
    crew = _Crew(say, dict.fromkeys(THREADS, "1") if jobs > 1 else {})
    runs: list[Future[Ended]] = []
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for name, command in commands.items():
                runs.append(pool.submit(crew.run, name, command))
            return [run.result() for run in runs]
        except BaseException:
            while True:
                try:
                    crew.stop()
                    wait(runs)  # not for the threads: in Python 3.11 one whose join is interrupted passes for ended
                    break
                except KeyboardInterrupt:  # again, perhaps before all were told: this time they end at once
                    continue
            raise


class _Crew:
    """The processes that are running, so that all can be stopped."""

    def __init__(self, say: Say, variables: Mapping[str, str]) -> None:
        self._say = say
        self._variables = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(self, name: str, command: Sequence[str]) -> Ended:
        """Run one and pass on what it prints."""
        with self._lock:
            if self._stopped:
                return Ended(name=name, code=-1, last="not begun")
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
                errors="replace", env=self._variables,
                start_new_session=True,  # it hears a terminal's Ctrl-C from `stop` alone, once
            )  # fmt: skip
            self._running.add(process)
        with process:
            try:
                last = self._passed_on(name, process.stdout or ())
            except BaseException:
                process.terminate()
                raise
        with self._lock:
            self._running.discard(process)
        return Ended(name=name, code=process.returncode, last=last)

    def _passed_on(self, name: str, lines: Iterable[str]) -> str:
        """Pass on every line, and return the last that is not empty."""
        last = ""
        for line in lines:
            last = line.strip() or last
            with self._lock:
                self._say(f"{name}: {line.rstrip()}")
        return last

    def stop(self) -> None:
        """End all that are running, and begin no more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()
