"""What all web pages of a run share: templates, style sheet, content policy, Markdown as HTML.

A page runs no script, and its policy lets it load nothing but what lies in it or, where it is told so, beside it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medisyn_lib.claims.words import plain_name

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).with_name("templates")
INDEX = "index.html"
PAGES = "pages"  # the folder beside it, with the pages of notebooks and cards


def environment() -> jinja2.Environment:
    """Return the templates, in which what is filled in is escaped and nothing may be missing."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    made.filters["plain_name"] = plain_name
    return made


def render(template: str, made_by: str, *, pictures_beside: bool = False, **fields: Any) -> str:
    """Fill in a page.

    Parameters
    ----------
    template : str
        File name in `templates/`.
    made_by : str
        The command that writes the page.
    pictures_beside : bool
        Whether pictures lie in files beside the page, rather than in it.
    **fields : Any
        What the template shows.
    """
    head = frame(made_by, pictures_beside=pictures_beside)
    return environment().get_template(template).render(**head, **fields)


def frame(made_by: str, *, pictures_beside: bool = False) -> dict[str, Any]:
    """Return what `layout.html` shows around each page: the style sheet and a policy that names its hash."""
    style = (TEMPLATES / "page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    beside = " 'self'" if pictures_beside else ""
    policy = (
        f"default-src 'none'; img-src data:{beside}; "
        f"style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return {"made_by": made_by, "policy": policy, "style": style}


def markdown_html(text: str) -> str:
    """Return Markdown as HTML: tags in it are shown and not obeyed, links into the repository are plain text."""
    return str(_markdown()(text))


@functools.cache
def _markdown() -> Any:
    """Return the converter, with tables that scroll on their own."""
    import mistune

    class Renderer(mistune.HTMLRenderer):
        """HTML for a page that lies elsewhere than its Markdown."""

        def link(self, text: str, url: str, title: str | None = None) -> str:
            """Return a link to the web; of one to a file of the repository, which lies elsewhere, its words."""
            return super().link(text, url, title) if re.match(r"https?:", url) else text

        def image(self, text: str, url: str, title: str | None = None) -> str:
            """Return the words of a picture, which lies elsewhere, too."""
            return text

        def table(self, text: str) -> str:
            """Return a table that is scrolled, by keys too, where it is wider than the page."""
            return f'<div class="wide" tabindex="0" role="group" aria-label="Table"><table>\n{text}</table></div>\n'

        def table_cell(self, text: str, align: str | None = None, head: bool = False) -> str:
            """Return a cell; an empty one heads nothing."""
            name = "th" if head and text.strip() else "td"
            return f"<{name}>{text}</{name}>\n"

    return mistune.create_markdown(renderer=Renderer(escape=True), plugins=["table", "url"])
