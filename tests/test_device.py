"""One policy of devices: what judges goes where Accelerate was launched, draws and results stay on the CPU."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from steps_on_devices import INFERENCE, PIXELS, classifier
from torch._subclasses.fake_tensor import FakeTensorMode

from medisyn_lib.evaluation import neighbours
from medisyn_lib.models import encoders, tensors
from medisyn_lib.runtime import device
from medisyn_lib.training.classifier import classifier_network


def on_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Accelerate offer a card."""
    offered = SimpleNamespace(device=torch.device("cuda", 0))
    for module in (device, neighbours):
        monkeypatch.setattr(module, "accelerator", lambda: offered)


def values_of(tensor: torch.Tensor) -> np.ndarray:
    """In the place of `Tensor.numpy`, of a tensor without values: only one on the CPU has an array."""
    assert tensor.device.type == "cpu", f"not brought back from {tensor.device}"
    return np.zeros(tensor.shape, str(tensor.dtype).removeprefix("torch."))


def moved(net: torch.nn.Module, place: torch.device) -> torch.nn.Module:
    """In the place of `Module.to`, which cannot exchange tensors that have no values."""
    for module in net.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                module._parameters[name] = torch.nn.Parameter(
                    weight.to(place), weight.requires_grad
                )
        for name, value in module._buffers.items():
            module._buffers[name] = None if value is None else value.to(place)
    return net


@pytest.mark.parametrize("name", INFERENCE)
def test_steps_run_on_a_card_that_is_not_here(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors without values refuse to meet across devices, as a card's do."""
    encoders.load_encoder.cache_clear()
    expected = INFERENCE[name](tmp_path)
    encoders.load_encoder.cache_clear()
    on_a_card(monkeypatch)
    monkeypatch.setattr(torch.Tensor, "numpy", values_of)
    monkeypatch.setattr(torch.nn.Module, "to", moved)
    monkeypatch.setattr(neighbours, "_nearest_of", lambda views, index, rows, k: (0.0, 0))
    with FakeTensorMode(allow_non_fake_inputs=True):
        result = INFERENCE[name](tmp_path)
    encoders.load_encoder.cache_clear()
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)


def test_on_the_cpu_scores_are_those_of_the_network_itself_to_the_bit(tmp_path: Path) -> None:
    judge = classifier(tmp_path)
    with torch.inference_mode():
        expected = judge.net(tensors.to_tensor(PIXELS)).numpy()
    assert (judge.scores(PIXELS) == expected).all()


def test_an_encoder_that_is_no_module_is_handed_images_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_a_card(monkeypatch)
    seen = []

    def embed(images: torch.Tensor) -> torch.Tensor:
        seen.append(images.device.type)
        return images.mean((2, 3))

    mine = encoders.Encoder("mine", 8, (0, 0, 0), (1, 1, 1), embed)
    monkeypatch.setattr(encoders, "load_encoder", lambda name: mine)
    assert encoders.features(PIXELS, "mine").shape == (24, 3) and set(seen) == {"cpu"}


@pytest.mark.parametrize(("n", "views"), [(9000, 1), (9000, 3), (200, 1), (12, 2)])
def test_a_card_searches_as_the_cpu_does(
    n: int, views: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own way, computed here on the CPU; a third of the rows come twice."""
    rng = np.random.default_rng(n + views)
    index = rng.normal(size=(n, 6)).astype(np.float32)
    index[n // 3 : 2 * n // 3] = index[: 2 * n // 3 - n // 3]
    queries = rng.normal(size=(30, views, 6)).astype(np.float32)
    expected = neighbours.nearest(queries, index, 9)
    by_card = partial(neighbours._candidates_on, torch.device("cpu"))
    monkeypatch.setattr(neighbours, "_candidates", by_card)
    found = neighbours.nearest(queries, index, 9)
    assert (found.row == expected.row).all() and (found.distance == expected.distance).all()


def test_where_a_card_is_full_half_as_many_images_are_taken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = []

    def squares(some: np.ndarray) -> np.ndarray:
        asked.append(len(some))
        if len(some) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return some**2

    assert tensors.in_batches(squares, np.arange(5), 8).tolist() == [0, 1, 4, 9, 16]
    assert asked == [5, 4, 2, 2, 1] and "2 images at a time" in capsys.readouterr().err
    with pytest.raises(torch.OutOfMemoryError):
        device.halving(lambda size: squares(np.arange(5)), 4)


def test_a_card_takes_more_images_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.images_at_once(64) == 64
    on_a_card(monkeypatch)
    assert device.images_at_once(64) == 256


def test_judges_convolve_in_float32_proper_and_others_as_before() -> None:
    before = torch.backends.cudnn.allow_tf32
    inside = []

    def note(some: np.ndarray) -> np.ndarray:
        inside.append(torch.backends.cudnn.allow_tf32)
        return some

    tensors.in_batches(note, np.arange(3), 8)
    assert inside == [False] and torch.backends.cudnn.allow_tf32 == before


def test_a_network_is_moved_where_accelerate_was_launched() -> None:
    net = classifier_network(2)
    assert device.to_device(net).type == next(net.parameters()).device.type
