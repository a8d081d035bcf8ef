"""Sphinx' settings for PVC's manuals. Everything is made here and now; no page loads anything from elsewhere."""

project = "PVC"
author = "PVC's contributors"
copyright = author
extensions = ["myst_parser", "sphinx_click"]
html_theme = "furo"
html_title = "PVC"
html_show_sphinx = False
html_copy_source = False
myst_heading_anchors = 4
exclude_patterns = ["examples/**"]
highlight_language = "none"
suppress_warnings = ["misc.highlighting_failure"]
