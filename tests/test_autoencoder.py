"""The autoencoder: where it starts, what it is trained for, what it keeps, and how its decoder is sharpened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import remake_autoencoder
import torch

from medisyn_lib.evaluation import image_physics
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.models import networks, wavelet_start
from medisyn_lib.models.tensors import to_tensor
from medisyn_lib.models.weights import shipped_weights
from medisyn_lib.phantoms import draw
from medisyn_lib.runtime.device import seeded
from medisyn_lib.training import adversarial, autoencoder, loop
from medisyn_lib.training.autoencoder import (
    AUTOENCODER_WIDTHS,
    decode,
    encode,
    load_shipped,
    peak_signal_to_noise,
    standardise,
    train_autoencoder,
)
from medisyn_lib.training.autoencoder_loss import Reconstruction, halved, pixel_error


@pytest.fixture
def vae():
    with seeded(1):
        return networks.autoencoder(AUTOENCODER_WIDTHS).eval()


@pytest.fixture(scope="module")
def phantoms() -> np.ndarray:
    return np.stack([draw(name, seed=77, index=i)[0] for name in MODALITIES for i in range(4)])


def test_haar_coefficients_by_hand() -> None:
    convolution = torch.nn.Conv2d(8, 8, 3, stride=2)
    with torch.no_grad():
        carried = wavelet_start._start_as_haar(convolution, 2)
    assert carried == 8
    patch = torch.zeros(1, 8, 3, 3)
    patch[0, 0, :2, :2] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    coefficients = convolution(patch).flatten()
    # of the first channel; the second is empty
    assert coefficients[0::2].tolist() == pytest.approx([5.0, -2.0, -1.0, 0.0])
    assert coefficients[1::2].tolist() == pytest.approx([0.0] * 4)


def test_an_untrained_encoder_carries_the_image_and_details_beside_it(vae) -> None:
    """The first channels at the lowest level are the image at a quarter of its side, times 4."""
    image = to_tensor(draw("endoscopy", seed=3, index=0)[0][None])
    with torch.no_grad():
        features = vae.encoder.conv_in(image)
        for block in vae.encoder.down_blocks:
            features = block(features)
    small = torch.nn.functional.avg_pool2d(image, 4)
    for channel in range(3):
        pair = torch.stack([features[0, channel].flatten(), small[0, channel].flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.95


def test_pixel_error_by_hand() -> None:
    images = torch.zeros(1, 1, 2, 2)
    decoded = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    # pixels are half wrong, columns differ by 1 where they should not, rows agree
    assert float(pixel_error(images, decoded)) == pytest.approx(0.5 + 1.0 + 0.0)
    assert float(pixel_error(images, images)) == 0.0


def test_halving_takes_the_mean_of_four() -> None:
    assert halved(torch.arange(4.0).view(1, 1, 2, 2)).item() == 1.5


def test_standardising_changes_latents_and_nothing_else(vae) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        before = vae(to_tensor(pixels)).sample
        standardise(vae, pixels)
        after = vae(to_tensor(pixels)).sample
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-4)
    latents = encode(vae, pixels)
    assert latents.shape == (12, networks.LATENT_CHANNELS, 8, 8)
    np.testing.assert_allclose(latents.mean((0, 2, 3)), 0, atol=0.02)
    np.testing.assert_allclose(latents.std((0, 2, 3)), 1, atol=0.02)


def test_the_autoencoder_learns(vae, phantoms: np.ndarray, tmp_path: Path) -> None:
    plan = loop.TrainingPlan(steps=30, batch=8, learning_rate=1e-3)
    train_autoencoder(vae, phantoms[:, ::2, ::2], plan, tmp_path)
    losses = np.loadtxt(tmp_path / "history.csv", delimiter=",", skiprows=1)[:, 1]
    assert losses[-5:].mean() < 0.85 * losses[:5].mean()
    np.testing.assert_allclose(encode(vae, phantoms[:, ::2, ::2]).std((0, 2, 3)), 1, atol=0.05)


def test_noise_on_latents_and_halved_latents_are_part_of_the_loss(vae) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 32, 32, generator=generator) * 2 - 1
    noise = torch.randn(4, networks.LATENT_CHANNELS, 8, 8, generator=generator)
    still, strong = torch.zeros(4, 1, 1, 1), torch.full((4, 1, 1, 1), 10.0)
    loss = Reconstruction(vae)
    with torch.no_grad():
        assert loss(images, noise, strong) > loss(images, noise, still)
        latents = vae.encode(images).latent_dist.mean
        small = pixel_error(halved(images[:1]), vae.decode(halved(latents[:1])).sample)
        whole = pixel_error(images, vae.decode(latents).sample)
        expected = whole + 0.5 * small
        torch.testing.assert_close(loss(images, noise, still), expected, rtol=1e-3, atol=1e-3)


def test_hinge_loss_by_hand() -> None:
    real, decoded = torch.tensor([0.0, 2.0]), torch.tensor([-3.0, 1.0])
    assert float(adversarial.hinge_loss(real=real, decoded=decoded)) == (1 + 0) / 2 + (0 + 2) / 2


def test_decoder_and_discriminator_are_blind_to_each_other_s_loss(vae) -> None:
    with seeded(0):
        discriminator = adversarial.PatchDiscriminator(width=8)
    objective = adversarial.AdversarialReconstruction(vae, discriminator)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1
    decoded = torch.rand(2, 3, 32, 32, generator=generator, requires_grad=True)
    objective._persuasion(discriminator(images), decoded).backward()
    assert decoded.grad is not None and decoded.grad.abs().max() > 0
    assert all(weight.grad is None for weight in discriminator.parameters())


def test_sharpening_trains_the_decoder_alone(vae, phantoms: np.ndarray, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    plan = loop.TrainingPlan(steps=2, batch=8, learning_rate=2e-4)
    adversarial.sharpen_decoder(vae, phantoms[:, ::2, ::2], plan, tmp_path)
    changed = {
        name.partition(".")[0]
        for name, tensor in vae.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    assert changed == {"decoder"}
    assert all(weight.requires_grad for weight in vae.parameters())


def test_the_shipped_autoencoder_keeps_phantoms_and_is_small(phantoms: np.ndarray) -> None:
    assert shipped_weights().stat().st_size <= 12e6
    vae = load_shipped()
    decoded = decode(vae, encode(vae, phantoms))
    assert peak_signal_to_noise(real=phantoms, decoded=decoded).mean() > 29
    assert 0.8 < image_physics.spectrum_ratio(real=phantoms, decoded=decoded) < 1.25


def test_the_shipped_autoencoder_is_remade_by_the_library_s_own_code() -> None:
    last = remake_autoencoder.runs()
    assert adversarial in last.modules() and autoencoder in last.start.modules()
    assert last.images.role == last.start.images.role == "first_stage"  # which nothing else uses


def test_peak_signal_to_noise_by_hand() -> None:
    real = np.zeros((1, 2, 2, 3), np.uint8)
    assert peak_signal_to_noise(real=real, decoded=real + 255)[0] == pytest.approx(0)
    assert peak_signal_to_noise(real=real, decoded=real + 51)[0] == pytest.approx(20 * np.log10(5))
