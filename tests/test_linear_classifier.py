"""The linear classifier: by hand, beside scikit-learn, what it learns, what is stored, and the study's own."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import alignment
from medisyn_lib.pipeline.study import Study
from medisyn_lib.training.linear_classifier import (
    INVERSE_PENALTY,
    MAX_ITERATIONS,
    LinearClassifier,
    fit_linear_classifier,
)
from medisyn_lib.training.pair_classifier import PairClassifier

THREE = [("ct", "a"), ("ct", "b"), ("mri", "a")]


def encode(pixels: np.ndarray) -> np.ndarray:
    """Features of an image are its first row's values."""
    return pixels[:, 0].reshape(len(pixels), -1).astype(np.float64)


def planted(classes: list[tuple[str, str]], n: int = 90) -> tuple[np.ndarray, list, list]:
    """Images, modalities and findings; a class shifts one of the features, another never varies."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 160, (n, 2, 2, 3), dtype=np.uint8)
    number = np.arange(n) % len(classes)
    pixels[np.arange(n), 0, 0, number] += 80
    pixels[:, 0, 1, 2] = 7
    modality, finding = zip(*(classes[place] for place in number), strict=True)
    return pixels, list(modality), list(finding)


def fitted(folder: Path, classes: list[tuple[str, str]], **settings: float) -> LinearClassifier:
    pixels, modality, finding = planted(classes)
    fit_linear_classifier(encode(pixels), modality, finding, folder, **settings)
    return LinearClassifier(folder, encode)


def test_scores_by_hand(tmp_path: Path) -> None:
    """Features 10 and 40, standardised to -1 and 2; logits 3 (-1) + 2 + 0.5 and 0 + 2 - 1."""
    tensors = {"mean": [20, 20], "deviation": [10, 10], "weight": [[3, 1], [0, 1]]}
    tensors["intercept"] = [0.5, -1]
    save_file(
        {k: np.array(x, np.float64) for k, x in tensors.items()}, tmp_path / "linear.safetensors"
    )
    (tmp_path / "classes.json").write_text(json.dumps([["ct", "a"], ["mri", "a"]]))
    classifier = LinearClassifier(tmp_path, lambda pixels: np.array([[10, 40]]))
    scores = classifier.scores(np.zeros((1, 2, 2, 3), np.uint8))
    assert scores.dtype == np.float32 and scores.tolist() == [[-0.5, 1.0]]
    assert classifier.modality_right(scores, ["mri"]).tolist() == [True]


@pytest.mark.parametrize("classes", [THREE, THREE[1:]], ids=["three", "two"])
def test_scores_are_those_of_scikit_learn(tmp_path: Path, classes: list[tuple[str, str]]) -> None:
    pixels, modality, finding = planted(classes)
    classifier = fitted(tmp_path, classes)
    reference = make_pipeline(
        StandardScaler(), LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_ITERATIONS)
    ).fit(encode(pixels), classifier.numbers(modality, finding))
    scores = classifier.scores(pixels)
    log_probabilities = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    expected = reference.predict_log_proba(encode(pixels))
    np.testing.assert_allclose(log_probabilities, expected, rtol=1e-3, atol=1e-4)


def test_it_learns_and_is_accepted_by_the_measures_of_alignment(tmp_path: Path) -> None:
    pixels, modality, finding = planted(THREE)
    patients = [f"p{number}" for number in range(len(pixels))]
    columns = {"modality": modality, "finding": finding, "patient_id": patients}
    requested = datasets.Dataset.from_dict(columns)
    classifier = fitted(tmp_path, THREE)
    assert isinstance(classifier, PairClassifier)
    table = alignment.classify(classifier, pixels, requested)
    assert table["modality_correct"].mean() > 0.9 and table["finding_correct"].mean() > 0.9
    shuffled = np.random.default_rng(1).permutation(pixels)
    assert alignment.classify(classifier, shuffled, requested)["finding_correct"].mean() < 0.8


def test_a_stronger_penalty_shrinks_the_weights(tmp_path: Path) -> None:
    norms = []
    for penalty in (1.0, 0.01, 0.0001):
        classifier = fitted(tmp_path / str(penalty), THREE, inverse_penalty=penalty)
        norms.append(np.linalg.norm(classifier.tensors["weight"]))
    assert norms[0] > 2 * norms[1] > 4 * norms[2]


def test_two_fits_are_equal_to_the_byte_and_nothing_is_pickled(tmp_path: Path) -> None:
    for name in ("one", "other"):
        fitted(tmp_path / name, THREE)
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}
    assert sorted(files) == ["classes.json", "linear.safetensors"]
    tensors = load_file(tmp_path / "one" / "linear.safetensors")
    assert {name: x.shape for name, x in tensors.items()} == {
        "mean": (6,),
        "deviation": (6,),
        "weight": (3, 6),
        "intercept": (3,),
    }
    assert all(np.isfinite(x).all() for x in tensors.values())


def test_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 2 classes, got 1"):
        fit_linear_classifier(np.eye(4), ["ct"] * 4, ["a"] * 4, tmp_path)


def test_a_study_fits_its_own_on_the_evaluators_patients() -> None:
    study = Study("tiny", "phantom")
    artifact = study.linear_classifier()
    assert artifact is study.linear_classifier("evaluator")
    assert artifact.images == study.image_set("evaluator") and artifact.upstream() == []
    classifier, network = artifact.load(), study.classifier()
    assert network.step != artifact.step
    images = study.images("evaluator")
    table = alignment.classify(classifier, study.image_set("evaluator").pixels(), images)
    assert table["modality_correct"].mean() > 0.95 and table["finding_correct"].mean() > 0.6
