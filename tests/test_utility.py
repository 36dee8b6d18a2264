"""Utility: views, draws and arms by hand, training beside scikit-learn, scores, a generator of a handful of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from medisyn_lib.evaluation.utility import training
from medisyn_lib.evaluation.utility.arms import (
    Arm,
    Run,
    all_runs,
    baseline_arm,
    network_runs,
    primary_arm,
    shuffled_arm,
)
from medisyn_lib.evaluation.utility.classical_augmentation import VIEWS, augmented_views
from medisyn_lib.evaluation.utility.gains import MORE_REAL, PRIMARY, SHUFFLED, contrasts
from medisyn_lib.evaluation.utility.images import Images, TaskImages, draw_order, load_images
from medisyn_lib.evaluation.utility.networks import train_network, train_networks
from medisyn_lib.evaluation.utility.scores import score_runs, scores
from medisyn_lib.evaluation.utility.tasks import Task, images_themselves, make_task
from medisyn_lib.evaluation.utility.training import train_classifiers, train_side_by_side
from medisyn_lib.models import encoders
from medisyn_lib.pipeline.own_generator import fit_linear_autoencoder, own_generator_images
from medisyn_lib.pipeline.study import Study

D, CLASSES = 24, 3
CENTRES = np.random.default_rng(0).normal(0, 0.6, (CLASSES, D))


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    monkeypatch.setattr(training, "RUNS_AT_ONCE", 512)  # narrow features: all at once is quicker


def planted(
    informative: float = 1.0, real: float = 1.0, seed: int = 0, generators: int = 1
) -> Task:
    """Classes that differ in their means, which a proportion `informative` of synthetic (`real`) images has.

    60 real images, 60 synthetic ones per generator, 90 seen by it, 90 validation and 300 test images, two per patient.
    """
    sources = [f"synthetic {k}" for k in range(generators)]
    parts = {
        "real": (60, real),
        **dict.fromkeys(sources, (60, informative)),
        "seen_by_generator": (90, real),
        "validation": (90, 1.0),
        "test": (300, 1.0),
    }
    rng = np.random.default_rng([seed, 1])
    features: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    rows: dict[str, np.ndarray] = {}
    for name, (n, proportion) in parts.items():
        views = VIEWS if name in ("real", *sources) else 1
        label = np.arange(n) % CLASSES
        informed = rng.random((n, 1)) < proportion
        mean = np.where(informed, CENTRES[label], CENTRES[rng.permutation(label)])
        images = mean + rng.normal(size=(n, D))
        noise = 0.3 * rng.normal(size=(n, views, D))
        noise[:, 0] = 0  # the image itself
        rows[name] = sum(map(len, labels)) + np.arange(n * views).reshape(n, views)
        features.append((images[:, None] + noise).reshape(-1, D).astype(np.float32))
        labels.append(np.repeat(label, views))
    right = np.concatenate(labels)
    shuffled = right.copy()
    for name in sources:
        shuffled[rows[name]] = right[rng.permutation(rows[name])]
    return Task(
        classes=("a", "b", "c"),
        x=np.concatenate(features),
        y=np.concatenate([right, shuffled]),
        real=rows["real"],
        synthetic=np.stack([rows[name] for name in sources]),
        seen_by_generator=rows["seen_by_generator"][:, 0],
        validation=rows["validation"][:, 0],
        test=rows["test"][:, 0],
        patients=np.arange(300) // 2,
    )


def test_views_by_hand() -> None:
    flat = np.full((2, 16, 16, 3), 100, np.uint8)
    made = augmented_views(flat)
    assert made.shape == (2, VIEWS, 16, 16, 3) and (made[:, 0] == 100).all()
    assert (
        made.min() >= 80 and made.max() <= 120 and len(np.unique(made[:, 1:])) > 1
    )  # brightness alone, one a view
    assert (made.reshape(2, VIEWS, -1).std(2) == 0).all()
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None] * 15, (40, 16, 16, 3)).copy()
    rising = np.diff(augmented_views(ramp)[:, 1, 0, :, 0].astype(int), axis=1).sum(1) > 0
    assert 5 < rising.sum() < 35  # about half are mirrored
    assert np.array_equal(augmented_views(ramp), augmented_views(ramp))
    assert not np.array_equal(augmented_views(ramp), augmented_views(ramp, 1))


def test_views_are_shifted_by_up_to_an_eighth() -> None:
    """The dark end of a ramp of 16 columns is repeated up to twice, or up to two columns are lost."""
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None] * 15, (60, 16, 16, 3)).copy()
    dark = (augmented_views(ramp)[:, 1, 0, :, 0] == 0).sum(1)
    assert {*dark.tolist()} == {0, 1, 2, 3}


def test_a_draw_has_every_class_early_and_every_image_once() -> None:
    classes = np.array(["rare"] + ["common"] * 30 + ["other"] * 20)
    orders = [draw_order(classes, draw) for draw in range(5)]
    assert all(sorted(order) == list(range(51)) for order in orders)
    assert all({*classes[order[:3]]} == {"rare", "common", "other"} for order in orders)
    assert len({tuple(order) for order in orders}) == 5
    numbers = np.unique(classes, return_inverse=True)[1]
    assert np.array_equal(draw_order(numbers, 3), orders[3])


def test_arms_hold_what_their_names_say() -> None:
    task = planted(generators=2)
    every = list(all_runs(task, [6, 12], range(2)))
    found = {(*run.arm, run.draw): run for run in every}
    assert len(found) == len(every) and {run.arm.ratio for run in every} == {0, 1, 3, 10}
    assert ("mixed", 12, 10, 0) not in found  # there are 60 synthetic images
    few, more = found["real", 6, 0, 1].first_half, found["real", 12, 0, 1].first_half
    assert {*few} < {*more} and len(few) == 6 and {*few} <= {*task.real[:, 0]}
    assert {*found["real, augmented", 6, 0, 1].first_half} == {
        *task.real[np.isin(task.real[:, 0], few)].ravel()
    }
    mixed, alone = found["mixed", 6, 3, 1].first_half, found["synthetic", 6, 3, 1].first_half
    assert (
        {*mixed} == {*few, *alone} and len(alone) == 18 and {*alone} <= {*task.synthetic[1, :, 0]}
    )
    for turn, run in enumerate(
        run for run in all_runs(task, [6], range(7, 9)) if run.arm == ("synthetic", 6, 3)
    ):
        assert {*run.first_half} <= {
            *task.synthetic[turn, :, 0]
        }  # in turn, whatever the draws' numbers
    later = found["synthetic, then real", 6, 3, 1]
    assert np.array_equal(later.first_half, alone) and np.array_equal(later.second_half, few)
    odd = found["shuffled, augmented", 6, 1, 1].first_half
    same = found["mixed, augmented", 6, 1, 1].first_half
    assert np.array_equal(odd % len(task.x), same) and (odd >= len(task.x)).sum() == 6 * VIEWS
    assert {run.arm.n for run in every if run.arm.kind == "real"} == {6, 12, 24, 48, 96}
    assert {*found["real", 96, 0, 0].first_half} >= {*task.seen_by_generator}


def test_training_comes_near_logistic_regression_and_does_not_hang_on_its_neighbours() -> None:
    task = planted()
    rows = np.concatenate([task.real[:, 0], task.seen_by_generator])
    few = [
        Run(Arm("real", n, 0), draw, rows[:n], rows[:n]) for n, draw in ((150, 0), (30, 1), (60, 2))
    ]
    probabilities = train_classifiers(task, few, 400)
    assert probabilities.shape == (3, 300, CLASSES) and np.allclose(
        probabilities.sum(2), 1, atol=1e-5
    )
    right = task.y[task.test]
    known = (
        LogisticRegression(C=0.1, max_iter=500)
        .fit(task.x[rows], task.y[rows])
        .predict_proba(task.x[task.test])
    )
    ours, theirs = (
        roc_auc_score(right, one, multi_class="ovr") for one in (probabilities[0], known)
    )
    assert abs(ours - theirs) < 0.015 and ours > 0.9
    halves = [
        Run(Arm("synthetic, then real", 30, 1), 0, first, rows[:30])
        for first in (rows[30:60], rows[60:90])
    ]
    assert not np.allclose(
        *(train_classifiers(task, [run], 20) for run in halves)
    )  # kept apart in the store
    again = train_classifiers(task, [few[2], few[0]], 400)
    assert np.allclose(again, probabilities[[2, 0]], atol=1e-4)


def test_the_moment_is_chosen_on_validation_images_and_halves_are_halves() -> None:
    task = planted(real=0.0)  # training images that say nothing of the class
    noise, own = task.real[:20, 0], task.validation[:45]
    probabilities = train_classifiers(task, [Run(Arm("real", 20, 0), 0, noise, noise)], 200)[0]
    right = task.y[task.test]
    assert -np.log(probabilities[np.arange(300), right]).mean() < np.log(CLASSES) + 0.25
    # The first half teaches wrong classes, the second right ones: the end counts, as validation images say.
    wrong = own + len(task.x)
    labels = np.append(task.y[: len(task.x)], (task.y[: len(task.x)] + 1) % CLASSES)
    turned = train_classifiers(
        task._replace(y=labels), [Run(Arm("synthetic, then real", 45, 1), 0, wrong, own)], 200
    )[0]
    assert (turned.argmax(1) == right).mean() > 0.7


def test_the_last_step_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where validation images gain by every step it is the one that counts, checked every step or once."""
    task, found = planted(), []
    run = Run(Arm("real", 60, 0), 0, task.real[:, 0], task.real[:, 0])
    for checks in (1, 12):
        monkeypatch.setattr(training, "VALIDATION_CHECKS", checks)
        found.append(train_side_by_side(task, [run], 12))
    assert np.array_equal(*found) and found[0].std() > 0
    assert train_side_by_side(task, [run], 1).std() > 0


