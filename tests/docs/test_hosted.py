"""Do the buttons of the notebooks lead to where a hosted service opens them?"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx")
pytest.importorskip("myst_parser")
sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_extensions"))
import hosted
from sphinx.application import Sphinx

EXTENSIONS = Path(hosted.__file__).parent


def test_links_lead_to_the_notebook_of_the_repository():
    found = hosted.links("https://github.com/some/atlas.git", "examples/own_cnn.ipynb")
    assert found == {
        "Colab": "https://colab.research.google.com/github/some/atlas/blob/main/examples/own_cnn.ipynb",
        "Binder": "https://mybinder.org/v2/gh/some/atlas/main?labpath=examples%2Fown_cnn.ipynb",
    }
    assert hosted.links("", "examples/own_cnn.ipynb") == {}


@pytest.mark.parametrize(
    "address", ["github.com/o/n", "https://github.com/o", "javascript:alert(1)", "https://x.org/o/n"]
)
def test_an_address_of_another_kind_is_refused(address):
    with pytest.raises(ValueError, match="expected https://github.com/OWNER/NAME"):
        hosted.links(address, "a.ipynb")


@pytest.mark.parametrize("repository", ["", "https://github.com/some/atlas"])
def test_a_page_lists_the_notebooks(tmp_path, repository):
    (tmp_path / "examples").mkdir()
    cells = [{"cell_type": "markdown", "source": ["# My <first> one\n", "words"]}]
    (tmp_path / "examples" / "one.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "conf.py").write_text("extensions = ['myst_parser', 'hosted']\n")
    (tmp_path / "docs" / "index.md").write_text("# Page\n\n```{notebooks}\n```\n")
    places = [str(tmp_path / name) for name in ("docs", "docs", "site", "trees")]
    options = {"notebook_repository": repository}
    Sphinx(*places, "html", confoverrides=options, status=None, warning=None, warningiserror=True).build()
    page = (tmp_path / "site" / "index.html").read_text()
    assert "My &lt;first&gt; one" in page and "examples/one.ipynb" in page
    assert page.count("Open in") == (2 if repository else 0)
