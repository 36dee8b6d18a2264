"""What only a GPU can show: `pytest -m gpu`. Last run on an H100, 2026-11-27."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_foreign_generators import stable_diffusion

from medisyn_lib.models import networks
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime.device import seeded
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