def test_scores_are_those_of_scikit_learn_and_leave_patients_out() -> None:
    rng, right, people = np.random.default_rng(3), np.arange(90) % 3, np.arange(90) // 3
    probabilities = rng.dirichlet([1, 1, 1], 90) * 0.5 + 0.5 * np.eye(3)[rng.permutation(right)]
    found = scores(probabilities, right, people)
    assert all(rows.shape == (31,) for rows in found.values())
    assert found["AUROC"][0] == pytest.approx(
        roc_auc_score(right, probabilities, multi_class="ovr")
    )
    assert found["AUROC 1"][0] == pytest.approx(roc_auc_score(right == 1, probabilities[:, 1]))
    for rows, given in ((slice(None), 0), (people != 4, 5)):
        score = balanced_accuracy_score(right[rows], probabilities.argmax(1)[rows])
        assert found["balanced accuracy"][given] == pytest.approx(score)


def test_the_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.35, 0.65]])
    found = scores(probabilities, np.array([0, 1, 1, 1]), np.arange(4))
    # Confidence 0.95, half right: 0.45 of half the images; 0.65, all right: 0.35 of the other half.
    assert found["calibration error"][0] == pytest.approx(0.5 * 0.45 + 0.5 * 0.35)


def test_who_is_sure_of_everything_and_wrong_is_not_calibrated() -> None:
    probabilities = np.tile([1.0, 0.0], (10, 1))
    found = scores(probabilities, np.arange(10) % 2, np.arange(10))
    assert found["calibration error"][0] == pytest.approx(0.5)


