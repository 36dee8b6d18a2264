"""What all classifiers of (modality, finding) pairs share: their classes, and whether they agree with labels."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medisyn_lib.errors import InputError
from medisyn_lib.runtime import store

__all__ = [
    "CLASSES",
    "PairClassifier",
    "Targets",
    "number_classes",
    "read_classes",
    "write_classes",
]

CLASSES = "classes.json"
Pair = tuple[str, str]  # modality and finding


class Targets(NamedTuple):
    """The classes of images.

    Attributes
    ----------
    classes : list of (str, str)
        Modality and finding of each class, sorted.
    numbers : np.ndarray
        The class of each image, int64 (n,).
    """

    classes: list[Pair]
    numbers: np.ndarray


def number_classes(modality: Sequence[str], finding: Sequence[str]) -> Targets:
    """Return the classes of images that have these modalities and findings.

    Raises
    ------
    InputError
        If there are fewer than two classes.
    """
    pairs = list(zip(modality, finding, strict=True))
    classes = sorted(set(pairs))
    if len(classes) < 2:
        raise InputError(
            f"evaluator: needs at least 2 classes, got {len(classes)}; add findings or modalities"
        )
    number = {pair: index for index, pair in enumerate(classes)}
    return Targets(classes, np.array([number[pair] for pair in pairs]))


def write_classes(classes: Sequence[Pair], directory: Path) -> None:
    """Write the classes of a classifier into its folder."""
    store.write_atomic(directory / CLASSES, json.dumps(classes))


def read_classes(directory: Path) -> list[Pair]:
    """Return the classes of the classifier that a folder holds."""
    stored = json.loads((directory / CLASSES).read_text("utf-8"))
    return [(str(modality), str(finding)) for modality, finding in stored]


class PairClassifier(ABC):
    """A trained classifier of (modality, finding) pairs; subclasses say how they score images."""

    classes: list[Pair]

    @abstractmethod
    def scores(self, pixels: np.ndarray, batch: int = 256) -> np.ndarray:
        """Return logits, float32 (n, classes), of uint8 images (n, h, w, 3)."""

    def numbers(self, modality: Sequence[str], finding: Sequence[str]) -> np.ndarray:
        """Return the class number of each image, int64 (n,)."""
        number = {pair: index for index, pair in enumerate(self.classes)}
        return np.array([number[pair] for pair in zip(modality, finding, strict=True)])

    def modality_of_class(self) -> np.ndarray:
        """Return the modality of each class, str (classes,)."""
        return np.array([modality for modality, _ in self.classes])

    def modality_right(self, scores: np.ndarray, modality: Sequence[str]) -> np.ndarray:
        """Return whether the best class of all is of each image's modality, bool (n,)."""
        best = self.modality_of_class()[scores.argmax(1)]
        return best == np.asarray(modality)

    def finding_right(
        self, scores: np.ndarray, modality: Sequence[str], finding: Sequence[str]
    ) -> np.ndarray:
        """Return whether the best class within each image's modality is its finding, bool (n,)."""
        same_modality = self.modality_of_class()[None, :] == np.asarray(modality)[:, None]
        within = np.where(same_modality, scores, -np.inf)
        findings = np.array([name for _, name in self.classes])
        return findings[within.argmax(1)] == np.asarray(finding)
