"""What readers read before they begin: consent and instructions, as text files that anyone can edit."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path

from medisyn_lib.errors import InputError

__all__ = ["DEFAULTS", "NAMES", "as_html", "read_texts"]

DEFAULTS = Path(__file__).parent  # where the texts that ship lie
NAMES = ("consent", "instructions")  # each a file NAME.txt
LONGEST = 20_000  # characters


def read_texts(folder: Path) -> dict[str, str]:
    """Return `consent.txt` and `instructions.txt` of a folder, by their names.

    Raises
    ------
    InputError
        Where one is absent, no UTF-8, empty or over 20,000 characters.
    """
    texts = {}
    for name in NAMES:
        path = folder / f"{name}.txt"
        try:
            text = path.read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: no text file in UTF-8 there; write one") from error
        if not 0 < len(text) <= LONGEST:
            raise InputError(f"{path}: {len(text)} characters; write 1 to {LONGEST}")
        texts[name] = text
    return texts


def as_html(text: str) -> str:
    """Return a text as HTML: `# ` begins a heading, `- ` an item of a list, an empty line ends a paragraph.

    Everything else is text, so that no mark-up of its own gets through.
    """
    return "\n".join(part for block in text.split("\n\n") for part in _parts(block))


def _parts(block: str) -> Iterator[str]:
    """The headings, lists and paragraphs of a block of lines."""
    lines = [line.strip() for line in block.splitlines() if line.strip()]
    for mark, group in groupby(lines, lambda line: line[:2] if line[:2] in ("# ", "- ") else ""):
        words = [escape(line.removeprefix(mark)) for line in group]
        if mark == "# ":
            yield from (f'<h1 tabindex="-1">{heading}</h1>' for heading in words)
        elif mark == "- ":
            yield "<ul>" + "".join(f"<li>{item}</li>" for item in words) + "</ul>"
        else:
            yield f"<p>{' '.join(words)}</p>"
