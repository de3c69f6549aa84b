import sklearn_sparselp

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
]
exclude_patterns = ["_build"]
nitpicky = False
# The score inherited from scikit-learn refers to a section of its user guide.
suppress_warnings = ["ref.ref"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_sparselp"
html_theme_options = {"show_toc_level": 2}
html_show_sourcelink = False