def test_a_task_keeps_its_rows_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_values(pixels: np.ndarray, encoder: str) -> np.ndarray:
        return pixels.reshape(len(pixels), -1)[:, :2].astype(float)

    monkeypatch.setattr(encoders, "features", two_values)

    def images(value: int, n: int) -> Images:
        label = np.array(["x", "y"])[np.arange(n) % 2]
        return Images(np.full((n, 8, 8, 3), value, np.uint8), label, np.arange(n).astype(str))

    given = TaskImages(*(images(k, 4 + k) for k in range(4)))
    task = make_task(given, synthetic=[images(100, 20), images(200, 20)])
    assert task.classes == ("x", "y") and task.synthetic.shape == (2, 20, VIEWS)
    for k, name in enumerate(TaskImages._fields):
        rows = getattr(task, name)
        assert len(rows) == 4 + k and (task.x[rows.reshape(len(rows), -1)[:, 0]] == k).all()
    assert (task.x[task.synthetic[1, :, 0]] == 200).all()
    right, wrong = task.y[: len(task.x)], task.y[len(task.x) :]
    other = np.setdiff1d(np.arange(len(task.x)), task.synthetic)
    assert (
        np.array_equal(right[other], wrong[other])
        and (right[task.synthetic] != wrong[task.synthetic]).any()
    )
    for part in task.synthetic:
        rows = part.ravel()
        assert np.bincount(right[rows]).tolist() == np.bincount(wrong[rows]).tolist()


