"""Weights with which an untrained autoencoder already carries images, coarse and fine, unchanged.

Stock initial weights mix everything: thousands of steps go by until pixels reach the latents. Here every
halving is a Haar wavelet transform of the channels that carry the image, every doubling repeats what it is
given, and what the residual blocks add starts small. After equal time the images are 1.2 dB nearer
(`benchmarks/autoencoder_rates.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

__all__ = ["start_as_wavelet"]

RESIDUAL_SCALE = 0.05  # of what a residual block adds, to its stock initial weights
OTHERS_SCALE = 0.3  # of weights beside those that carry the image
# The four Haar filters of a 2 x 2 patch, rows first; each has length 1.
HAAR = 0.5 * torch.tensor(
    [
        [[1.0, 1.0], [1.0, 1.0]],
        [[1.0, 1.0], [-1.0, -1.0]],
        [[1.0, -1.0], [1.0, -1.0]],
        [[1.0, -1.0], [-1.0, 1.0]],
    ]
)


def start_as_wavelet(model: AutoencoderKL) -> None:
    """Set the initial weights of an untrained autoencoder, in place.

    Parameters
    ----------
    model : AutoencoderKL
        Of any widths. Channels that a level has no room for are left out, finest details first.
    """
    with torch.no_grad():
        _quiet_residual_blocks(model)
        _carry_image_down(model.encoder)
        for block in model.decoder.up_blocks:
            for upsampler in block.upsamplers or ():
                _start_as_identity(upsampler.conv)


def _quiet_residual_blocks(model: AutoencoderKL) -> None:
    """Let every residual block add little, and pass on its input."""
    from diffusers.models.resnet import ResnetBlock2D

    for block in model.modules():
        if not isinstance(block, ResnetBlock2D):
            continue
        block.conv2.weight.mul_(RESIDUAL_SCALE)
        block.conv2.bias.zero_()
        if block.conv_shortcut is not None:
            _start_as_projection(block.conv_shortcut)


def _start_as_projection(shortcut: Any) -> None:
    """Pass on each channel where there is room for all, else mix them orthogonally."""
    given, passed_on = shortcut.in_channels, shortcut.out_channels
    shortcut.bias.zero_()
    if passed_on < given:
        nn.init.orthogonal_(shortcut.weight.view(passed_on, given))
        return
    shortcut.weight.mul_(OTHERS_SCALE)
    shortcut.weight[:given] = torch.eye(given)[:, :, None, None]


def _carry_image_down(encoder: Any) -> None:
    """Pass red, green and blue on, then their Haar coefficients, level by level."""
    carried = encoder.conv_in.in_channels
    encoder.conv_in.bias.zero_()
    encoder.conv_in.weight[:carried] = 0.0
    encoder.conv_in.weight[:carried, :, 1, 1] = torch.eye(carried)
    for block in encoder.down_blocks:
        for downsampler in block.downsamplers or ():
            carried = _start_as_haar(downsampler.conv, carried)


def _start_as_haar(conv: Any, carried: int) -> int:
    """Transform the first channels, as many as fit; return how many carry the image now.

    Coarse coefficients come first, so that what a next level leaves out is fine detail.
    """
    carried = min(carried, conv.out_channels // len(HAAR))
    conv.bias.zero_()
    conv.weight.mul_(OTHERS_SCALE)
    conv.weight[: carried * len(HAAR)] = 0.0
    for number, kernel in enumerate(HAAR):
        for channel in range(carried):
            conv.weight[number * carried + channel, channel, :2, :2] = kernel
    return carried * len(HAAR)


def _start_as_identity(conv: Any) -> None:
    """Pass on each channel, beside small random weights."""
    conv.bias.zero_()
    conv.weight.mul_(OTHERS_SCALE)
    conv.weight[:, :, 1, 1] += torch.eye(conv.out_channels)
