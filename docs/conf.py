"""Configuration of the documentation."""

import re

import sktransfer

project = "sktransfer"
author = "the sktransfer developers"
copyright = f"2026, {author}"
release = version = sktransfer.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["examples", "images"]
# Docstrings inherited from scikit-learn refer to its own pages.
suppress_warnings = ["ref.ref"]
default_role = "literal"
html_theme = "pydata_sphinx_theme"
html_theme_options = {"secondary_sidebar_items": ["page-toc"], "navigation_with_keys": False}
html_show_sphinx = False

autosummary_generate = True
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"quickstart\.py",
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


def setup(app):
    app.connect("autodoc-process-docstring", keep_plain_text, priority=400)  # before numpydoc
