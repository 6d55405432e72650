"""`lossatlas doctor`: what is installed, what it can run on, and whether it works here."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from lossatlas.cli import Failure
from lossatlas.cli.as_json import echo_json

__all__ = ["doctor_command", "self_test"]

_CLOSE = 1e-5
"""How far the self-test may be from its closed form, relative: single precision, whatever the device."""

_LIBRARIES = ("numpy", "scipy", "xarray", "h5py", "h5netcdf", "safetensors", "torch")


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor_command(as_json: bool) -> None:
    """Check what is installed, which devices and extras are available, and whether a small landscape comes out right.

    The self-test takes a few seconds: on every device it samples a surface whose values are known in closed form, keeps
    it in a run folder, opens it again, and draws it in every format whose library is installed.

    \b
    Examples:
      lossatlas doctor
      lossatlas doctor --json

    Include its output when you report a bug. It names none of your files or data.
    """
    found: dict[str, dict[str, str]] = {}
    parts: dict[str, Callable[[], dict[str, str]]] = {
        "environment": _environment,
        "devices": _devices,
        "extras": _extras,
        "self-test": lambda: dict(self_test(list(found["devices"]))),
    }
    for title, part in parts.items():  # each is printed when it is known: the last two take seconds
        found[title] = part()
        if not as_json:
            _print(title, found[title])
    if as_json:
        echo_json(found)
    if failed := [name for name, said in found["self-test"].items() if not said.startswith("ok")]:
        raise Failure(f"the self-test failed: {', '.join(failed)}")


def _print(title: str, entries: dict[str, str]) -> None:
    click.echo(f"{title}:")
    width = max((len(name) for name in entries), default=0)
    for name, said in entries.items():
        click.echo(f"  {name:{width}}  {said}")


def _environment() -> dict[str, str]:
    versions = {name: _version(name) or "missing" for name in _LIBRARIES}
    return {"lossatlas": _version("lossatlas") or "not installed", "Python": platform.python_version(),
            "system": platform.platform(), **versions}  # fmt: skip


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _devices() -> dict[str, str]:
    """Devices that torch can compute on here, in words."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {"cpu": f"{cores} cores, {torch.get_num_threads()} threads"}
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        found[f"cuda:{number}"] = f"{about.name}, {about.total_memory / 1024**3:.1f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "Metal"
    return found


def _extras() -> dict[str, str]:
    """What each extra brings: its libraries with their versions, or what is missing or broken and what to do."""
    found: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("lossatlas") or ():
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        library = re.match(r"[\w.-]+", line)
        if extra and library and library[0] != "lossatlas" and extra[1] != "all":
            found.setdefault(extra[1], []).append(library[0])
    first = {name: extra for extra, libraries in found.items() for name in libraries if _version(name)}
    owners = importlib.metadata.packages_distributions()
    modules = [_modules(name, owners) for name in first]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        faults = dict(zip(first, pool.map(_fault, first, first.values(), modules), strict=True))
    return {extra: _brought(extra, libraries, faults) for extra, libraries in found.items()}


def _brought(extra: str, libraries: list[str], faults: Mapping[str, str]) -> str:
    versions = {name: _version(name) for name in libraries}
    if missing := [name for name, version in versions.items() if not version]:
        return f"{', '.join(missing)} missing: pip install 'lossatlas[{extra}]'"
    if broken := [faults[name] for name in libraries if faults.get(name)]:
        return f"broken: {'; '.join(broken)}"
    return ", ".join(f"{name} {version}" for name, version in versions.items())


_IMPORTS = """
import sys
from lossatlas.extras import MissingExtraError, require
try:
    for module in sys.argv[2:]:
        require(module, extra=sys.argv[1], purpose=f"have the extra {sys.argv[1]}")
except MissingExtraError as fault:
    print(fault)
    sys.exit(1)
"""
_PATIENCE = 120.0


def _fault(library: str, extra: str, modules: list[str]) -> str:
    """Why a library that is installed cannot be imported, tried in a process of its own; empty where it can."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IMPORTS, extra, *modules],
            capture_output=True, text=True, timeout=_PATIENCE, check=False, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{library} could not be imported within {_PATIENCE:.0f} seconds"
    if done.returncode == 0:
        return ""
    if done.returncode == 1 and done.stdout.strip():
        return done.stdout.strip().splitlines()[-1]
    return f"{library} crashes Python when it is imported (exit status {done.returncode})"


def _modules(library: str, owners: Mapping[str, list[str]]) -> list[str]:
    """The modules that a distribution brings, by the files that it installed; without tests and private ones."""
    name = re.sub(r"[-_.]+", "-", library).lower()
    brought = [
        module
        for module, theirs in owners.items()
        if name in {re.sub(r"[-_.]+", "-", owner).lower() for owner in theirs} and module.isidentifier()
    ]
    public = [module for module in brought if not module.startswith("_") and not module.startswith("test")]
    own = [module for module in public if module.lower() == name.replace("-", "_")]
    return own or sorted(public) or [name.replace("-", "_")]


def self_test(devices: list[str]) -> Iterator[tuple[str, str]]:
    """A surface of known values, measured on each device, kept, opened again and drawn.

    Args:
        devices: as torch names them.

    Yields:
        What was tried, and "ok" with its time, or what went wrong.
    """
    import lossatlas as la
    from lossatlas.draw.renderer import suffixes
    from lossatlas.extras import MissingExtraError

    with tempfile.TemporaryDirectory() as folder:
        for device in devices:
            begun = time.perf_counter()
            try:
                error = _surface(device, Path(folder) / device.replace(":", "-"))
            except Exception as fault:  # whatever it is, the rest is still tried
                yield f"a surface on {device}", f"failed: {type(fault).__name__}: {fault}"
                continue
            said = "ok" if error < _CLOSE else f"failed: wrong by {error:.1g} relative"
            yield f"a surface on {device}", f"{said}, {time.perf_counter() - begun:.1f} s"
        landscape = la.landscape(x=[-1, 0, 1], y=[-1, 0, 1], loss=[[2, 1, 2], [1, 0, 1], [2, 1, 2]])
        for suffix in suffixes():
            begun = time.perf_counter()
            try:
                la.draw(landscape, Path(folder) / f"a{suffix}")
            except MissingExtraError as missing:
                yield f"a picture {suffix}", f"ok, left out: {missing}"
            except Exception as fault:
                yield f"a picture {suffix}", f"failed: {type(fault).__name__}: {fault}"
            else:
                yield f"a picture {suffix}", f"ok, {time.perf_counter() - begun:.1f} s"


def _surface(device: str, folder: Path) -> float:
    """The largest relative error of a quadratic bowl, measured, kept in a run folder and opened again."""
    import torch
    from torch.nn.functional import mse_loss

    import lossatlas as la

    model = torch.nn.Linear(2, 1, bias=False).to(device)
    inputs = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    with torch.no_grad():
        model.weight.zero_()
    objective: Any = la.Objective(model, (inputs, torch.tensor([[1.0], [2.0]])), loss=mse_loss)
    plane = la.Plane(
        objective.origin, {"x": {"weight": torch.tensor([[1.0, 0.0]])}, "y": {"weight": torch.tensor([[0.0, 1.0]])}}
    )
    la.sample(objective, plane, la.Grid(x=(-1, 1, 5), y=(-1, 1, 5)), run=folder, progress=False)
    found = la.open(folder)
    known = ((found["x"] - 1) ** 2 + (2 * found["y"] - 2) ** 2) / 2  # mean of two squared errors, by hand
    return float((abs(found["loss"] - known) / (1 + known)).max())