def test_no_patient_has_two_roles_and_more_test_images_can_be_had() -> None:
    study = Study("tiny", "phantom")
    roles = {
        role: load_images(study, "fundus", role) for role in ("evaluator", "generator", "test")
    }
    people = [{*part.patient_id} for part in roles.values()]
    assert len(set.union(*people)) == sum(map(len, people))
    more = load_images(study, "fundus", "test", 9)
    assert len(more.pixels) == 9 and np.array_equal(more.pixels[:6], roles["test"].pixels)
    assert len(load_images(study, "fundus", "evaluator", 5).finding) == 5


def test_a_linear_autoencoder_keeps_what_its_components_hold() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    whole = fit_linear_autoencoder(pixels, patch=4, components=48)
    assert np.array_equal(whole.decode(whole.encode(pixels)), pixels)
    few = fit_linear_autoencoder(pixels, patch=8, components=3)
    latents = few.encode(pixels)
    assert latents.shape == (40, 3, 2, 2)
    assert latents.std((0, 2, 3)) == pytest.approx(1, abs=0.05)


def test_a_generator_of_its_own_draws_what_it_saw() -> None:
    """Of dark and bright images, all with bright rows, alone: after 60 steps it tells the two apart."""
    settings = Study("tiny", "phantom").settings
    level = (
        np.where(np.arange(12) % 2, 190, 60)[:, None, None, None]
        + 40 * (np.arange(32) % 2)[:, None, None]
    )
    pixels = (
        (level + np.random.default_rng(0).normal(0, 12, (12, 32, 32, 3)))
        .clip(0, 255)
        .astype(np.uint8)
    )
    findings = np.array(["dark", "bright"])[np.arange(12) % 2]
    requested = np.array(["bright", "dark"] * 4)

    def sampled() -> np.ndarray:
        return own_generator_images(
            pixels, findings, requested, settings=settings, steps=60, seed=0
        )

    made = sampled()
    assert made.shape == (8, 32, 32, 3) and made.dtype == np.uint8
    assert made[::2].mean() > made[1::2].mean() + 60
    dark = made[1::2].astype(float)
    assert (dark[:, 1::2] - dark[:, ::2]).mean() > 10  # each pixel of a patch is where it was
    assert np.array_equal(made, sampled())


def striped(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of two classes, stripes upright or level, of any phase and brightness: uint8 (n, 32, 32, 3)."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    wave = np.sin(np.arange(32) * 0.8 + rng.uniform(0, 6, (n, 1)))
    planes = np.repeat(wave[:, None], 32, 1)
    planes[label == 1] = planes[label == 1].swapaxes(1, 2)
    grey = 128 + 60 * planes + 20 * rng.normal(size=(n, 32, 32)) + rng.uniform(-40, 40, (n, 1, 1))
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, 3), label


def striped_images(n: int, seed: int) -> Images:
    pixels, label = striped(n, seed)
    return Images(pixels, np.array(["upright", "level"])[label], np.arange(n).astype(str))


def test_networks_learn_their_features_from_the_images_of_a_run() -> None:
    """Stripes whose mean tells nothing: a network learns them; with shuffled classes alone it cannot."""
    roles = ("real", "seen_by_generator", "validation", "test")
    parts = {name: striped_images(60, seed) for seed, name in enumerate(roles)}
    task = make_task(
        TaskImages(**parts), synthetic=[striped_images(60, 9)], describe=images_themselves
    )
    assert task.x.dtype == np.uint8 and task.x.shape[1:] == (32, 32, 3)
    runs = network_runs(task, [8, 32], 1)
    assert [run.arm for run in runs] == [
        baseline_arm(8),
        primary_arm(8),
        shuffled_arm(8),
        baseline_arm(32),
    ]
    learned = {
        run.arm: score for run, score in zip(runs, train_networks(task, runs, 60), strict=True)
    }
    accuracy = {arm: (p.argmax(1) == task.y[task.test]).mean() for arm, p in learned.items()}
    assert accuracy[baseline_arm(32)] > 0.9
    everything = learned[baseline_arm(32)]
    assert everything.shape == (60, 2) and everything.sum(1) == pytest.approx(1)
    again = train_network(task, runs[0], 60)
    assert again == pytest.approx(learned[baseline_arm(8)], abs=1e-5)


def test_contrasts_leave_out_what_networks_do_not_train() -> None:
    task = planted()
    runs = network_runs(task, [6, 12], 3)
    scored = score_runs(task, runs, train_classifiers(task, runs, 10))
    assert list(contrasts(scored, [6, 12])) == [PRIMARY, MORE_REAL, SHUFFLED]
