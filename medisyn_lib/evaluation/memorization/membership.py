"""Membership inference: does a denoiser's loss tell its training images from others?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation.memorization.images import RealImages, first_of_each_patient
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.sampling.pipeline import load_pipeline
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.intervals import exact_proportion
from medisyn_lib.statistics.jackknife import delete_group
from medisyn_lib.training.autoencoder import encode
from medisyn_lib.training.fine_tuning import make_noisy
from medisyn_lib.training.text_encoder import embed_prompts

if TYPE_CHECKING:
    import datasets
    from diffusers import DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    from medisyn_lib.evaluation.memorization.overfitting import Overfitted
    from medisyn_lib.pipeline.judged import JudgedGenerator

TIMES = (0.3, 0.5, 0.7)  # of all time steps, 1 being noise
FALSE_POSITIVE_RATES = (0.001, 0.01, 0.05, 0.1)
MOST = 200  # members, and non-members
BATCH = 64
NOISE_SEED = 7


class MembershipInference(NamedTuple):
    """How well smaller losses tell members.

    Attributes
    ----------
    auc : area under the ROC curve; 0.5 if nothing can be told
    true_positive_rate : by false-positive rate
    """

    auc: Estimate
    true_positive_rate: dict[float, Estimate]


def area_under_roc(members: np.ndarray, others: np.ndarray) -> float:
    """Compute the proportion of pairs in which the member has the smaller loss; losses (n,) and (m,)."""
    from sklearn.metrics import roc_auc_score

    is_member = np.repeat([1, 0], [len(members), len(others)])
    return roc_auc_score(is_member, -np.concatenate([members, others]))


def true_positive_rates(members: np.ndarray, others: np.ndarray) -> dict[float, Estimate]:
    """Estimate the true-positive rate of a threshold on the loss, at each of FALSE_POSITIVE_RATES.

    A rate is left out unless at least 10 of the non-members would be false positives. Reported as Carlini
    et al., Membership inference attacks from first principles, arXiv 2112.03570, section IV.
    """
    rates = {}
    for rate in FALSE_POSITIVE_RATES:
        if len(others) >= 10 / rate:
            threshold = np.sort(others)[int(rate * len(others)) - 1]
            rates[rate] = exact_proportion(int((members < threshold).sum()), len(members))
    return rates


def membership_inference(members: np.ndarray, others: np.ndarray) -> MembershipInference:
    """Estimate how well losses of members (n,) and non-members (m,) can be told apart.

    The area's interval is by the delete-group jackknife, those of the rates are exact.
    """
    value, variance, degrees_of_freedom = delete_group(area_under_roc, [members, others])
    n = len(members) + len(others)
    auc = student(float(value[0]), float(variance[0]), degrees_of_freedom, n)
    return MembershipInference(auc, true_positive_rates(members, others))


def infer_membership(
    model: str, real: RealImages, members: np.ndarray | None = None
) -> MembershipInference:
    """Compare a generator's losses on its training images with those on held-out ones.

    Parameters
    ----------
    model : folder of a generator that learnt flow, noise or velocity, as all that are trained here
    real : its training images, and held-out ones, of which up to 200, evenly spread, are taken
    members : int (n,), rows of the training images; if None, as many as there are non-members, one
        per patient
    """
    pipeline = load_pipeline(model)
    n = min(len(real.held_out), MOST)
    if members is None:
        members = one_image_per_patient(real.training, n)
    return membership_inference(
        image_losses(pipeline, real.training, members),
        image_losses(pipeline, real.held_out, evenly_spread(len(real.held_out), n)),
    )


def infer_memberships(
    judged: JudgedGenerator, overfitted: Overfitted, real: RealImages
) -> dict[str, MembershipInference]:
    """Infer membership from the losses of an overfitted model and, unless it was made elsewhere, of the judged one."""
    found = {"overtrained": infer_membership(overfitted.model, real, overfitted.index_rows)}
    if not judged.is_given:
        found["generalist"] = infer_membership(judged.model, real)
    return found


def one_image_per_patient(images: datasets.Dataset, n: int) -> np.ndarray:
    """Choose rows, int (n,), evenly over the patients and so over the modalities, which stand in order."""
    first = first_of_each_patient(images)
    return first[evenly_spread(len(first), n)]


def evenly_spread(length: int, n: int) -> np.ndarray:
    """Choose n of the numbers from 0 to length - 1, evenly spread."""
    return np.linspace(0, length - 1, n).round().astype(int)


def image_losses(
    pipeline: StableDiffusionPipeline, images: datasets.Dataset, rows: np.ndarray
) -> np.ndarray:
    """Compute `denoising_losses` of some images with their captions: float64 (n,)."""
    from diffusers import DDPMScheduler

    device = accelerator().device
    vae, tokenizer, text_encoder = pipeline.vae, pipeline.tokenizer, pipeline.text_encoder
    latents = torch.from_numpy(encode(vae, load_pixels(images, rows)) * vae.config.scaling_factor)
    text = embed_prompts(tokenizer, text_encoder, images.select(list(rows))["caption"][:])
    generator = torch.Generator().manual_seed(NOISE_SEED)
    noise = torch.randn(latents.shape, generator=generator)
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    net = pipeline.unet.to(device)
    return denoising_losses(
        net,
        scheduler,
        latents.to(device),
        torch.from_numpy(text).float().to(device),
        noise.to(device),
    )


def denoising_losses(
    net: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    latents: torch.Tensor,
    text: torch.Tensor,
    noise: torch.Tensor,
) -> np.ndarray:
    """Compute each image's squared error of what the denoiser predicts, its mean over TIMES: float64 (n,).

    Parameters
    ----------
    net : the denoiser
    scheduler : it says what the denoiser predicts, and how noise is added
    latents, noise : float32 (n, c, h, w)
    text : float32 (n, tokens, width), embeddings of the captions
    """
    losses = []
    with torch.inference_mode():
        for time in TIMES:
            step = round(time * scheduler.config.num_train_timesteps)
            steps = torch.full((len(latents),), step, device=latents.device)
            noisy, target = make_noisy(scheduler, latents, noise, steps)
            parts = zip(noisy.split(BATCH), text.split(BATCH), strict=True)
            predicted = [net(part, step, words, return_dict=False)[0] for part, words in parts]
            errors = (torch.cat(predicted) - target).square().mean((1, 2, 3))
            losses.append(errors.cpu().numpy())
    return np.stack(losses).mean(0, dtype=np.float64)
