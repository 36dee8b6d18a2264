"""The networks: first stage, text encoder with its tokenizer, denoiser, scheduler.

All are stock diffusers and transformers classes, so that what is trained here loads without this
package. Images are (n, 3, h, w) in [-1, 1] inside; latents are (n, 16, h / 8, w / 8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

LATENT_CHANNELS = 16
DOWNSCALE = 8  # pixels of the image side per latent
CONTEXT = 48  # tokens of a prompt, begin and end marks included
TIMESTEPS = 1000  # flow time 0..1 is shown to the denoiser as 0..1000


def autocast_dtype() -> torch.dtype | None:
    """bfloat16 where this machine computes in it, else None: slower there, not different in kind.

    oneDNN also takes bfloat16 where AVX-512 lacks the instructions for it, and then imitates it at
    half the speed of float32: both must say yes.
    """
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Weights made inside start from `seed`; torch's own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) in [-1, 1], channels last in memory."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
    return images.contiguous(memory_format=torch.channels_last)


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """float (n, 3, h, w) in [-1, 1] to uint8 (n, h, w, 3); values beyond are clipped."""
    levels = images.float().clamp(-1.0, 1.0).add(1.0).mul(127.5).round()
    return levels.byte().permute(0, 2, 3, 1).cpu().numpy()


def first_stage(widths: Sequence[int]) -> AutoencoderKL:
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


def tokenizer(captions: Iterable[str], vocabulary: int = 2048) -> CLIPTokenizer:
    """A CLIP byte-pair tokenizer learnt from captions; every byte is in it, so any text has tokens."""
    import json

    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    symbols = sorted(ByteLevel.alphabet())
    # Ends of words are told beforehand: pairs of equal counts are merged in the order of their numbers, else by luck.
    symbols += [f"{symbol}</w>" for symbol in symbols]
    settings = {"new_special_tokens": symbols[256:], "show_progress": False}
    learnt = CLIPTokenizer().train_new_from_iterator(captions, vocabulary, **settings)
    merges = [tuple(pair) for pair in json.loads(learnt.backend_tokenizer.to_str())["model"]["merges"]]
    tokens = [*symbols, *("".join(pair) for pair in merges)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CONTEXT)


def text_encoder(vocabulary: int, width: int = 128, layers: int = 2, *, bos: int, eos: int) -> CLIPTextModel:
    """An untrained CLIP text transformer (Radford et al., arXiv 2103.00020, section 2.4)."""
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "projection_dim": width, "num_hidden_layers": layers}
    sizes |= {"num_attention_heads": max(1, width // 32), "max_position_embeddings": CONTEXT, "vocab_size": vocabulary}
    return CLIPTextModel(CLIPTextConfig(bos_token_id=bos, eos_token_id=eos, pad_token_id=eos, **sizes))


def denoiser(size: int, widths: Sequence[int], layers: int = 1, text_width: int = 128) -> UNet2DConditionModel:
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


def tokens(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> torch.Tensor:
    """Token numbers (n, CONTEXT) int64. Raises InputError for a prompt that does not fit."""
    most = tokenizer.model_max_length
    for prompt in prompts:
        if len(tokenizer(prompt)["input_ids"]) > most:
            raise InputError(f"prompt {prompt[:40]!r}...: longer than the model's {most} tokens; shorten it")
    return tokenizer(list(prompts), padding="max_length", return_tensors="pt")["input_ids"]


def in_batches(part: Callable[[Any], np.ndarray], rows: Any, batch: int) -> np.ndarray:
    """What `part` makes of some rows at a time, without gradients, as one array."""
    with torch.inference_mode():
        return np.concatenate([part(rows[start : start + batch]) for start in range(0, len(rows), batch)])


def save_weights(model: torch.nn.Module, path: Path) -> None:
    """A module's parameters and buffers as one safetensors file."""
    from safetensors.torch import save_file

    save_file({name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items()}, path)


def load_weights(model: torch.nn.Module, path: Path, prefix: str = "") -> None:
    """The inverse of `save_weights`; every name, less `prefix`, and every shape must match."""
    from safetensors.torch import load_file

    model.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in load_file(path).items()})
