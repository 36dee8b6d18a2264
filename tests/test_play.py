"""Playing with the flagship: the prompt asked, the training phantoms found, the controls and their picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.memorization import flagship_index
from medisyn_lib.evaluation.memorization.flagship_index import nearest_phantoms, training_phantom
from medisyn_lib.evaluation.memorization.window_descriptors import centre_window
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.pipeline import flagship
from medisyn_lib.pipeline.study import Study
from medisyn_lib.reporting import play, play_widgets
from medisyn_lib.reporting.front_end import is_attended
from medisyn_lib.reporting.play import Guess, Request
from medisyn_lib.training.pair_classifier import PairClassifier

ROWS = [4, 3100, 8999, 29_999]  # chest X-ray, CT, brain MRI, endoscopy


class BrightnessClassifier(PairClassifier):
    """Says pneumonia to three quarters of dark images, and no finding to bright ones."""

    classes = [("chest_xray", "normal"), ("chest_xray", "pneumonia")]  # noqa: RUF012

    def scores(self, pixels: np.ndarray, batch: int = 256) -> np.ndarray:
        dark = pixels.mean((1, 2, 3)) < 128
        return np.stack([np.zeros(len(pixels)), np.where(dark, np.log(3), -9)], 1).astype(
            np.float32
        )


@pytest.fixture
def training_images() -> np.ndarray:
    return np.stack([training_phantom(row) for row in ROWS])


def test_the_index_holds_every_training_phantom_in_order(training_images: np.ndarray) -> None:
    index = np.load(flagship_index.PATH)
    assert index.shape == (len(MODALITIES) * flagship.PER_MODALITY, 144) and index.dtype == np.int8
    expected = flagship_index.as_bytes(centre_window(training_images)).astype(int)
    assert np.abs(index[ROWS].astype(int) - expected).max() <= 1  # of rounding
    assert len(np.unique(index, axis=0)) > 0.999 * len(index)


def test_training_phantoms_are_those_of_the_flagships_data(monkeypatch: pytest.MonkeyPatch) -> None:
    images = flagship.training_images()
    from medisyn_lib.data import phantom

    chosen = phantom.choose(images.role, images.per_modality, list(MODALITIES))
    record = next(phantom.records([chosen[3100]], images.size, 0))
    assert record["modality"] == "ct" and np.array_equal(record["image"], training_phantom(3100))


def test_a_copy_is_found_mirrored_and_a_stranger_is_not(training_images: np.ndarray) -> None:
    found = nearest_phantoms(training_images[:, :, ::-1])
    assert found.row[:, 0].tolist() == ROWS and found.row.shape == (4, 3)
    assert np.array_equal(found.images[:, 0], training_images)
    assert (found.ratio < 0.3).all()
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    assert nearest_phantoms(noise).ratio[0] > 0.9


def test_a_prompt_is_the_free_text_or_the_caption_of_the_fields() -> None:
    effusion = Request(
        finding="pleural_effusion", attributes={"side": "left", "lesion_size": "small"}, seed=7
    )
    assert effusion.prompt == "chest X-ray, small left pleural effusion"
    assert effusion.seeds == [7, 8]
    assert Request(text=" two hearts ").prompt == "two hearts"
    assert (
        Request(attributes={"side": "", "lesion_size": "large"}).prompt == "chest X-ray, pneumonia"
    )
    assert play.attributes_named("ct", "liver_lesion") == ("count", "lesion_size")
    assert play.attributes_named("ct", "normal") == ()


def test_classifiers_say_their_likeliest_pair(training_images: np.ndarray) -> None:
    images = np.stack([np.zeros_like(training_images[0]), np.full_like(training_images[0], 255)])
    played = play.describe(Request(), images, {"cnn": BrightnessClassifier()})
    dark, bright = played.guesses["cnn"]
    assert dark[:2] == ("chest_xray", "pneumonia") and dark.probability == pytest.approx(0.75)
    assert bright == Guess("chest_xray", "normal", pytest.approx(1 / (1 + np.exp(-9))))


def test_every_tile_of_the_picture_says_what_it_is_not_for(training_images: np.ndarray) -> None:
    played = play.describe(Request(images=2), training_images[:2], {"cnn": BrightnessClassifier()})
    sheet = np.asarray(play.picture(played))
    tiles = 2 * (1 + play.NEAREST_SHOWN)
    bands = (sheet == 0).all(2) | (sheet == 255).all(2)
    full = bands[:, play.GAP : play.GAP + play.TILE].all(
        1
    )  # black and white alone: bands and margins
    assert sheet.shape[1] == (1 + play.NEAREST_SHOWN) * (play.TILE + play.GAP) + play.GAP
    assert tiles == 8 and full.sum() >= 2 * (play.BAND - 2)
    first = sheet[play.LINE * 2 + play.GAP :][
        : play.TILE - play.BAND, play.GAP : play.GAP + play.TILE
    ]
    assert np.array_equal(
        first[::3, ::3], played.images[0][: len(first[::3])]
    )  # whole pixels, not smoothed


@pytest.fixture
def playground() -> play_widgets.Playground:
    return play_widgets.Playground({"cnn": BrightnessClassifier()})


def test_the_controls_offer_what_captions_state(playground: play_widgets.Playground) -> None:
    assert playground.text.placeholder == "chest X-ray, pneumonia"
    playground.attributes["side"].value, playground.attributes["lesion_size"].value = (
        "left",
        "large",
    )
    assert (
        playground.text.placeholder
        == "chest X-ray, large consolidation in the left lung, pneumonia"
    )
    playground.modality.value = "ct"
    assert playground.finding.value == "liver_lesion"
    shown = {name for name, box in playground.attributes.items() if box.layout.display != "none"}
    assert shown == {"count", "lesion_size"}
    playground.attributes["count"].value = 3
    assert playground.request().prompt == "abdominal CT, three large hypodense liver lesions"
    playground.text.value = "a liver"
    assert playground.request().prompt == "a liver" and playground.request().seeds == [0, 1]


def test_a_press_shows_the_picture_or_says_what_is_wrong(
    playground: play_widgets.Playground,
    training_images: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(play, "sample", lambda request: training_images[:2])
    playground.button.click()
    assert Image.open(io.BytesIO(playground.image.value)).format == "PNG"
    assert (
        playground.image.layout.display == "" and "Not for clinical use" in playground.status.value
    )

    def refuse(request: Request) -> np.ndarray:
        raise InputError("prompt: too long")

    monkeypatch.setattr(play, "sample", refuse)
    playground.button.click()
    assert playground.status.value == "prompt: too long" and not playground.button.disabled


def test_the_flagship_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    images = play.sample(Request(images=1, steps=1))
    assert images.shape == (1, 64, 64, 3) and images.dtype == np.uint8 and images.std() > 5


def test_a_front_end_that_can_ask_is_told_from_one_that_cannot() -> None:
    """JupyterLab lets a cell ask for input; nbval and papermill do not."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")
    said: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        said.append(message["content"].get("text", ""))

    code = "from medisyn_lib.reporting.front_end import is_attended; print(is_attended())"
    try:
        for can_ask in (False, True):
            client.execute_interactive(code, allow_stdin=can_ask, output_hook=hear, timeout=120)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert "".join(said).split() == ["False", "True"]
    assert not is_attended()  # no kernel at all


def test_a_program_sees_one_still_picture(
    training_images: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(play_widgets, "classifiers", lambda study: {"cnn": BrightnessClassifier()})
    monkeypatch.setattr(play_widgets, "sample_prompts", lambda *a, **k: training_images[:2])
    monkeypatch.setattr("IPython.display.display", shown.append)
    play_widgets.play_here(Study("quick", "phantom"))
    assert capsys.readouterr().out == (
        "chest X-ray, large consolidation in the left lung, pneumonia\n"
    )
    (picture,) = shown
    assert picture.data.startswith(b"\x89PNG")
    play_widgets.play_here(Study("quick", "npz:somewhere"))
    assert capsys.readouterr().out == "only the flagship is played with, on phantoms of 64 pixels\n"
