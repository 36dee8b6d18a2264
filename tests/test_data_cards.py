"""The cards of data: valid metadata, and the counts, classes and licence that the source itself states."""

from __future__ import annotations

import re
from pathlib import Path

import medmnist
import pytest
from huggingface_hub import DatasetCard

from medisyn_lib.data.cards import SIZES
from medisyn_lib.data.npz import MODALITY_OF

CARDS = Path(__file__).resolve().parents[1] / "data_cards"


@pytest.mark.parametrize("path", sorted(CARDS.rglob("*.md")), ids=lambda path: path.stem)
def test_every_card_is_valid_and_says_what_it_is_not_for(path: Path) -> None:
    card = DatasetCard.load(path)
    assert (
        card.data.pretty_name
        and card.data.license
        and "image-classification" in card.data.task_categories
    )
    assert set(card.data.size_categories) <= set(SIZES) and "medical" in card.data.tags
    assert "Not for clinical use" in card.text
    assert path.stem == "phantom" or "**Not shipped.**" in card.text


def test_every_set_that_the_source_knows_has_a_card() -> None:
    assert {path.stem for path in (CARDS / "medmnist").glob("*.md")} == set(MODALITY_OF)


@pytest.mark.parametrize("name", MODALITY_OF)
def test_a_card_states_what_medmnist_states(name: str) -> None:
    info, card = medmnist.INFO[name], DatasetCard.load(CARDS / "medmnist" / f"{name}.md")
    text = " ".join(card.text.split())
    counts = re.search(
        r"\| split \| train \| val \| test \|.*?\| images \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|",
        text,
    )
    assert counts
    stated = [int(number.replace(",", "")) for number in counts.groups()]
    assert stated == [info["n_samples"][split] for split in ("train", "val", "test")]
    limits = [0, *SIZES.values()]
    place = list(SIZES).index(card.data.size_categories[0])
    assert limits[place] <= sum(stated) < limits[place + 1]
    classes = re.search(r"\*\*Classes\*\*: (.*?) - \*\*", text)
    assert classes and re.findall(r"`([^`]+)`", classes.group(1)) == list(info["label"].values())
    assert (
        card.data.license == info["license"].lower().replace(" ", "-")
        and f"**Licence**: {info['license']}." in text
    )
    assert f"**Task**: {info['task']}, {len(info['label'])} classes" in text
    assert f"# {info['python_class']}:" in text and f"`--data medmnist:{name}`" in text
    assert f"`{MODALITY_OF[name]}`" in text and "identity unknown" in text
    assert (
        "doi:10.1038/s41597-022-01721-8" in text
        and "**Source**:" in text
        and "## Known biases" in text
    )
