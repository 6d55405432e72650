"""Which notebooks does the repository have, and where does a hosted notebook service open each of them?

``sphinx-build -D notebook_repository=https://github.com/OWNER/NAME`` adds the buttons. Nobody says where a copy of the
repository lies but whoever publishes it, so there are none without it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

BRANCH = "main"


def links(repository: str, notebook: str) -> dict[str, str]:
    """Addresses that open a notebook, by the name of the service.

    Args:
        repository: address of the repository on GitHub, the one place that both services read from.
        notebook: its path in the repository.

    Returns:
        Addresses; none where no repository is given.

    Raises:
        ValueError: it is the address of no repository on GitHub.

    Example:
        >>> links("https://github.com/o/n", "examples/a b.ipynb")["Binder"]
        'https://mybinder.org/v2/gh/o/n/main?labpath=examples%2Fa%20b.ipynb'
    """
    if not repository:
        return {}
    place = urlsplit(repository.removesuffix(".git"))
    name = place.path.strip("/")
    if (place.scheme, place.netloc) != ("https", "github.com") or name.count("/") != 1:
        raise ValueError(f"notebook_repository={repository!r}; expected https://github.com/OWNER/NAME")
    return {
        "Colab": f"https://colab.research.google.com/github/{quote(name)}/blob/{BRANCH}/{quote(notebook)}",
        "Binder": f"https://mybinder.org/v2/gh/{quote(name)}/{BRANCH}?labpath={quote(notebook, safe='')}",
    }


def title(notebook: Path) -> str:
    """The first heading of a notebook."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    lines = (line for cell in cells if cell["cell_type"] == "markdown" for line in "".join(cell["source"]).splitlines())
    return next((line.lstrip("# ") for line in lines if line.startswith("#")), notebook.stem)


class Notebooks(SphinxDirective):
    """The notebooks of the repository, each with its buttons."""

    def run(self) -> list[nodes.Node]:
        """Sphinx calls this."""
        root = Path(self.env.srcdir).parent
        found = nodes.bullet_list()
        for path in sorted((root / "examples").glob("*.ipynb")):
            self.env.note_dependency(str(path))
            place = path.relative_to(root).as_posix()
            line = nodes.paragraph("", "", nodes.Text(f"{title(path)} ("), nodes.literal(place, place), nodes.Text(")"))
            for service, address in links(self.config.notebook_repository, place).items():
                words = f"Open in {service}"
                line += [nodes.Text(" "), nodes.reference("", words, refuri=address, classes=["hosted"])]
            found += nodes.list_item("", line)
        return [found]


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls this."""
    app.add_config_value("notebook_repository", "", "env", types=frozenset({str}))
    app.add_directive("notebooks", Notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
