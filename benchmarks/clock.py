"""How long did it take, in which environment, and how busy was the GPU."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
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


def interleaved(
    ways: dict[str, tuple[Callable[[], Any], int]], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds for each point, one call of every way after the other, in every round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (run, points) in ways.items():
            times[name].append(seconds(run, device) / points)
    return times


def environment(device: torch.device) -> dict[str, Any]:
    """What a timing depends on, as JSON values."""
    packages = ("lossatlas", "torch", "numpy", "loss-landscapes", "landscaper", "adaptive", "scikit-learn")
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
