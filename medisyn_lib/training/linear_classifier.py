"""A linear classifier of (modality, finding) pairs on an encoder's features.

It is the second opinion beside the network of `training.classifier`, of another family: its features
were learnt from photographs, and training fits one linear map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from medisyn_lib.training.pair_classifier import (
    PairClassifier,
    number_classes,
    read_classes,
    write_classes,
)

__all__ = ["INVERSE_PENALTY", "LinearClassifier", "fit_linear_classifier"]

WEIGHTS = "linear.safetensors"
# scikit-learn's C. On calibration patients of the phantoms (n = 600, `quick`) 0.0001, 0.001, 0.01 and 0.1
# name 90, 93.7, 94.2 and 94.3% of findings: the strongest penalty that costs nothing.
INVERSE_PENALTY = 0.01
MAX_ITERATIONS = 1000
# Images uint8 (n, h, w, 3) to their features, float (n, d).
Encode = Callable[[np.ndarray], np.ndarray]


def fit_linear_classifier(
    features: np.ndarray,
    modality: Sequence[str],
    finding: Sequence[str],
    directory: Path,
    inverse_penalty: float = INVERSE_PENALTY,
) -> None:
    """Fit a multinomial logistic regression of (modality, finding) pairs; leave it in a folder.

    Parameters
    ----------
    features : np.ndarray
        float (n, d); standardised here.
    modality, finding : sequence of str
        Of each image.
    directory : Path
        Where `LinearClassifier` reads it back.
    inverse_penalty : float
        Above 0; the less, the stronger the ridge penalty on the weights of standardised features.

    Raises
    ------
    InputError
        If there are fewer than two classes.
    """
    from safetensors.numpy import save_file
    from sklearn.linear_model import LogisticRegression

    classes, target = number_classes(modality, finding)
    values = np.asarray(features, np.float64)
    mean, deviation = values.mean(0), values.std(0)
    deviation[deviation <= 1e-6 * np.abs(mean)] = 1.0  # of a feature that is the same everywhere
    model = LogisticRegression(C=inverse_penalty, max_iter=MAX_ITERATIONS)
    model.fit((values - mean) / deviation, target)
    weight, intercept = model.coef_, model.intercept_
    if len(classes) == 2:  # scikit-learn gives the second class's logit alone
        weight, intercept = (np.concatenate([-x, x]) / 2 for x in (weight, intercept))
    tensors = {"mean": mean, "deviation": deviation, "weight": weight, "intercept": intercept}
    directory.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(x) for name, x in tensors.items()}, directory / WEIGHTS)
    write_classes(classes, directory)


class LinearClassifier(PairClassifier):
    """A fitted classifier, read from the folder that holds it.

    Parameters
    ----------
    directory : Path
        As of `fit_linear_classifier`.
    encode : callable
        Images uint8 (n, h, w, 3) to features (n, d), as those that it was fitted on.
    """

    def __init__(self, directory: Path, encode: Encode) -> None:
        from safetensors.numpy import load_file

        self.classes = read_classes(directory)
        self.encode = encode
        self.tensors = load_file(directory / WEIGHTS)

    def scores(self, pixels: np.ndarray, batch: int = 256) -> np.ndarray:
        """Return logits, float32 (n, classes), of uint8 images (n, h, w, 3); `batch` changes nothing."""
        features = np.asarray(self.encode(pixels), np.float64)
        standardised = (features - self.tensors["mean"]) / self.tensors["deviation"]
        logits = standardised @ self.tensors["weight"].T + self.tensors["intercept"]
        return logits.astype(np.float32)
