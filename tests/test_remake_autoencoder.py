"""The maintainer's script that remakes the shipped autoencoder: its decoder's run, tried small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import remake_autoencoder
import torch

from medisyn_lib.data import sources
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.models import networks
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import loop
from medisyn_lib.training.autoencoder import encode, load_shipped
from medisyn_lib.training.classifier import AttributeClassifier, train_classifier


def test_redrawing_follows_the_flow_whatever_the_batch() -> None:
    class Straight(torch.nn.Module):
        """Knows that every latent was all twos; guidance must cancel, since both halves agree."""

        def forward(self, x, time, text, return_dict):
            return ((x - 2.0) / (time[:, None, None, None] / networks.TIMESTEPS),)

    latents, words, caption = (
        np.full((5, 16, 2, 2), 2.0, np.float16),
        np.zeros((2, 3, 4)),
        np.zeros(5, np.int64),
    )
    for guidance in (1.0, 4.0):
        drawn = remake_autoencoder.redraw(
            Straight(), latents, words, caption, guidance=guidance, steps=4
        )
        np.testing.assert_allclose(drawn, 2.0, atol=1e-4)
    with seeded(0):
        net = networks.denoiser(32, (32, 32), text_width=4).eval()
    some = np.random.default_rng(0).normal(size=(5, 16, 4, 4))
    one, other = (
        remake_autoencoder.redraw(net, some, words, caption, guidance=2.0, batch=batch)
        for batch in (2, 5)
    )
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert not np.allclose(
        one, remake_autoencoder.redraw(net, some, words, caption, guidance=2.0, seed=1), atol=0.1
    )


def test_the_decoder_learns_and_the_encoder_stays(tmp_path: Path) -> None:
    images = sources.load(
        "phantom", role="first_stage", size=32, per_modality=6, modalities=["ct", "fundus"]
    )
    labels = images["modality"][:], images["finding"][:]
    train_classifier(
        load_pixels(images),
        *labels,
        loop.TrainingPlan(steps=8, batch=8, learning_rate=3e-3),
        tmp_path / "guide",
    )
    guide, vae = AttributeClassifier(tmp_path / "guide"), load_shipped()
    latents = encode(vae, load_pixels(images))
    plan = loop.TrainingPlan(steps=30, batch=8, learning_rate=2e-3)
    remake_autoencoder.train_decoder(vae, guide, images, latents + 0.5, plan, tmp_path)
    np.testing.assert_array_equal(encode(vae, load_pixels(images)), latents)
    losses = np.loadtxt(tmp_path / "history.csv", delimiter=",", skiprows=1)[:, 1]
    assert losses[-5:].mean() < losses[:5].mean()
