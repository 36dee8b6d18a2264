"""The networks: autoencoder, text encoder, denoiser; and the scheduler that samples with them.

All are stock diffusers and transformers classes, so that what is trained here loads without this
package. Images are (n, 3, h, w) in [-1, 1] inside; latents are (n, 16, h / 4, w / 4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from medisyn_lib.models.wavelet_start import start_as_wavelet

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel

__all__ = [
    "CONTEXT",
    "DOWNSCALE",
    "FLOW_SHIFT",
    "LATENT_CHANNELS",
    "TIMESTEPS",
    "autoencoder",
    "denoiser",
    "downscale_of",
    "scheduler",
    "text_encoder",
]

LATENT_CHANNELS = 16
DOWNSCALE = 4  # pixels of the image side per latent
CONTEXT = 48  # tokens of a prompt, begin and end marks included
TIMESTEPS = 1000  # flow time 0..1 is shown to the denoiser as 0..1000
FLOW_SHIFT = 4.0  # sampling takes more steps where noise is strong


def autoencoder(
    widths: Sequence[int],
    latent_channels: int = LATENT_CHANNELS,
    *,
    start: Callable[[AutoencoderKL], None] | None = start_as_wavelet,
) -> AutoencoderKL:
    """Make an untrained Kullback-Leibler autoencoder ("first stage").

    Few channels at full resolution, many at low: a CPU spends its time where the arithmetic is
    dense. Its initial weights carry the image through (`wavelet_start`).

    Parameters
    ----------
    widths : sequence of int
        Channels of each level, multiples of 8; every level but the first halves the side.
    latent_channels : int
        Channels of the latents.
    start : callable, optional
        Sets its initial weights, in place; None leaves those of diffusers.

    References
    ----------
    Rombach et al., arXiv 2112.10752, section 3.1.
    """
    from diffusers import AutoencoderKL

    model = AutoencoderKL(
        block_out_channels=tuple(widths),
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=latent_channels,
        mid_block_add_attention=False,
        sample_size=64,
        scaling_factor=1.0,
        force_upcast=False,
    )
    if start is not None:
        start(model)
    return model.to(memory_format=torch.channels_last)


def downscale_of(vae: AutoencoderKL) -> int:
    """Return how many pixels of the image side make one of an autoencoder's latents."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def text_encoder(
    vocabulary: int, width: int = 128, layers: int = 2, *, bos: int, eos: int
) -> CLIPTextModel:
    """Make an untrained CLIP text transformer.

    Parameters
    ----------
    vocabulary : int
        Number of tokens.
    width, layers : int
        Of the transformer; a head per 32 channels.
    bos, eos : int
        Numbers of the begin and end marks; the end mark also pads.

    References
    ----------
    Radford et al., arXiv 2103.00020, section 2.4.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 32),
        max_position_embeddings=CONTEXT,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=eos,
    )
    return CLIPTextModel(config)


def denoiser(
    size: int,
    widths: Sequence[int],
    layers: int = 1,
    text_width: int = 128,
    *,
    latent_channels: int = LATENT_CHANNELS,
    downscale: int = DOWNSCALE,
) -> UNet2DConditionModel:
    """Make an untrained text-conditioned U-Net over latents.

    Text enters twice: by cross-attention, word for word, below the finest level, and pooled into
    the time embedding, which reaches every block from the first step of training on (diffusers'
    `addition_embed_type`). Convolutions alone at the finest level are 1.4 times as fast and learn
    as well.

    Parameters
    ----------
    size : int
        Pixels of the image side.
    widths : sequence of int
        Channels of each level, multiples of 32.
    layers : int
        Residual blocks per level.
    text_width : int
        Width of the text embeddings.
    latent_channels, downscale : int
        Of the autoencoder.
    """
    from diffusers import UNet2DConditionModel

    attending_levels = len(widths) - 1
    model = UNet2DConditionModel(
        sample_size=size // downscale,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=tuple(widths),
        layers_per_block=layers,
        cross_attention_dim=text_width,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * attending_levels),
        up_block_types=(*("CrossAttnUpBlock2D",) * attending_levels, "UpBlock2D"),
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        attention_head_dim=tuple(width // 32 for width in widths),
        norm_num_groups=32,
    )
    return model.to(memory_format=torch.channels_last)


def scheduler() -> DPMSolverMultistepScheduler:
    """Make SDE-DPM-Solver++ of second order over flow-matching noise levels, shifted towards noise.

    Each of its steps needs a `generator`. Small errors of the denoiser add up along a path without
    noise; the fresh noise of each step covers them. The shift leaves one long last step, which ends
    in an average where small steps would invent detail.

    References
    ----------
    Lu et al., arXiv 2211.01095; Esser et al., arXiv 2403.03206, equation 23 (the shift).
    """
    from diffusers import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler(
        num_train_timesteps=TIMESTEPS,
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        steps_offset=1,  # of no effect on these time steps, but the pipeline warns without it
        flow_shift=FLOW_SHIFT,
        algorithm_type="sde-dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
    )
