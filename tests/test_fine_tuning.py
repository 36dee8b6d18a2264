"""Fine-tuning a pipeline that this project did not train: Stable Diffusion 1.5 in miniature, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fine_tune
import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from test_foreign_generators import saved, stable_diffusion

from medisyn_lib.errors import InputError
from medisyn_lib.models import networks
from medisyn_lib.pipeline.study import Study
from medisyn_lib.sampling.pipeline import load_pipeline, sample_images
from medisyn_lib.training import fine_tuning, loop
from medisyn_lib.training.text_encoder import embed_prompts

PLAN = loop.TrainingPlan(steps=30, batch=8, learning_rate=2e-3, ema_decay=0.9)
STUDY = Study("tiny", "phantom")


class Echo(torch.nn.Module):
    """A denoiser that gives back what it is shown."""

    def forward(self, noisy: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor]:
        return (noisy,)


@pytest.mark.parametrize("learns", fine_tuning.PREDICTIONS)
def test_the_loss_is_what_the_scheduler_asks_for(learns: str) -> None:
    """By hand at a step that keeps share a of the variance: noisy is sqrt(a) x + sqrt(1 - a) e."""
    scheduler = DDPMScheduler(prediction_type=learns)
    a = float(scheduler.alphas_cumprod[300])
    x, e = torch.full((1, 4, 2, 2), 3.0), torch.full((1, 4, 2, 2), -2.0)
    noisy = 3 * a**0.5 - 2 * (1 - a) ** 0.5
    target = -2.0 if learns == "epsilon" else -2 * a**0.5 - 3 * (1 - a) ** 0.5
    loss = fine_tuning.DenoisingLoss(Echo(), scheduler)(
        x, e, torch.tensor([300]), torch.zeros(1, 1, 1)
    )
    assert float(loss) == pytest.approx((noisy - target) ** 2, rel=1e-5)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("bases"))


def test_the_denoiser_learns_and_the_rest_stays(
    bases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    base = str(bases / "sd15")
    folder = fine_tune.fine_tuned(base, STUDY, PLAN).folder
    before, after = (load_pipeline(where) for where in (base, str(folder)))
    for part in ("vae", "text_encoder"):
        ours, theirs = getattr(after, part).state_dict(), getattr(before, part).state_dict()
        assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())
    moved = zip(before.unet.parameters(), after.unet.parameters(), strict=True)
    assert sum(not torch.equal(a, b) for a, b in moved) > 50
    loss = np.loadtxt(folder / loop.HISTORY, delimiter=",", skiprows=1)[:, 1]
    assert len(loss) == PLAN.steps and loss[-10:].mean() < loss[:10].mean()
    prompt = "brain MRI, tumour"  # embedded in training as in sampling
    in_training = embed_prompts(after.tokenizer, after.text_encoder, [prompt])
    in_sampling = after.encode_prompt(prompt, "cpu", 1, False)[0].detach().numpy()
    np.testing.assert_allclose(in_sampling, in_training, atol=1e-5)
    images = sample_images(after, [prompt], [0], num_inference_steps=2)
    assert images.shape == (1, 64, 64, 3)  # at the size of the study; the base samples at 16 pixels
    card = (folder / "README.md").read_text("utf-8")
    assert "# sd15, fine-tuned" in card
    assert "`phantom`, 240 images of 64 pixels" in card
    assert str(bases) not in card
    assert fine_tune.fine_tuned(base, STUDY, PLAN).folder == folder


def test_other_kinds_are_refused(
    bases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    with pytest.raises(
        InputError, match="is a StableDiffusionXLPipeline that predicts epsilon; give a"
    ):
        fine_tune.fine_tuned(str(bases / "sdxl"), STUDY, PLAN)
    flow = stable_diffusion()
    flow.scheduler = networks.scheduler()
    flow.save_pretrained(tmp_path / "flow")
    with pytest.raises(InputError, match="predicts flow_prediction; give a"):
        fine_tune.fine_tuned(str(tmp_path / "flow"), STUDY, PLAN)


def test_captions_that_do_not_fit_are_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    short = stable_diffusion()
    short.tokenizer.model_max_length = 3
    short.save_pretrained(tmp_path / "short")
    with pytest.raises(InputError, match="longer than the model's 3 tokens"):
        fine_tune.fine_tuned(str(tmp_path / "short"), STUDY, PLAN)
    assert not list((tmp_path / "store").glob("fine_tuned-*"))
