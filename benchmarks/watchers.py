"""What does it cost the process that samples to be watched? Its processor time with and without open pages.

    python -m benchmarks.watchers [0 100 0 100]

A server runs here, a small network is sampled in a process of its own, and so many clients hold the events of its run.
Only the processor time of `la.sample` counts; runs with and without watchers are best interleaved.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import uvicorn

from lossatlas.atlas.server import application
from lossatlas.atlas.shelf import Shelf

SAMPLING = """
import sys, time, torch, lossatlas as la
torch.manual_seed(0)
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.Tanh(), torch.nn.Linear(128, 10))
data = (torch.randn(2000, 64), torch.randint(0, 10, (2000,)))
objective = la.Objective(model, data, loss=torch.nn.functional.cross_entropy)
plane = la.Plane.random(objective, seed=0)
before = time.process_time()
la.sample(objective, plane, la.Grid(x=(-1, 1, 61), y=(-1, 1, 61)), run=sys.argv[1], progress=False)
print(time.process_time() - before)
"""


def asked(port: int, path: str) -> http.client.HTTPResponse:
    """The answer of the server, still open."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", path)
    return connection.getresponse()


def begun(port: int, process: subprocess.Popen[str]) -> str:
    """The id of the run, as soon as the server lists it."""
    while process.poll() is None:
        with asked(port, "/api/runs") as answer:
            cards = json.loads(answer.read())
        if cards:
            return str(cards[0]["id"])
        time.sleep(0.1)
    raise SystemExit("the sampling process ended before its run was seen")


def watch(port: int, run: str, counts: list[int], number: int) -> None:
    """Count the events that one client gets."""
    with asked(port, f"/api/events?run={run}") as answer:
        while line := answer.readline():
            counts[number] += line.startswith(b"data")


def measured(watchers: int) -> tuple[float, list[int]]:
    """Seconds of processor time of the sampling, and the events that each watcher got."""
    with tempfile.TemporaryDirectory() as folder:
        settings = uvicorn.Config(application(Shelf([folder]), "token"), port=0, log_level="critical", lifespan="off")
        server = uvicorn.Server(settings)
        threading.Thread(target=server.run, daemon=True).start()
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        command = [sys.executable, "-c", SAMPLING, str(Path(folder) / "run")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            run, counts = begun(port, process), [0] * watchers
            for number in range(watchers):
                threading.Thread(target=watch, args=(port, run, counts, number), daemon=True).start()
            said, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"the sampling process ended with {process.returncode}")
        server.force_exit = server.should_exit = True
        return float(said), counts


def main() -> None:
    """Measure and say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("watchers", nargs="*", type=int, default=[0, 100, 0, 100], help="one run for each number")
    for watchers in parser.parse_args().watchers:
        seconds, counts = measured(watchers)
        events = f", {min(counts)} to {max(counts)} events each" if counts else ""
        print(f"{watchers:4d} watchers: {seconds:.2f} s of processor time{events}", flush=True)


if __name__ == "__main__":
    main()
