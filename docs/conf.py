"""Configuration of the documentation."""

import os
import re
from collections import Counter
from functools import cache
from pathlib import Path

import sktransfer

project = "sktransfer"
author = "the sktransfer developers"
copyright = f"2026, {author}"
release = version = sktransfer.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["examples", "images"]
templates_path = ["_templates"]
nitpicky = True
# Docstrings inherited from scikit-learn refer to its own pages, and to its glossary.
suppress_warnings = ["ref.ref", "ref.term"]
# Names of other projects lead to their pages where these can be reached, which a build offline does not try.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", None),
    "numpy": ("https://numpy.org/doc/stable/", None),
    "scipy": ("https://docs.scipy.org/doc/scipy/", None),
    "sklearn": ("https://scikit-learn.org/stable/", None),
    "skorch": ("https://skorch.readthedocs.io/en/stable/", None),
    "torch": ("https://docs.pytorch.org/docs/stable/", None),
}
if not os.environ.get("SKTRANSFER_DOCS_ONLINE"):
    intersphinx_mapping = {}
nitpick_ignore_regex = [("py:.*", r"(sklearn|scipy|numpy|torch|skorch|timm)\..*")]
default_role = "literal"
html_title = project
html_theme = "pydata_sphinx_theme"
html_theme_options = {"secondary_sidebar_items": ["page-toc"], "navigation_with_keys": False}
html_show_sphinx = False

autosummary_generate = True
numpydoc_show_class_members = False
autodoc_typehints = "none"

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/(quickstart|plot_)",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sktransfer",),
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
}


def keep_plain_text(app, what, name, obj, options, lines):
    """Escape what Sphinx would take for references: ``n_features_in_,`` and ``|x - z|`` in docstrings are text."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(`+[^`]*`+)", line)
            parts[::2] = [re.sub(r"(?<=\w)_(?=[,)]|\s(?!:)|$)|\|", r"\\\g<0>", part) for part in parts[::2]]
            lines[number] = "".join(parts)


def leave_out_routing(app, what, name, obj, skip, options):
    """Leave out what every estimator has from scikit-learn and no reader looks for here."""
    return True if re.fullmatch(r"set_\w+_request|get_metadata_routing", name) else skip


@cache
def pages_of_guide():
    """Give the pages of the guide with the number of times that each names what is public."""
    places = sorted(Path(__file__).parent.glob("user_guide/*.rst"))
    return {f"/user_guide/{place.stem}": Counter(re.findall(r"\w+", place.read_text("utf-8"))) for place in places}


def lead_to_guide(app, what, name, obj, options, lines):
    """Say which pages of the guide tell of a public name: the three that name it most often."""
    place, _, own = name.rpartition(".")
    if place == "sktransfer" and own in sktransfer.__all__:
        counts = {page: words[own] for page, words in pages_of_guide().items() if words[own]}
        first = sorted(counts, key=lambda page: -counts[page])[:3]
        if first:
            lines.extend(
                ["", ".. seealso:: " + ", ".join(f":doc:`{page}`" for page in first) + " in the user guide", ""]
            )


def setup(app):
    app.connect("autodoc-skip-member", leave_out_routing)
    app.connect("autodoc-process-docstring", lead_to_guide, priority=900)  # after numpydoc
    app.connect("autodoc-process-docstring", keep_plain_text, priority=400)  # before numpydoc
