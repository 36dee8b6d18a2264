"""Low-rank adapters of a denoiser: a few weights beside frozen ones, which are added to them when training is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medisyn_lib.runtime.device import seeded

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

RANK = 32
# Projections of attention and of the layers behind it.
ADAPTED = [
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "proj_in",
    "proj_out",
    "ff.net.0.proj",
    "ff.net.2",
]


def add_adapters(net: UNet2DConditionModel, seed: int) -> UNet2DConditionModel:
    """Freeze a denoiser and put adapters, which change nothing yet, beside its projections; in place.

    Parameters
    ----------
    net : UNet2DConditionModel
        Left with the adapters' weights alone trainable.
    seed : int
        Of their initial weights.

    References
    ----------
    Hu et al., arXiv 2106.09685, section 4.1.
    """
    from peft import LoraConfig

    net.requires_grad_(False)
    with seeded(seed):
        net.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=ADAPTED))
    return net


def fuse_adapters(net: UNet2DConditionModel) -> UNet2DConditionModel:
    """Add the adapters to the weights that they stand beside and remove them; in place."""
    net.fuse_lora()
    net.unload_lora()
    return net
