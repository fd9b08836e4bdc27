"""Sphinx configuration: `make docs` builds these pages, and every warning is an error."""

import re

import click
from docutils import nodes
from sphinx.application import Sphinx

from screening import __version__

project = "Screening"
project_copyright = "The Screening authors"
version = release = __version__

extensions = ["myst_parser", "sphinx_click"]
exclude_patterns = ["_build"]
nitpicky = True
smartquotes = False  # -- stays two hyphens
highlight_language = "none"  # most blocks are commands with comments, or output

myst_enable_extensions = ["deflist"]  # MyST reads tables without an extension
myst_heading_anchors = 4  # page.md#heading must exist

html_theme = "furo"
html_title = f"Screening {release}"
html_copy_source = False


def _escape(match: re.Match[str]) -> str:
    text = match.group()
    return text if len(text) > 1 else f"\\{text}"


def _as_rest(_app: Sphinx, _context: click.Context, lines: list[str]) -> None:
    """Turn help texts into reStructuredText: `code` into ``code``, and defaults without quotes."""
    text = "\n".join(lines)
    text = re.sub(r":default: ``(?:\w+\()?'(.*?)'\)?``", r":default: ``\1``", text)
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text)
    lines[:] = re.sub(r"(?s)``.+?``|\*\*Required\*\*|[*\\]|_(?!\w)", _escape, text).split("\n")


def _add_command_anchors(app: Sphinx, doctree: nodes.document) -> None:
    """Make command-reference.md#screening-run a target that links are checked against."""
    if app.env.docname != "command-reference":
        return
    for section in doctree.findall(nodes.section):
        anchor, title = section["ids"][0], section[0].astext()
        app.env.domains.standard_domain.note_hyperlink_target(
            anchor, app.env.docname, anchor, title
        )


def setup(app: Sphinx) -> None:
    """Connect the functions above to Sphinx."""
    for part in ("description", "options"):
        app.connect(f"sphinx-click-process-{part}", _as_rest)
    app.connect("doctree-read", _add_command_anchors)
