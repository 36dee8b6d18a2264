"""The networks: first stage, text encoder with its tokenizer, denoiser, scheduler.

All are stock diffusers and transformers classes, so that what is trained here loads without this
package. Images are (n, 3, h, w) in [-1, 1] inside; latents are (n, 16, h / 8, w / 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel

LATENT_CHANNELS = 16
DOWNSCALE = 8  # pixels of the image side per latent
CONTEXT = 48  # tokens of a prompt, begin and end marks included
TIMESTEPS = 1000  # flow time 0..1 is shown to the denoiser as 0..1000


def autoencoder(widths: Sequence[int]) -> AutoencoderKL:
    """An untrained first stage: Kullback-Leibler autoencoder, 8 times smaller, 16 latent channels.

    Few channels at full resolution, many at low: a CPU spends its time where the arithmetic is
    dense. Rombach et al., arXiv 2112.10752, section 3.1.
    """
    from diffusers import AutoencoderKL

    model = AutoencoderKL(
        block_out_channels=tuple(widths),
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=1, norm_num_groups=8, latent_channels=LATENT_CHANNELS, mid_block_add_attention=False,
        sample_size=64, scaling_factor=1.0, force_upcast=False,
    )  # fmt: skip
    return model.to(memory_format=torch.channels_last)


def text_encoder(
    vocabulary: int, width: int = 128, layers: int = 2, *, bos: int, eos: int
) -> CLIPTextModel:
    """An untrained CLIP text transformer (Radford et al., arXiv 2103.00020, section 2.4)."""
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "projection_dim": width,
        "num_hidden_layers": layers,
    }
    sizes |= {
        "num_attention_heads": max(1, width // 32),
        "max_position_embeddings": CONTEXT,
        "vocab_size": vocabulary,
    }
    return CLIPTextModel(
        CLIPTextConfig(bos_token_id=bos, eos_token_id=eos, pad_token_id=eos, **sizes)
    )


def denoiser(
    size: int, widths: Sequence[int], layers: int = 1, text_width: int = 128
) -> UNet2DConditionModel:
    """An untrained text-conditioned U-Net over latents of `size`-pixel images.

    Text enters twice: by cross-attention, word for word, below the finest level, and pooled into the
    time embedding, which reaches every block from the first step of training on (diffusers'
    `addition_embed_type`). Convolutions alone at the finest level are 1.4 times as fast and learn as well.
    """
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel(
        sample_size=size // DOWNSCALE, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS,
        block_out_channels=tuple(widths), layers_per_block=layers, cross_attention_dim=text_width,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * (len(widths) - 1)),
        up_block_types=(*("CrossAttnUpBlock2D",) * (len(widths) - 1), "UpBlock2D"),
        addition_embed_type="text", addition_embed_type_num_heads=4,
        attention_head_dim=tuple(width // 32 for width in widths), norm_num_groups=32,
    )  # fmt: skip
    return model.to(memory_format=torch.channels_last)


def scheduler() -> DPMSolverMultistepScheduler:
    """DPM-Solver++ of second order over flow-matching noise levels (Lu et al., arXiv 2211.01095)."""
    from diffusers import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler(
        num_train_timesteps=TIMESTEPS, prediction_type="flow_prediction", use_flow_sigmas=True,
        steps_offset=1,  # of no effect on these time steps, but the pipeline warns without it
        flow_shift=1.0, algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="zero",
    )  # fmt: skip
