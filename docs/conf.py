"""How the site is built: Sphinx with MyST, the mathematics bundled, no request to another host."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tqdm.std import tqdm

import lossatlas

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

from elsewhere import mapping  # beside this file

project = "lossatlas"
author = "The lossatlas authors"
version = release = lossatlas.__version__
copyright = "the lossatlas authors, MIT licence"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",
    "hosted",
]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]
exclude_patterns = ["_build", "images/*.md", "gallery"]

# Every example of the gallery runs when the site is built. LOSSATLAS_GALLERY, a pattern of file names, chooses some
# of them; the others are then shown without their pictures.
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "pictures",
    "filename_pattern": os.environ.get("LOSSATLAS_GALLERY", r"\.py"),
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("written.scraper",),
    "capture_repr": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "reset_modules": (),
    "default_thumb_file": str(Path(__file__).parent / "_static" / "logo.svg"),
    "remove_config_comments": True,
}

# The reference lists what a module's `__all__` names, in the order of its source, and nothing else.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 88
add_module_names = False
html_theme = "pydata_sphinx_theme"
html_title = f"lossatlas {version}"
html_favicon = "_static/logo.svg"
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": f"lossatlas {version}", "image_light": "_static/logo.svg", "image_dark": "_static/logo.svg"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
html_sidebars = {"index": []}

# A site that keeps several versions, each in a folder of its own, names its list of them (in the form of
# pydata-sphinx-theme's version switcher), and every page gets a menu: LOSSATLAS_VERSIONS=/versions.json make docs
if versions := os.environ.get("LOSSATLAS_VERSIONS"):
    html_theme_options["switcher"] = {"json_url": versions, "version_match": version}
    html_theme_options["navbar_end"] = ["version-switcher", "theme-switcher"]
    html_theme_options["check_switcher"] = False  # the list lies where the site is served


# The reference lists `lossatlas.sample`; a reference to `lossatlas.sampling.run.sample`, where it lives, leads there.
_PUBLIC = {f"lossatlas.{home}.{name}": f"lossatlas.{name}" for name, home in lossatlas._HOMES.items()} | {
    "lossatlas.draw.view.View": "lossatlas.View",
    "lossatlas.objective.objective.Objective": "lossatlas.Objective",
}


def _known_as(app, env, node, contents):  # type: ignore[no-untyped-def]
    public = _PUBLIC.get(node.get("reftarget", "").lstrip("."))
    if node.get("refdomain") != "py" or public is None:
        return None
    found = env.domains["py"].resolve_any_xref(env, node["refdoc"], app.builder, public, node, contents)
    return found[0][1] if found else None


def _elsewhere(app, config):  # type: ignore[no-untyped-def]
    config.intersphinx_mapping = mapping(Path(app.doctreedir) / "inventories")


def _without_bars() -> None:
    """A page of the gallery shows what its example prints, not how far it is, however slow the machine."""
    with_bar = tqdm.__init__
    tqdm.__init__ = lambda self, *args, **options: with_bar(self, *args, **{**options, "disable": True})


# What reaches beyond this file waits for Sphinx: the tests read it too, as they read every file of the documentation.
def setup(app):  # type: ignore[no-untyped-def]
    """Sphinx calls this."""
    _without_bars()
    app.connect("config-inited", _elsewhere, priority=100)  # before intersphinx looks at it
    app.connect("missing-reference", _known_as)
