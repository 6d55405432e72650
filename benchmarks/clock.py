"""How long did it take, in which environment, and how busy was the GPU."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch


def seconds(run: Callable[[], Any], device: torch.device | None = None) -> float:
    """Wall-clock seconds of one call, until the device has finished."""
    wait(device)
    start = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device | None) -> None:
    """Until a GPU has finished."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize()


def work() -> float:
    """Processor seconds so far, of this process and of those it has waited for; other work on the machine adds none."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@dataclass(frozen=True)
class Rounds:
    """What interleaved rounds took, for each point.

    Attributes:
        wall: seconds on the wall, by way.
        work: processor seconds, by way.
    """

    wall: dict[str, list[float]]
    work: dict[str, list[float]]


def interleaved(ways: dict[str, tuple[Callable[[], Any], int]], rounds: int, device: torch.device) -> Rounds:
    """One call of every way after the other, in every round; short calls are repeated for a quarter of a second."""
    found = Rounds({name: [] for name in ways}, {name: [] for name in ways})
    repeats = {name: max(1, min(50, int(0.25 / seconds(run, device)))) for name, (run, _) in ways.items()}
    for _ in range(rounds):
        for name, (run, points) in ways.items():
            before = work()
            wall = seconds(lambda run=run, name=name: [run() for _ in range(repeats[name])], device)
            found.wall[name].append(wall / repeats[name] / points)
            found.work[name].append((work() - before) / repeats[name] / points)
    return found


def environment(device: torch.device) -> dict[str, Any]:
    """What a timing depends on, as JSON values."""
    packages = (
        "lossatlas",
        "torch",
        "numpy",
        "loss-landscapes",
        "landscaper",
        "loss-landscape-3d",
        "adaptive",
        "scikit-learn",
    )
    found: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "python": platform.python_version()}
    found["packages"] = {name: version(name) for name in packages}
    found["system"] = f"{platform.system()} {platform.machine()}"
    found["processor"] = processor()
    found["capability"] = torch.backends.cpu.get_cpu_capability()
    found |= {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "device": device.type}
    if hasattr(os, "getloadavg"):
        found["load at the start"] = round(os.getloadavg()[0], 2)
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
        found["cuda"] = torch.version.cuda
    return found


def processor() -> str:
    """The processor's name, where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def version(name: str) -> str | None:
    """A package's version; None where it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def utilisation(run: Callable[[], Any], least: float = 3.0) -> float | None:
    """Mean utilisation of the GPU in per cent, as nvidia-smi samples it while a way runs for some seconds."""
    if not shutil.which("nvidia-smi"):
        return None
    asked = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        start = time.perf_counter()
        while time.perf_counter() - start < least:
            run()
        process.terminate()
        samples = [float(line) for line in (process.communicate()[0] or "").split() if line.strip().isdigit()]
    return statistics.mean(samples) if samples else None
