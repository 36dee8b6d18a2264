"""Executed notebooks as web pages: nbconvert with a template of our own, which needs no script."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medisyn_lib.reporting import web_pages
from medisyn_lib.reporting.render import FIGURE_KEY
from medisyn_lib.runtime.store import write_atomic

# What pandas needs to show a table; everything else in an output's HTML goes.
TABLE_TAGS = (
    "table caption thead tbody tfoot tr th td div p br b i em strong code pre span ul ol li"
)
TABLE_ATTRIBUTES = ("rowspan", "colspan", "scope")


@dataclass(frozen=True)
class ExecutedNotebook:
    """A notebook with its outputs.

    `figures` maps the name of each figure to the number of the cell that shows it, from 1. `took` is
    how many seconds it ran; None where nobody measured.
    """

    stem: str
    title: str
    content: Any
    figures: Mapping[str, int]
    took: float | None

    @property
    def number(self) -> str:
        """The notebook's number, two digits."""
        return self.stem[:2]

    @property
    def file(self) -> str:
        """The name of its page."""
        return f"{self.stem}.html"


def read_notebook(path: Path) -> ExecutedNotebook:
    """Read an executed notebook."""
    import nbformat

    content = nbformat.read(path, as_version=4)
    figures: dict[str, int] = {}
    for number, cell in enumerate(content.cells, 1):
        for output in cell.get("outputs", []):
            if name := figure_of(output):
                figures[name] = number
    took = content.metadata.get("papermill", {}).get("duration")
    return ExecutedNotebook(path.stem, _title(content, path.stem), content, figures, took)


def _title(content: Any, stem: str) -> str:
    """Return a notebook's first heading; its name where it has none."""
    for cell in content.cells:
        heading = re.match(r"# (.+)", cell.source) if cell.cell_type == "markdown" else None
        if heading:
            return heading[1]
    return stem.replace("_", " ")


def figure_of(output: Mapping[str, Any]) -> str:
    """Return the name of the figure that an output shows; empty for another output."""
    for metadata in output.get("metadata", {}).values():
        if isinstance(metadata, Mapping) and FIGURE_KEY in metadata:
            return str(metadata[FIGURE_KEY])
    return ""


def write_notebooks(
    folder: Path, notebooks: Sequence[ExecutedNotebook], made_by: str, warning: str = ""
) -> None:
    """Write a page for each notebook.

    Standard error is left out: libraries write their chatter there, with names of folders.

    Parameters
    ----------
    folder : Path
        Where the pages go.
    notebooks : sequence of ExecutedNotebook
        In their order; each page leads to all others.
    made_by : str
        The command that writes the pages.
    warning : str
        What stands on top of each page; empty for nothing.
    """
    exporter = _exporter(made_by)
    for place, notebook in enumerate(notebooks):
        page = {
            "title": notebook.title,
            "file": notebook.file,
            "others": notebooks,
            "before": notebooks[place - 1] if place else None,
            "after": notebooks[place + 1] if place + 1 < len(notebooks) else None,
            "warning": warning,
        }
        html, _ = exporter.from_notebook_node(notebook.content, {"page": page})
        write_atomic(folder / notebook.file, html)


def _exporter(made_by: str) -> Any:
    """Return nbconvert's exporter, whose own templates would load scripts from the web."""
    import jinja2
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        raw_template=(web_pages.TEMPLATES / "notebook.html").read_text("utf-8"),
        extra_loaders=[jinja2.FileSystemLoader(web_pages.TEMPLATES)],
    )
    exporter.environment.autoescape = True
    exporter.environment.globals.update(web_pages.frame(made_by))
    for function in (web_pages.markdown_html, tables_only, figure_of, figure_words):
        exporter.register_filter(function.__name__, function)
    return exporter


def tables_only(html: str) -> str:
    """Return an output's HTML with nothing in it but tables and words: no style, script, link or picture."""
    import bs4

    soup = bs4.BeautifulSoup(html, "html.parser")
    for tag in soup.find_all(["style", "script", "template", "iframe", "object"]):
        tag.decompose()
    for tag in soup.find_all(True):
        if tag.name not in TABLE_TAGS.split():
            tag.unwrap()
        else:
            tag.attrs = {key: tag.attrs[key] for key in TABLE_ATTRIBUTES if key in tag.attrs}
        if tag.name == "th" and not tag.get_text(strip=True):
            tag.name = "td"  # a corner heads nothing
    return str(soup)


def figure_words(name: str, cell: int) -> str:
    """Say what a picture shows: a figure by its name, any other by its cell."""
    from medisyn_lib.reporting.gallery import FIGURES

    spec = FIGURES.get(name.partition(".")[0])
    return spec.shows if spec else f"Picture that cell {cell} drew"
