"""How a study becomes a page: it is run stage by stage, and its findings are written down."""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lossatlas.atomic import write_text
from lossatlas.oneline import number_of
from lossatlas_studies import networks, page
from lossatlas_studies.settings import assignments, described, reduced
from lossatlas_studies.stages import Bench, Say
from lossatlas_studies.study import Findings, Study

STAGES = "stages"
FINDINGS = "findings.json"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked for.

    Attributes:
        study: which study.
        scale: "small" or "paper"; where its settings begin.
        settings: its settings, perhaps changed by the user.
        dry: check every stage on at most a hundredth of its work.
        folder: holds the stages of all studies, and a folder for the page of each.
        device: where networks are trained and measured; empty for a GPU where there is one.
    """

    study: Study
    scale: str
    settings: Any
    folder: Path
    dry: bool = False
    device: str = ""

    @property
    def place(self) -> Path:
        """The folder of the page."""
        return self.folder / (f"dry-{self.scale}" if self.dry else self.scale) / self.study.name

    @property
    def command(self) -> str:
        """The command that does the same."""
        sets = assignments(self.settings, self.study.settings(self.scale))
        words = "".join(f" --set {words}" for words in sets)
        return f"lossatlas study {self.study.name} --scale {self.scale}{words}{' --dry-run' * self.dry}"


def perform(order: Order, say: Say = lambda words: None) -> Path:
    """Run a study and write its page.

    Args:
        order: what is asked for.
        say: called with a line about each stage that is run.

    Returns:
        The page, ``index.html`` in a folder with its figures, tables and findings.
    """
    device = order.device or ("cuda" if torch.cuda.is_available() else "cpu")
    bench = Bench(folder=order.folder / STAGES, device=device, say=say)
    settings = _reduced(order.settings, say) if order.dry else order.settings
    begun = time.perf_counter()
    findings = order.study.run(bench, settings)
    now = time.perf_counter() - begun
    place = order.place
    place.mkdir(parents=True, exist_ok=True)
    found = recorded(order, findings, bench, settings, now)
    written = page.write_page(place, order.study, findings, found)
    write_text(place / FINDINGS, json.dumps(found, indent=1, ensure_ascii=False))
    return written


def _reduced(settings: Any, say: Say) -> Any:
    """Settings for a dry run, which needs no data beyond what is at hand."""
    smaller = reduced(settings)
    words = getattr(settings, "data", "")
    if not networks.absent(words):
        return smaller
    say(f"{words} is not there: this dry run continues with made-up images of the same shape")
    return dataclasses.replace(smaller, data=networks.STAND_IN)


def recorded(order: Order, findings: Findings, bench: Bench, settings: Any, seconds: float) -> dict[str, Any]:
    """All that a page says besides its figures and tables, as plain values."""
    return {
        "study": order.study.name,
        "title": order.study.title,
        "scale": order.scale,
        "dry": order.dry,
        "command": order.command,
        "settings": {name: list(words) for name, words in described(settings).items()},
        "verdicts": [{**dataclasses.asdict(one), "words": one.words} for one in findings.verdicts],
        "stages": {name: done.seconds for name, done in bench.used.items()},
        "stage_seconds": bench.seconds,
        "seconds": seconds,
        "machine": machine(bench.device),
        "date": time.strftime("%Y-%m-%d"),
    }


def machine(device: str) -> Mapping[str, str]:
    """What it was run on: the class of machine, not which one."""
    on = number_of(torch.get_num_threads(), "processor thread")
    if device.startswith("cuda"):
        on = torch.cuda.get_device_name()
    return {
        "device": f"{device}, {on}, {platform.machine()}",
        "software": f"lossatlas {version('lossatlas')}, torch {version('torch')}, Python {platform.python_version()}",
    }
