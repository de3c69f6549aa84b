import sys
from pathlib import Path

import sklearn_sparselp

HERE = Path(__file__).resolve().parent
# What the studies share.
sys.path.insert(0, str(HERE / "studies"))

project = "sklearn_sparselp"
author = "the sklearn_sparselp developers"
copyright = f"2026, {author}"
release = version = sklearn_sparselp.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # formulas without a network
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
# The sources of the galleries are not pages of their own.
exclude_patterns = ["_build", "studies/*.rst", "tuning/*.rst"]
nitpicky = False
# What is inherited from scikit-learn refers to its user guide and glossary.
suppress_warnings = ["ref.ref", "ref.term"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_sparselp"
html_theme_options = {"show_toc_level": 2}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False

sphinx_gallery_conf = {
    "examples_dirs": ["studies", "tuning"],
    "gallery_dirs": ["gallery/studies", "gallery/tuning"],
    "filename_pattern": "plot_",
    "ignore_pattern": "studies.py",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "plot_gallery": True,
    "min_reported_time": 0,
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
