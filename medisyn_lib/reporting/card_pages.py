"""Model and data cards as web pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from medisyn_lib.reporting import web_pages
from medisyn_lib.runtime.paths import project_root
from medisyn_lib.runtime.store import write_atomic

MODEL_CARD = "model_card.md"  # of the generator that a run judged


@dataclass(frozen=True)
class Card:
    """A card: its Markdown file, what it is of, and the name of its page."""

    path: Path
    kind: str
    file: str

    @property
    def text(self) -> str:
        """The whole file."""
        return self.path.read_text("utf-8")

    @property
    def title(self) -> str:
        """Its first heading."""
        heading = re.search(r"^# (.+)$", self.text, flags=re.MULTILINE)
        return heading[1] if heading else self.path.stem


def model_cards() -> list[Card]:
    """Return the cards of the networks that ship with the package."""
    shipped = Path(str(files("medisyn_lib.models"))) / "shipped"
    return [
        Card(
            shipped / "flagship" / "README.md",
            "Model card, ships with the package",
            "flagship.html",
        ),
        Card(shipped / "README.md", "Model card, ships with the package", "autoencoder.html"),
    ]


def data_cards(source: str | None = None) -> list[Card]:
    """Return the committed cards of a data source, such as `medmnist:bloodmnist@64`; of all for None."""
    folder = project_root() / "data_cards"
    kind, _, names = (source or "").partition(":")
    chosen = {name.partition("@")[0] for name in names.split(",")} if names else {kind}
    cards = []
    for path in sorted(folder.rglob("*.md"), key=lambda path: (len(path.parts), path.name)):
        if source is None or path.stem in chosen:
            cards.append(Card(path, "Data card", f"data-{path.stem}.html"))
    return cards


def cards_of_run(out: Path, source: str) -> list[Card]:
    """Return the card of the generator that a run judged, of the shipped autoencoder, and of the run's data."""
    judged = Card(
        out / MODEL_CARD, "Model card of the generator that was judged", "model_card.html"
    )
    own = [judged] if judged.path.is_file() else []
    autoencoder = model_cards()[1:]
    return [*own, *autoencoder, *data_cards(source)]


def write_cards(folder: Path, cards: Sequence[Card], made_by: str) -> None:
    """Write a page for each card."""
    from huggingface_hub import RepoCard

    for card in cards:
        content = RepoCard(card.text)
        page = web_pages.render(
            "card.html",
            made_by,
            title=card.title,
            kind=card.kind,
            body=web_pages.markdown_html(content.text),
            metadata=content.data.to_dict(),
        )
        write_atomic(folder / card.file, page)
