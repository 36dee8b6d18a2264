"""Encoders: loaded by name from local weights alone, and features that know whose they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    CLIPConfig,
    CLIPModel,
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import fidelity
from medisyn_lib.models import encoders
from medisyn_lib.phantoms import draw
from medisyn_lib.runtime.device import seeded

TIMM = "test_vit"
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def phantoms(number: int) -> np.ndarray:
    return np.stack([draw("fundus", seed=5, index=i)[0] for i in range(number)])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny timm network's random weights."""
    file = tmp_path_factory.mktemp("timm") / "weights.safetensors"
    save_file(timm.create_model(TIMM).state_dict(), file)
    return file


def transformers_folder(folder: Path, net: torch.nn.Module, side: int = 28) -> Path:
    net.save_pretrained(folder)
    size = {"height": side, "width": side}
    ViTImageProcessor(
        size=size, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.2, 0.2]
    ).save_pretrained(folder)
    return folder


def test_efflite0_by_default_and_its_name_goes_with_its_features() -> None:
    found = encoders.features(phantoms(4))
    assert (
        found.shape == (4, 1280) and found.values.dtype == np.float64 and np.isfinite(found).all()
    )
    assert found.encoder == found[1:3].encoder == "efflite0"
    assert np.ptp(found, axis=0).max() > 0.1


def test_folded_norms_change_nothing_but_the_time() -> None:
    with seeded(0):
        net = timm.create_model("tf_efficientnet_lite0").eval()
        for norm in (one for one in net.modules() if isinstance(one, torch.nn.BatchNorm2d)):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = net(images)
        found = encoders._with_norms_folded(net)(images)
    assert not any(isinstance(one, torch.nn.BatchNorm2d) for one in net.modules())
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_a_timm_network_reads_its_file(weights: Path) -> None:
    net = timm.create_model(TIMM)
    found = encoders.features(phantoms(3), f"timm:{TIMM}@{weights}")
    assert found.encoder.startswith(f"{TIMM}-")
    net.load_state_dict(load_file(weights))
    images = torch.nn.functional.interpolate(
        torch.from_numpy(phantoms(3)).permute(0, 3, 1, 2) / 255,
        net.default_cfg["input_size"][1:],
        mode="bicubic",
        antialias=True,
    ).clamp(0, 1)
    mean, deviation = (torch.tensor(net.default_cfg[key])[:, None, None] for key in ("mean", "std"))
    with torch.inference_mode():
        expected = net.eval().forward_head(
            net.forward_features((images - mean) / deviation), pre_logits=True
        )
    np.testing.assert_allclose(found, expected.double().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind, side", [("dinov2", 28), ("convnext", 64), ("clip", 28)])
def test_a_transformers_folder_is_read(tmp_path: Path, kind: str, side: int) -> None:
    with torch.random.fork_rng():
        net = {
            "dinov2": lambda: Dinov2Model(Dinov2Config(**SMALL, image_size=28, patch_size=14)),
            "convnext": lambda: ConvNextModel(
                ConvNextConfig(hidden_sizes=[8, 16, 32, 32], depths=[1, 1, 1, 1])
            ),
            "clip": lambda: CLIPModel(
                CLIPConfig(
                    text_config=SMALL, vision_config={**SMALL, "image_size": 28, "patch_size": 14}
                )
            ),
        }[kind]()
    folder = transformers_folder(tmp_path / kind, net, side)
    found = encoders.features(phantoms(3), f"hf:{folder}")
    assert (
        found.shape == (3, 32)
        and found.encoder.startswith(f"{kind}-")
        and len(found.encoder) == len(kind) + 9
    )
    vision = getattr(net, "vision_model", net).eval()
    images = torch.from_numpy(phantoms(3)).permute(0, 3, 1, 2) / 255
    images = torch.nn.functional.interpolate(
        images, (side, side), mode="bicubic", antialias=True
    ).clamp(0, 1)
    with torch.inference_mode():
        expected = vision(
            (images - torch.tensor([0.4, 0.5, 0.6])[:, None, None]) / 0.2
        ).pooler_output
    np.testing.assert_allclose(found, expected.double().numpy(), rtol=1e-4, atol=1e-5)


def test_weights_that_are_missing_or_do_not_fit_are_refused(tmp_path: Path, weights: Path) -> None:
    wrong = [
        "inception",
        "resnet10t",
        "timm:no_such_net@x.safetensors",
        f"timm:{TIMM}@absent.safetensors",
        "hf:absent",
    ]
    for name in (*wrong, f"timm:resnet10t@{weights}", f"other:{TIMM}@{weights}"):
        with pytest.raises(
            InputError, match=f"^encoder {name}: .*; take efflite0, timm:"
        ) as refusal:
            encoders.features(phantoms(1), name)
        assert "\n" not in str(refusal.value)
    classifier = ViTForImageClassification(ViTConfig(**SMALL, image_size=28, patch_size=14))
    folder = transformers_folder(tmp_path / "vit", classifier)
    assert AutoModel.from_pretrained(folder).pooler is not None  # would be random
    with pytest.raises(InputError, match="lacks pooler"):
        encoders.features(phantoms(1), f"hf:{folder}")


def test_other_weights_are_another_encoder(tmp_path: Path, weights: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(99)
        save_file(timm.create_model(TIMM).state_dict(), tmp_path / "other.safetensors")
    files = (weights, tmp_path / "other.safetensors")
    a, b = (encoders.features(phantoms(8), f"timm:{TIMM}@{file}") for file in files)
    assert a.encoder != b.encoder
    with pytest.raises(
        InputError, match=f"real are of encoder {a.encoder}, synthetic of {b.encoder}"
    ):
        fidelity.kernel_distance(real=a, synthetic=b)
    with pytest.raises(InputError, match="synthetic of None"):
        fidelity.frechet_distance(real=a, synthetic=np.asarray(a))
    assert fidelity.frechet_distance(real=a, synthetic=a) == pytest.approx(0, abs=1e-9)


def test_batch_size_changes_nothing(weights: Path) -> None:
    encoder = f"timm:{TIMM}@{weights}"
    whole, single, three = (encoders.features(phantoms(7), encoder, batch=n) for n in (64, 1, 3))
    np.testing.assert_allclose(single, whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(three, whole, rtol=1e-4, atol=1e-5)


def test_an_encoder_is_added_by_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "LOADERS", dict(encoders.LOADERS))
    monkeypatch.setattr(encoders, "_PATTERNS", list(encoders._PATTERNS))

    @encoders.register("mean:NAME")
    def load_mean(place: str) -> encoders.Encoder:
        return encoders.Encoder(f"mean-{place}", 8, (0, 0, 0), (1, 1, 1), lambda x: x.mean((2, 3)))

    black = np.zeros((2, 64, 64, 3), np.uint8)
    found = encoders.features(black + np.uint8(255), "mean:colour")
    assert found.encoder == "mean-colour" and found.values == pytest.approx(np.ones((2, 3)))
    with pytest.raises(InputError, match=r"take efflite0, timm:.*, hf:FOLDER.* or mean:NAME"):
        encoders.features(black, "median:colour")


def test_a_feature_set_is_taken_by_numpy_as_its_values() -> None:
    found = encoders.FeatureSet(np.arange(6.0).reshape(3, 2), "one")
    assert len(found) == 3 and found.shape == (3, 2) and found[[True, False, True]].encoder == "one"
    assert np.asarray(found) is found.values and np.asarray(found, np.float32).dtype == np.float32
    assert np.stack([found, found], 1).shape == (3, 2, 2)
    assert np.concatenate([found, found]).shape == (6, 2)
