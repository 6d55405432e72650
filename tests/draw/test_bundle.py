"""Is the page in the package the one that the sources beside it give?"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

WEB = Path(__file__).resolve().parents[2] / "web"


def bundle() -> ModuleType:
    found = importlib.util.spec_from_file_location("bundle", WEB / "bundle.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_page_was_built_from_the_sources_that_are_here() -> None:
    assert bundle().fresh(), "run `make page` and commit what changes"


def test_a_changed_source_and_a_changed_page_are_seen(tmp_path: Path) -> None:
    module = bundle()
    shutil.copytree(WEB / "src", tmp_path / "web" / "src")
    for name in ("package-lock.json", "vite.config.ts"):
        shutil.copy(WEB / name, tmp_path / "web" / name)
    shutil.copytree(module.PAGE, tmp_path / "page")
    module.WEB, module.PAGE = tmp_path / "web", tmp_path / "page"
    assert module.fresh()
    for path in (tmp_path / "web" / "src" / "field.ts", tmp_path / "page" / "atlas.css"):
        kept = path.read_bytes()
        path.write_bytes(kept + b" ")
        assert not module.fresh()
        path.write_bytes(kept)
    assert module.fresh()
