"""The transformer: beside timm's own pass, what it learns, its features, the study's own, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import fidelity
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.study import Study
from medisyn_lib.profiles import PROFILES
from medisyn_lib.training import loop
from medisyn_lib.training.transformer import (
    TransformerClassifier,
    train_transformer,
    transformer_network,
)

LABELS = [("ct", "dark"), ("ct", "bright"), ("fundus", "red")]
COLOURS = np.array([(0, 0, 0), (180, 180, 180), (180, 0, 0)], np.uint8)


def squares(n: int = 60, side: int = 16, seed: int = 0) -> np.ndarray:
    """Noise with a square in its class's colour in the middle."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 60, (n, side, side, 3), dtype=np.uint8)
    quarter = side // 4
    pixels[:, quarter:-quarter, quarter:-quarter] += COLOURS[np.arange(n) % 3, None, None]
    return pixels


def labels(n: int = 60) -> tuple[list[str], list[str]]:
    modality, finding = zip(*(LABELS[number % 3] for number in range(n)), strict=True)
    return list(modality), list(finding)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transformer")
    plan = loop.TrainingPlan(steps=60, batch=16, learning_rate=1e-3)
    train_transformer(squares(), *labels(), plan, folder)
    return folder


def test_it_learns_classes_of_images_that_it_has_not_seen(trained: Path) -> None:
    classifier = TransformerClassifier(trained, side=16)
    scores = classifier.scores(squares(seed=1))
    modality, finding = labels()
    assert scores.shape == (60, 3) and scores.dtype == np.float32
    assert classifier.modality_right(scores, modality).mean() > 0.9
    assert classifier.finding_right(scores, modality, finding).mean() > 0.9


def test_features_are_what_the_last_layer_of_timms_network_sees(trained: Path) -> None:
    classifier, pixels = TransformerClassifier(trained, side=16), squares(7, seed=1)
    found = classifier.features(pixels)
    assert found.shape == (7, 128) and found.dtype == np.float32
    net = transformer_network(3, side=16).eval()
    net.load_state_dict(load_file(trained / "classifier.safetensors"))
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        expected = net.fc_norm(net.norm(net.forward_features(images)).mean(1))
        logits = net(images)
    head = {name: x.detach().numpy() for name, x in net.head.named_parameters()}
    assert isinstance(net.norm, torch.nn.Identity)  # mean pooling comes before the norm
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(classifier.scores(pixels), logits, rtol=1e-4, atol=1e-5)
    by_hand = found @ head["weight"].T + head["bias"]
    np.testing.assert_allclose(by_hand, logits, rtol=1e-4, atol=1e-5)


def test_batch_size_changes_nothing(trained: Path) -> None:
    classifier, pixels = TransformerClassifier(trained, side=16), squares(7)
    whole, three = (classifier.features(pixels, batch=n) for n in (64, 3))
    np.testing.assert_allclose(three, whole, rtol=1e-4, atol=1e-5)


def test_nothing_is_pickled(trained: Path) -> None:
    names = sorted(path.name for path in trained.iterdir())
    assert names == ["classes.json", "classifier.safetensors", "history.csv"]


@pytest.mark.parametrize("name", PROFILES)
def test_it_is_made_for_the_size_of_every_profile(name: str) -> None:
    side = PROFILES[name].size
    net = transformer_network(2, side=side).eval()
    with torch.inference_mode():
        assert net(torch.zeros(1, 3, side, side)).shape == (1, 2)


def test_bad_input_is_refused(tmp_path: Path, trained: Path) -> None:
    plan = loop.TrainingPlan(steps=1, batch=4, learning_rate=1e-3)
    with pytest.raises(InputError, match="at least 2 classes"):
        train_transformer(squares(), ["ct"] * 60, ["dark"] * 60, plan, tmp_path)
    with pytest.raises(InputError, match="images of 20 pixels; take a multiple of 8"):
        train_transformer(squares(side=20), *labels(), plan, tmp_path)
    with pytest.raises(InputError, match="images of 24 x 24 pixels, trained on 16"):
        TransformerClassifier(trained, side=16).features(squares(side=24))


def test_a_study_trains_its_own_and_its_features_know_whose_they_are() -> None:
    study = Study("tiny", "phantom")
    encoder = study.transformer_encoder()
    assert encoder is study.transformer_encoder("evaluator")
    assert encoder.images == study.image_set("evaluator")
    assert encoder.plan.steps == study.settings.encoder_steps
    pixels = study.image_set("test").pixels()[:12]
    found = encoder.features(pixels)
    assert found.encoder == "transformer" and found.values.dtype == np.float64
    np.testing.assert_allclose(found, encoder.load().features(pixels), rtol=1e-4, atol=1e-5)
    assert np.ptp(found, axis=0).max() > 0.01
    with pytest.raises(InputError, match="real are of encoder transformer, synthetic of efflite0"):
        fidelity.kernel_distance(real=found, synthetic=cached_features(pixels))
