"""Encoders with a name of their own: found where their weights lie, else the commands that fetch them are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from test_encoders import SMALL, TIMM, phantoms, transformers_folder
from transformers import Dinov2Config, Dinov2Model

from medisyn_lib.cli import options
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.memorization.detectors import photograph_encoder
from medisyn_lib.models import encoders, named_encoders
from medisyn_lib.models.encoder_weights import NAMED, local_folder

SIDE = 28


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of encoders, still empty; the hub's cache is empty, too."""
    monkeypatch.setenv("MEDISYN_ENCODERS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    encoders.load_encoder.cache_clear()
    return tmp_path


def test_a_folder_of_transformers_is_read_by_its_encoders_name(place: Path) -> None:
    net = Dinov2Model(Dinov2Config(**SMALL, image_size=SIDE, patch_size=14, mlp_ratio=1))
    for name in ("dinov2", "rad-dino"):
        transformers_folder(place / name, net, SIDE)
        found = encoders.features(phantoms(2), name)
        assert found.encoder.startswith(f"{name}-") and found.shape == (2, 32)
        same = encoders.features(phantoms(2), f"hf:{place / name}")
        np.testing.assert_array_equal(found.values, same.values)
    vectors = photograph_encoder("dinov2")(phantoms(2))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_biomedclip_is_the_vision_network_of_its_checkpoint(place: Path) -> None:
    net = timm.create_model(TIMM, num_classes=0)
    side = net.default_cfg["input_size"][1]
    tensors = {f"{named_encoders.TRUNK}{name}": value for name, value in net.state_dict().items()}
    (place / "biomedclip").mkdir()
    file = place / "biomedclip" / "open_clip_pytorch_model.bin"
    torch.save(
        tensors | {"visual.head.proj.weight": torch.zeros(3), "logit_scale": torch.ones(())}, file
    )
    settings = {
        "model_cfg": {"vision_cfg": {"timm_model_name": TIMM, "image_size": side}},
        "preprocess_cfg": {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.2]},
    }
    (place / "biomedclip" / "open_clip_config.json").write_text(json.dumps(settings))
    grey = np.full((1, 64, 64, 3), 102, np.uint8)
    found = encoders.features(grey, "biomedclip")
    standard = (0.4 - torch.tensor([0.4, 0.5, 0.6])) / 0.2
    with torch.no_grad():
        expected = net.eval()(standard[None, :, None, None].expand(1, 3, side, side).contiguous())
    np.testing.assert_allclose(found.values, expected.double().numpy(), rtol=1e-3, atol=1e-4)
    torch.save({**tensors, f"{named_encoders.TRUNK}more": torch.ones(1)}, file)
    encoders.load_encoder.cache_clear()
    with pytest.raises(InputError, match=r"encoder biomedclip: .*more"):
        encoders.features(grey, "biomedclip")


@pytest.mark.parametrize("name", NAMED)
def test_where_weights_are_missing_the_command_that_fetches_them_is_named(
    place: Path, name: str
) -> None:
    encoder = NAMED[name]
    for ask in (lambda: local_folder(encoder), lambda: options.encoder_name(name)):
        with pytest.raises(InputError) as refusal:
            ask()
        words = str(refusal.value)
        assert f"`hf download {encoder.repository} {encoder.files[0]} " in words
        assert f"--local-dir DIR/{name}`" in words and "MEDISYN_ENCODERS=DIR" in words
        assert "\n" not in words
    with pytest.raises(InputError, match="nothing follows its name"):
        encoders.load_encoder(f"{name}:other")


def test_the_hubs_cache_is_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = place / "hub" / "models--facebook--dinov2-base"
    snapshot = kept / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("abc")
    for name in NAMED["dinov2"].files:
        (snapshot / name).write_text("")
    monkeypatch.setattr(
        "huggingface_hub.file_download.HF_HUB_CACHE", str(place / "hub"), raising=False
    )
    assert local_folder(NAMED["dinov2"]) == snapshot


def test_the_command_line_takes_encoders_by_name_file_and_folder(place: Path) -> None:
    assert options.encoder_name("efflite0") == "efflite0"
    assert options.encoder_name("timm:a@/b/c.safetensors").startswith("timm:a@")
    assert options.encoder_name(f"hf:{place}").startswith("hf:")
    with pytest.raises(InputError, match=r"--encoder 'dinov3' is unknown: choose efflite0, dinov2"):
        options.encoder_name("dinov3")
