"""What only a GPU can show: `pytest -m gpu`. The first two ran on an H100, 2026-11-27; the others on none so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from steps_on_devices import INFERENCE, TRAINING
from test_foreign_generators import stable_diffusion

from medisyn_lib.models import networks
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime.device import accelerator, seeded
from medisyn_lib.sampling import pipeline as sampling
from medisyn_lib.training import loop
from medisyn_lib.training.denoiser import CAPTION_DROPOUT, FlowMatching, train_denoiser

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
PLAN = loop.TrainingPlan(
    steps=5, batch=8, learning_rate=1e-3, seed=1, ema_decay=0.9, checkpoint_every=3
)


@pytest.mark.gpu
@needs_gpu
def test_a_denoiser_trains_on_a_gpu(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((16, networks.LATENT_CHANNELS, 16, 16), np.float32)
    words, caption = (
        rng.standard_normal((3, networks.CONTEXT, 32), np.float32),
        rng.integers(2, size=16),
    )
    with seeded(0):
        net = networks.denoiser(64, (32, 64), text_width=32)
    start = [p.detach().clone() for p in net.parameters()]

    rows, draws = loop.sample_rows(1, 16, 0, 8), loop.Draws(1, 0, 8, slice(0, 8))
    noise, time, dropped = (
        draws.normal(*latents.shape[1:]),
        torch.sigmoid(draws.normal()),
        draws.uniform().numpy(),
    )
    text = torch.from_numpy(words[np.where(dropped < CAPTION_DROPOUT, 2, caption[rows])])
    with torch.no_grad():
        expected = FlowMatching(net)(torch.from_numpy(latents[rows]), noise, time, text)

    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    train_denoiser(net, latents, words, caption, PLAN, tmp_path, snapshots=(5,))
    assert torch.cuda.max_memory_allocated() > before
    assert {p.device.type for p in net.parameters()} == {"cpu"}  # back where it came from
    assert all(
        not torch.equal(a, b)
        for a, b in zip(start, net.parameters(), strict=True)
        if b.requires_grad
    )
    first = np.loadtxt(tmp_path / loop.HISTORY, delimiter=",", skiprows=1)[0, 1]
    assert first == pytest.approx(float(expected), rel=0.02)  # bfloat16 against float32
    assert (tmp_path / "step-5.safetensors").is_file()


@pytest.mark.gpu
@needs_gpu
def test_a_pipeline_is_fine_tuned_and_sampled_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stable Diffusion 1.5 in miniature; what it samples is what the CPU samples, but for rounding."""
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    with seeded(0):
        stable_diffusion().save_pretrained(tmp_path / "base")
    study = Study("tiny", "phantom", base=str(tmp_path / "base"))
    pipeline = sampling.load_pipeline(str(study.generator().folder))
    prompts, seeds = ["brain MRI, tumour", "chest X-ray, pneumonia"], [0, 1]
    sampled = sampling.sample_images(pipeline, prompts, seeds, num_inference_steps=3)
    assert pipeline.unet.device.type == "cuda"
    monkeypatch.setattr(sampling, "accelerator", lambda: SimpleNamespace(device="cpu"))
    expected = sampling.sample_images(pipeline, prompts, seeds, num_inference_steps=3)
    assert pipeline.unet.device.type == "cpu"
    assert np.abs(sampled.astype(int) - expected).mean() < 2


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Give a function that launches Accelerate anew on `cuda` or `cpu`, with an empty folder and store."""

    def launch_on(kind: str) -> Path:
        AcceleratorState._reset_state(reset_partial_state=True)
        monkeypatch.setenv("ACCELERATE_USE_CPU", str(kind == "cpu").lower())
        monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / f"store-{kind}"))
        assert accelerator().device.type == kind
        folder = tmp_path / kind
        folder.mkdir()
        return folder

    yield launch_on
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("name", INFERENCE)
def test_what_judges_says_the_same_on_a_gpu(name: str, launch: Callable[[str], Path]) -> None:
    """In float32 proper: TensorFloat-32 would differ in the third digit."""
    expected, on_gpu = (INFERENCE[name](launch(kind)) for kind in ("cpu", "cuda"))
    assert on_gpu.dtype == expected.dtype
    scale = np.abs(expected).max()
    np.testing.assert_allclose(on_gpu / scale, expected / scale, atol=1e-4)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("name", TRAINING)
def test_what_is_trained_to_judge_comes_out_alike_on_a_gpu(
    name: str, launch: Callable[[str], Path]
) -> None:
    """After a few steps: AdamW's first ones follow the sign of gradients, some of which are rounding."""
    expected, on_gpu = (TRAINING[name](launch(kind)) for kind in ("cpu", "cuda"))
    apart = np.abs(on_gpu.astype(float) - expected)
    assert apart.mean() < 0.01 * max(1, np.abs(expected).max())
