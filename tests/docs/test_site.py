"""Is every page of the documentation what a reader should see: mathematics set, pictures there, no other host asked?"""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import lossatlas as la

CHROMIUM = Path("/usr/bin/chromium")
ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}"),
]
RAW = re.compile(
    r"\\\(|\\\[|\$\$|\\(?:frac|theta|alpha|sum|lambda|delta|eta)\b|:(?:math|class|func|mod|meth|data):|```|:::|!!! "
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` builds it, served on loopback; `make test` has just built it and says where."""
    built = os.environ.get("LOSSATLAS_SITE")
    folder = Path(built) if built else tmp_path_factory.mktemp("site")
    if not built:
        command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", "--builder", "html"]
        done = subprocess.run([*command, str(ROOT / "docs"), str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def page():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1280, "height": 900})
        browser.close()


def faults_of(page, address, home):
    """What a reader would stumble over on a page."""
    faults = []
    listeners = {
        "console": lambda message: faults.append(f"console: {message.text}") if message.type == "error" else None,
        "pageerror": lambda error: faults.append(f"script: {error}"),
        "request": lambda request: (
            faults.append(f"asks {request.url}") if not request.url.startswith((home, "data:", "blob:")) else None
        ),
        "response": lambda response: (
            faults.append(f"{response.status} {response.url}") if response.status >= 400 else None
        ),
    }
    for event, listener in listeners.items():
        page.on(event, listener)
    page.goto(address, wait_until="load")
    page.evaluate("() => window.MathJax && window.MathJax.startup && window.MathJax.startup.promise")
    article = page.locator("article").first
    seen = article.evaluate(
        "node => { const copy = node.cloneNode(true);"
        " copy.querySelectorAll('pre, code, mjx-container, script').forEach(e => e.remove()); return copy.innerText; }"
    )
    faults += [f"raw markup: {seen[max(0, hit.start() - 30) : hit.end() + 30]!r}" for hit in RAW.finditer(seen)]
    faults += article.evaluate(
        "node => [...node.querySelectorAll('img')].filter(e => !e.complete || !e.naturalWidth).map(e => 'broken ' + e.src)"
    )
    faults += article.evaluate(
        "node => [...node.querySelectorAll('.math')].filter(e => !e.querySelector('mjx-container'))"
        ".map(e => 'mathematics not set: ' + e.textContent)"
    )
    faults += article.evaluate(
        "node => [...node.querySelectorAll('mjx-merror')].map(e => 'wrong TeX: ' + e.textContent)"
    )
    for event, listener in listeners.items():
        page.remove_listener(event, listener)
    return faults


def test_every_page_is_whole(site, page):
    folder, home = site
    pages = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.html") if "_static" not in path.parts)
    assert len(pages) > 20
    found = {
        name: faults_of(page, f"{home}/{name}", home) for name in pages if name not in ("search.html", "genindex.html")
    }
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_types_of_other_projects_lead_to_their_documentation(site):
    folder, _ = site
    reference = "".join(path.read_text() for path in sorted((folder / "reference").glob("*.html")))
    for project in ("docs.python.org/3", "numpy.org/doc", "docs.pytorch.org", "docs.xarray.dev", "matplotlib.org"):
        assert re.search(f'class="reference external" href="https://{project}[^"]*#', reference), project


def test_a_site_of_several_versions_has_a_menu_of_them(tmp_path, page):
    listed = [{"version": la.__version__, "url": "/new/", "name": "this one"}, {"version": "0.1.0", "url": "/old/"}]
    (tmp_path / "versions.json").write_text(json.dumps(listed))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A page\n")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--builder", "html", "-c", str(ROOT / "docs")]
    command += ["-D", "extensions=myst_parser", str(tmp_path / "docs"), str(tmp_path / "new")]
    told = os.environ | {"LOSSATLAS_VERSIONS": "/versions.json"}
    subprocess.run(command, check=True, capture_output=True, env=told)
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/new/index.html")
        button = page.locator(".version-switcher__button").first
        button.get_by_text("this one").wait_for()
        button.click()
        assert page.locator(".version-switcher__menu").first.inner_text().split("\n") == ["this one", "0.1.0"]
        server.shutdown()


def test_a_page_with_raw_mathematics_is_found(site, page):
    folder, home = site
    text = r"<article><p>The loss \(L(\theta)\) of :math:`x`</p><img src='none.png'></article>"
    (folder / "planted.html").write_text(text, encoding="utf-8")
    faults = faults_of(page, f"{home}/planted.html", home)
    (folder / "planted.html").unlink()
    assert any("raw markup" in fault for fault in faults)
    assert any("none.png" in fault for fault in faults)


def test_every_example_of_the_gallery_has_a_picture_of_its_own(site):
    folder, _ = site
    examples = sorted(path.stem for path in (ROOT / "docs" / "gallery").glob("*.py"))
    assert len(examples) >= 30
    pages = {name: (folder / "pictures" / f"{name}.html").read_text(encoding="utf-8") for name in examples}
    assert [name for name, page in pages.items() if f"sphx_glr_{name}_001." not in page] == []
