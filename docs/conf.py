"""How `make docs` builds the site: Markdown pages as they are, commands and gallery examples executed, the API read off the docstrings."""

import logging
import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "site")]
os.environ |= {"HEARTLENS_OFFLINE": "1", "HEARTLENS_CHECKPOINTS": ""}  # every example runs on the models that come along

import heartlens  # noqa: E402

logging.getLogger("fontTools").setLevel(logging.WARNING)

project, author, release = "heartlens", "The heartlens authors", heartlens.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_gallery.gen_gallery", "pages", "executed"]
exclude_patterns = [
    "_made",
    "site",
    "gallery",
    "gallery_pages/*.ipynb",
    "gallery_pages/*.py",
    "**/sg_execution_times.rst",
    "sg_execution_times.rst",
]
html_theme, html_title, html_copy_source = "furo", "heartlens", False
html_static_path: list[str] = []
highlight_language = "text"
myst_heading_anchors = 4
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types in signatures link to nothing; links in pages must lead somewhere
autodoc_typehints, autodoc_member_order = "signature", "bysource"
python_use_unqualified_type_names = True
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "gallery_pages",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("executed.figures_of",),
    "reset_modules": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "min_reported_time": 1000,
    "show_signature": False,
}
