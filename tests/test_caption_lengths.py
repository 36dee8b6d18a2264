"""Captions that are longer than the model reads: all are counted before anything is trained, and can be cut."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from PIL import Image

from medisyn_lib.data import sources
from medisyn_lib.errors import InputError
from medisyn_lib.models.networks import CONTEXT
from medisyn_lib.models.tokens import check_lengths, learn_tokenizer
from medisyn_lib.pipeline.caption_lengths import check_caption_lengths
from medisyn_lib.pipeline.study import Study

LONG = "chest X-ray " * 40


def source(place: Path) -> str:
    """Six images of train, two of test; one of each has a caption that is too long."""
    place.mkdir()
    with (place / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "text", "split"])
        for number in range(8):
            Image.new("RGB", (20, 20), (number, 9, 9)).save(place / f"{number}.png")
            text = f"{LONG}{number}" if number in (2, 7) else "chest X-ray"
            table.writerow([f"{number}.png", text, "test" if number > 5 else "train"])
    return f"folder:{place}"


def test_long_captions_are_counted_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    place = source(tmp_path / "d")
    with pytest.raises(
        InputError, match=f"^2 of 3 prompts are longer than .* {CONTEXT} tok"
    ) as caught:
        Study("tiny", place).autoencoder  # noqa: B018
    entries = {path.name.split("-")[0] for path in (tmp_path / "store").glob("*/")}
    assert entries == {"data"}
    words = int(re.search(r"--caption-words (\d+)", str(caught.value)).group(1))  # type: ignore[union-attr]
    cut = f"{place}?words={words}"
    check_caption_lengths(Study("tiny", cut).image_set("generator"))
    assert max(len(row["text"].split()) for row in sources.rows(cut)) == words
    one_more = f"{place}?words={words + 1}"
    with pytest.raises(InputError, match="longer than"):
        check_caption_lengths(Study("tiny", one_more).image_set("generator"))


def test_what_would_fit_is_said() -> None:
    tokenizer = learn_tokenizer(["brain MRI", "tumour"] * 2)
    with pytest.raises(InputError) as caught:
        check_lengths(tokenizer, ["brain MRI", "tumour " * 100, "brain " * 60])
    message = str(caught.value)
    assert (
        message.startswith("2 of 3 prompts are longer than the model's")
        and "'tumour tum" in message
    )
    words = int(re.search(r"shorten to (\d+) words", message).group(1))  # type: ignore[union-attr]
    check_lengths(tokenizer, ["tumour " * words, "brain " * words])
    check_lengths(tokenizer, [])
