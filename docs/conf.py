"""Configuration of the documentation."""

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
