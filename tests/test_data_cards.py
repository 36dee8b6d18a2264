"""Cards of data and models: metadata that the hub takes, and the counts, classes and licence that a source states."""

from __future__ import annotations

import hashlib
import inspect
import re
from pathlib import Path

import medmnist
import numpy as np
import pytest
from huggingface_hub import DatasetCard, DatasetCardData, InferenceClient, ModelCard, ModelCardData
from test_data_sources import REAL_PANEL

from medisyn_lib.data.cards import SIZES
from medisyn_lib.data.npz import MODALITY_OF

ROOT = Path(__file__).resolve().parents[1]
CARDS = ROOT / "data_cards"
MODELS = [
    ROOT / "medisyn_lib/models/shipped/README.md",
    ROOT / "medisyn_lib/models/shipped/flagship/README.md",
    ROOT / "medisyn_lib/pipeline/model_card.md",  # filled in for each generator that is trained
]
# Identifiers of licences on the hub that are used here, and what it knows of who labelled.
LICENCES = {"apache-2.0", "cc-by-4.0", "cc-by-nc-4.0", "cc0-1.0", "other"}
ANNOTATORS = {"expert-generated", "machine-generated", "crowdsourced", "found", "no-annotation"}


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


@pytest.mark.skipif(
    not REAL_PANEL.is_dir(), reason="no real images here: set MEDISYN_REAL_PANEL to their folder"
)
def test_the_panel_s_card_names_every_file_by_its_hash() -> None:
    text = " ".join((CARDS / "public-panel.md").read_text("utf-8").split())
    files = sorted(REAL_PANEL.glob("*.npz"))
    assert len(files) == 10
    for path in files:
        assert f"SHA-256 `{hashlib.sha256(path.read_bytes()).hexdigest()}`" in text, path.name
        with np.load(path) as arrays:
            counts = [len(arrays[f"{split}_labels"]) for split in ("train", "val", "test")]
        assert f"| {', '.join(map(str, counts))} |" in text, path.name


def tasks(*names: str) -> bool:
    """Whether the hub knows these tasks: its client has a method for each."""
    return all(hasattr(InferenceClient, name.replace("-", "_")) for name in names)


def fields(data: type) -> set[str]:
    """The metadata that the hub knows by name; `tags` takes the rest."""
    return {*inspect.signature(data).parameters, "tags"} - {"kwargs", "ignore_metadata_errors"}


@pytest.mark.parametrize("path", sorted(CARDS.rglob("*.md")), ids=lambda path: path.stem)
def test_the_hub_takes_a_data_card(path: Path) -> None:
    data = DatasetCard.load(path, ignore_metadata_errors=False).data
    assert set(data.to_dict()) <= fields(DatasetCardData)
    assert data.license in LICENCES
    assert set(data.annotations_creators) <= ANNOTATORS
    assert tasks(*data.task_categories)
    assert DatasetCard(f"---\n{data.to_yaml()}\n---\n").data.to_dict() == data.to_dict()


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.parent.name)
def test_the_hub_takes_a_model_card(path: Path) -> None:
    text = path.read_text("utf-8").replace("{licence}", "apache-2.0")  # of a template
    card = ModelCard(text, ignore_metadata_errors=False)
    assert set(card.data.to_dict()) <= fields(ModelCardData)
    assert card.data.license in LICENCES
    assert card.data.library_name == "diffusers"
    assert card.data.pipeline_tag is None or tasks(card.data.pipeline_tag)
    assert all(isinstance(tag, str) for tag in card.data.tags)
    assert "Not for clinical use" in card.text
    assert not re.search(r"\]\((?!https?:)", card.text), (
        "a link into the repository leads nowhere on the hub"
    )


def test_an_unknown_task_or_field_is_noticed() -> None:
    assert tasks("text-to-image") and not tasks("text-to-imagery")
    assert "licence" not in fields(ModelCardData) and "license" in fields(ModelCardData)
