"""The documentation as a site: `make docs`. The pages are the Markdown files and notebooks that GitHub shows, too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).parent))
from bnn import __version__

ROOT = Path(__file__).resolve().parents[2]

project = "bnn"
release = __version__
root_doc = "README"
include_patterns = [
    "*.md",
    "*.ipynb",
    "docs/*.md",
    "docs/*.ipynb",
    "docs/reference/*.md",
    "data/README.md",
    "results/**.md",
]
exclude_patterns = [
    path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in ("docs", "data", "results")
]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "markdown_site"]
nb_execution_mode = (
    "off"  # the notebooks and the pictures of the pages are stored; make notebooks executes them
)
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings have shapes and types
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"bnn {__version__}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["first_page"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_show_search_summary = False  # a page that is opened from disk cannot read other pages
