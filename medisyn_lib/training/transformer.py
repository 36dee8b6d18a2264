"""A small vision transformer that classifies modality and finding; what it makes of images serves as features.

It is the second encoder of the measures of fidelity. It was trained on no photograph, and no network
that generates is of its architecture.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from medisyn_lib.errors import InputError
from medisyn_lib.models.tensors import in_batches, to_tensor
from medisyn_lib.models.weights import load_weights
from medisyn_lib.runtime.device import to_device
from medisyn_lib.training import loop
from medisyn_lib.training.classifier import WEIGHTS, train_classifier
from medisyn_lib.training.pair_classifier import PairClassifier, read_classes

__all__ = [
    "FEATURE_WIDTH",
    "PATCH",
    "TransformerClassifier",
    "train_transformer",
    "transformer_network",
]

PATCH = 8  # pixels
FEATURE_WIDTH = 128
DEPTH, HEADS = 4, 4


def transformer_network(classes: int, *, side: int) -> nn.Module:
    """Make a small untrained vision transformer.

    Parameters
    ----------
    classes : int
        Number of logits.
    side : int
        Height and width of its images in pixels, a multiple of 8.

    Returns
    -------
    nn.Module
        timm's VisionTransformer, from images float (n, 3, side, side) in [-1, 1] to logits (n, classes).

    Raises
    ------
    InputError
        If the patches do not divide the side.

    References
    ----------
    Dosovitskiy et al., arXiv 2010.11929, with mean pooling and no class token.
    """
    from timm.models.vision_transformer import VisionTransformer

    if side < PATCH or side % PATCH:
        raise InputError(f"transformer: images of {side} pixels; take a multiple of {PATCH}")
    return VisionTransformer(
        img_size=side,
        patch_size=PATCH,
        num_classes=classes,
        embed_dim=FEATURE_WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        global_pool="avg",
        class_token=False,
    )


def train_transformer(
    pixels: np.ndarray,
    modality: Sequence[str],
    finding: Sequence[str],
    plan: loop.TrainingPlan,
    directory: Path,
) -> None:
    """Train a `transformer_network` as `train_classifier` does; `TransformerClassifier` reads it back.

    Parameters
    ----------
    pixels : np.ndarray
        uint8 (n, side, side, 3).
    modality, finding, plan, directory
        As of `train_classifier`.

    Raises
    ------
    InputError
        If there are fewer than two classes, or the patches do not divide the side.
    """
    make_network = partial(transformer_network, side=pixels.shape[1])
    train_classifier(pixels, modality, finding, plan, directory, make_network)


class TransformerClassifier(PairClassifier):
    """A trained transformer, read from the folder that holds it.

    Parameters
    ----------
    directory : Path
        As of `train_transformer`.
    side : int
        Of the images that it was trained on, in pixels.
    """

    def __init__(self, directory: Path, side: int) -> None:
        self.classes = read_classes(directory)
        self.side = side
        self.net: Any = transformer_network(len(self.classes), side=side)
        load_weights(self.net, directory / WEIGHTS)
        self.net.eval()

    def scores(self, pixels: np.ndarray, batch: int = 64) -> np.ndarray:
        """Return logits, float32 (n, classes), of uint8 images (n, side, side, 3)."""
        return self._apply(pixels, batch, pre_logits=False)

    def features(self, pixels: np.ndarray, batch: int = 64) -> np.ndarray:
        """Return what the last layer sees, float32 (n, 128), of uint8 images (n, side, side, 3).

        Raises
        ------
        InputError
            If the images are of another size than those that it was trained on.
        """
        return self._apply(pixels, batch, pre_logits=True)

    def _apply(self, pixels: np.ndarray, batch: int, *, pre_logits: bool) -> np.ndarray:
        """The network's output, or that of its pooling."""
        shape = pixels.shape[1:3]
        if shape != (self.side, self.side):
            raise InputError(
                f"transformer: images of {shape[0]} x {shape[1]} pixels, trained on {self.side}; "
                "bring them to that size"
            )

        device = to_device(self.net)

        def apply(some_pixels: np.ndarray) -> np.ndarray:
            tokens = self.net.forward_features(to_tensor(np.array(some_pixels)).to(device))
            output: torch.Tensor = self.net.forward_head(tokens, pre_logits=pre_logits)
            return output.cpu().numpy()

        return in_batches(apply, pixels, batch)
