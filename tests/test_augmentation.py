"""Augmentation: views, draws and arms by hand, training beside scikit-learn, planted gains seen, controls that fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from test_quality import definitions

from medisyn_lib.claims.claim import Claim, judge
from medisyn_lib.evaluation import utility
from medisyn_lib.evaluation.utility import Arm, Images, Task
from medisyn_lib.pipeline import features
from medisyn_lib.pipeline.study import Study
from medisyn_lib.statistics.estimates import Estimate

D, CLASSES, SMALL, DRAWS = 24, 3, 6, 8
CENTRES = np.random.default_rng(0).normal(0, 0.6, (CLASSES, D))


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    monkeypatch.setattr(utility, "AT_ONCE", 512)  # narrow features: all at once is quicker


def planted(
    informative: float = 1.0, real: float = 1.0, seed: int = 0, generators: int = 1
) -> Task:
    """Classes that differ in their means; of synthetic (or real training) images a share `informative` has the means.

    60 real images, 60 synthetic ones a generator, 90 others, 90 validation and 300 test images, two a patient.
    """
    rng, parts, x, y = np.random.default_rng([seed, 1]), {}, [], []
    for name, n, share in (
        ("real", 60, real), *((f"s{k}", 60, informative) for k in range(generators)),
        ("others", 90, real), ("validation", 90, 1.0), ("test", 300, 1.0),
    ):  # fmt: skip
        v = utility.VIEWS if name[0] in "rs" else 1
        label = np.arange(n) % CLASSES
        mean = np.where(rng.random((n, 1)) < share, CENTRES[label], CENTRES[rng.permutation(label)])
        rows = (mean + rng.normal(size=(n, D)))[:, None] + 0.3 * rng.normal(size=(n, v, D)) * (
            np.arange(v) > 0
        )[:, None]
        parts[name] = sum(map(len, y)) + np.arange(n * v).reshape(n, v)
        x.append(rows.reshape(-1, D).astype(np.float32))
        y.append(np.repeat(label, v))
    right = np.concatenate(y)
    wrong, made = right.copy(), np.stack([parts[f"s{k}"] for k in range(generators)])
    for part in made:
        wrong[part] = right[rng.permutation(part)]
    rest = [parts[name][:, 0] for name in ("others", "validation", "test")]
    labels = np.concatenate([right, wrong])
    return Task(
        ("a", "b", "c"),
        np.concatenate(x),
        labels,
        parts["real"],
        made,
        *rest,
        patients=np.arange(300) // 2,
    )


def test_views_by_hand() -> None:
    flat = np.full((2, 16, 16, 3), 100, np.uint8)
    made = utility.views(flat)
    assert made.shape == (2, utility.VIEWS, 16, 16, 3) and (made[:, 0] == 100).all()
    assert (
        made.min() >= 80 and made.max() <= 120 and len(np.unique(made[:, 1:])) > 1
    )  # brightness alone, one a view
    assert (made.reshape(2, utility.VIEWS, -1).std(2) == 0).all()
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None] * 15, (40, 16, 16, 3)).copy()
    rising = np.diff(utility.views(ramp)[:, 1, 0, :, 0].astype(int), axis=1).sum(1) > 0
    assert 5 < rising.sum() < 35  # about half are mirrored
    assert np.array_equal(utility.views(ramp), utility.views(ramp))
    assert not np.array_equal(utility.views(ramp), utility.views(ramp, 1))


def test_views_are_shifted_by_up_to_an_eighth() -> None:
    """The dark end of a ramp of 16 columns is repeated up to twice, or up to two columns are lost."""
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None] * 15, (60, 16, 16, 3)).copy()
    dark = (utility.views(ramp)[:, 1, 0, :, 0] == 0).sum(1)
    assert {*dark.tolist()} == {0, 1, 2, 3}


def test_a_draw_has_every_class_early_and_every_image_once() -> None:
    classes = np.array(["rare"] + ["common"] * 30 + ["other"] * 20)
    orders = [utility.deal(classes, draw) for draw in range(5)]
    assert all(sorted(order) == list(range(51)) for order in orders)
    assert all({*classes[order[:3]]} == {"rare", "common", "other"} for order in orders)
    assert len({tuple(order) for order in orders}) == 5
    numbers = np.unique(classes, return_inverse=True)[1]
    assert np.array_equal(utility.deal(numbers, 3), orders[3])


def test_arms_hold_what_their_names_say() -> None:
    task = planted(generators=2)
    every = list(utility.arms(task, [6, 12], range(2)))
    found = {arm[:4]: arm for arm in every}
    assert len(found) == len(every) and {arm.ratio for arm in every} == {0, 1, 3, 10}
    assert ("mixed", 12, 10, 0) not in found  # there are 60 synthetic images
    few, more = found["real", 6, 0, 1].first, found["real", 12, 0, 1].first
    assert {*few} < {*more} and len(few) == 6 and {*few} <= {*task.real[:, 0]}
    assert {*found["real, augmented", 6, 0, 1].first} == {
        *task.real[np.isin(task.real[:, 0], few)].ravel()
    }
    mixed, alone = found["mixed", 6, 3, 1].first, found["synthetic", 6, 3, 1].first
    assert (
        {*mixed} == {*few, *alone} and len(alone) == 18 and {*alone} <= {*task.synthetic[1, :, 0]}
    )
    for turn, arm in enumerate(
        arm for arm in utility.arms(task, [6], range(7, 9)) if arm[:3] == ("synthetic", 6, 3)
    ):
        assert {*arm.first} <= {*task.synthetic[turn, :, 0]}  # in turn, whatever the draws' numbers
    later = found["synthetic, then real", 6, 3, 1]
    assert np.array_equal(later.first, alone) and np.array_equal(later.second, few)
    odd = found["shuffled, augmented", 6, 1, 1].first
    same = found["mixed, augmented", 6, 1, 1].first
    assert (
        np.array_equal(odd % len(task.x), same) and (odd >= len(task.x)).sum() == 6 * utility.VIEWS
    )
    assert {n for kind, n, *_ in every if kind == "real"} == {6, 12, 24, 48, 96}
    assert {*found["real", 96, 0, 0].first} >= {*task.others}


def test_training_comes_near_logistic_regression_and_does_not_hang_on_its_neighbours() -> None:
    task = planted()
    rows = np.concatenate([task.real[:, 0], task.others])
    few = [Arm("real", n, 0, draw, rows[:n], rows[:n]) for n, draw in ((150, 0), (30, 1), (60, 2))]
    chances = utility.train(task, few, 400)
    assert chances.shape == (3, 300, CLASSES) and np.allclose(chances.sum(2), 1, atol=1e-5)
    right = task.y[task.test]
    known = (
        LogisticRegression(C=0.1, max_iter=500)
        .fit(task.x[rows], task.y[rows])
        .predict_proba(task.x[task.test])
    )
    ours, theirs = (roc_auc_score(right, one, multi_class="ovr") for one in (chances[0], known))
    assert abs(ours - theirs) < 0.015 and ours > 0.9
    halves = [
        Arm("synthetic, then real", 30, 1, 0, first, rows[:30])
        for first in (rows[30:60], rows[60:90])
    ]
    assert not np.allclose(
        *(utility.train(task, [arm], 20) for arm in halves)
    )  # kept apart in the store
    again = utility.train(task, [few[2], few[0]], 400)
    assert np.allclose(again, chances[[2, 0]], atol=1e-4)


def test_the_moment_is_chosen_on_validation_images_and_halves_are_halves() -> None:
    task = planted(real=0.0)  # training images that say nothing of the class
    noise, own = task.real[:20, 0], task.validation[:45]
    chances = utility.train(task, [Arm("real", 20, 0, 0, noise, noise)], 200)[0]
    right = task.y[task.test]
    assert -np.log(chances[np.arange(300), right]).mean() < np.log(CLASSES) + 0.25
    # The first half teaches wrong classes, the second right ones: the end counts, as validation images say.
    wrong = own + len(task.x)
    labels = np.append(task.y[: len(task.x)], (task.y[: len(task.x)] + 1) % CLASSES)
    turned = utility.train(
        task._replace(y=labels), [Arm("synthetic, then real", 45, 1, 0, wrong, own)], 200
    )[0]
    assert (turned.argmax(1) == right).mean() > 0.7


def test_the_last_step_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where validation images gain by every step it is the one that counts, looked at every step or once."""
    task, found = planted(), []
    arm = Arm("real", 60, 0, 0, task.real[:, 0], task.real[:, 0])
    for looks in (1, 12):
        monkeypatch.setattr(utility, "LOOKS", looks)
        found.append(utility._train(task, [arm], 12))
    assert np.array_equal(*found) and found[0].std() > 0
    assert utility._train(task, [arm], 1).std() > 0


def test_scores_are_those_of_scikit_learn_and_leave_patients_out() -> None:
    rng, right, people = np.random.default_rng(3), np.arange(90) % 3, np.arange(90) // 3
    chances = rng.dirichlet([1, 1, 1], 90) * 0.5 + 0.5 * np.eye(3)[rng.permutation(right)]
    found = utility.scores(chances, right, people)
    assert all(rows.shape == (31,) for rows in found.values())
    assert found["AUROC"][0] == pytest.approx(roc_auc_score(right, chances, multi_class="ovr"))
    assert found["AUROC 1"][0] == pytest.approx(roc_auc_score(right == 1, chances[:, 1]))
    for rows, given in ((slice(None), 0), (people != 4, 5)):
        score = balanced_accuracy_score(right[rows], chances.argmax(1)[rows])
        assert found["balanced accuracy"][given] == pytest.approx(score)


def test_the_calibration_error_by_hand() -> None:
    chances = np.array([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.35, 0.65]])
    found = utility.scores(chances, np.array([0, 1, 1, 1]), np.arange(4))
    # Confidence 0.95, half right: 0.45 of half the images; 0.65, all right: 0.35 of the other half.
    assert found["calibration error"][0] == pytest.approx(0.5 * 0.45 + 0.5 * 0.35)


def test_who_is_sure_of_everything_and_wrong_is_not_calibrated() -> None:
    chances = np.tile([1.0, 0.0], (10, 1))
    found = utility.scores(chances, np.arange(10) % 2, np.arange(10))
    assert found["calibration error"][0] == pytest.approx(0.5)


def test_a_task_keeps_its_rows_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        features, "features", lambda pixels: pixels.reshape(len(pixels), -1)[:, :2].astype(float)
    )

    def images(value: int, n: int) -> Images:
        label = np.array(["x", "y"])[np.arange(n) % 2]
        return Images(np.full((n, 8, 8, 3), value, np.uint8), label, np.arange(n).astype(str))

    given: dict[str, Any] = {
        name: images(k, 4 + k) for k, name in enumerate(("real", "others", "validation", "test"))
    }
    task = utility.make_task(synthetic=[images(100, 20), images(200, 20)], **given)
    assert task.classes == ("x", "y") and task.synthetic.shape == (2, 20, utility.VIEWS)
    for k, name in enumerate(("real", "others", "validation", "test")):
        rows = getattr(task, name)
        assert len(rows) == 4 + k and (task.x[rows.reshape(len(rows), -1)[:, 0]] == k).all()
    assert (task.x[task.synthetic[1, :, 0]] == 200).all()
    right, wrong = task.y[: len(task.x)], task.y[len(task.x) :]
    other = np.setdiff1d(np.arange(len(task.x)), task.synthetic)
    assert (
        np.array_equal(right[other], wrong[other])
        and (right[task.synthetic] != wrong[task.synthetic]).any()
    )
    assert all(np.bincount(right[part.ravel()]).tolist() == np.bincount(wrong[part.ravel()]).tolist()
               for part in task.synthetic)  # fmt: skip


def test_no_patient_has_two_roles_and_more_test_images_can_be_had() -> None:
    study = Study("tiny", "phantom")
    roles = {
        role: utility.images_of(study, "fundus", role)
        for role in ("evaluator", "generator", "test")
    }
    people = [{*part.patient_id} for part in roles.values()]
    assert len(set.union(*people)) == sum(map(len, people))
    more = utility.images_of(study, "fundus", "test", 9)
    assert len(more.pixels) == 9 and np.array_equal(more.pixels[:6], roles["test"].pixels)
    assert len(utility.images_of(study, "fundus", "evaluator", 5).finding) == 5


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
    few = Images(pixels, np.array(["dark", "bright"])[np.arange(12) % 2], np.arange(12).astype(str))
    asked = np.array(["bright", "dark"] * 4)
    made = utility.own_images(few, asked, settings, 60, 0)
    assert made.shape == (8, 32, 32, 3) and made.dtype == np.uint8
    assert made[::2].mean() > made[1::2].mean() + 60
    dark = made[1::2].astype(float)
    assert (dark[:, 1::2] - dark[:, ::2]).mean() > 10  # each pixel of a patch is where it was
    assert np.array_equal(made, utility.own_images(few, asked, settings, 60, 0))


# The notebook: its functions over planted tasks.
PRIMARY, BASE = ("mixed, augmented", SMALL, 1), ("real, augmented", SMALL, 0)
ALONE = ("synthetic", SMALL, 1)
GROUPS = [
    "mixed 1:1",
    "more real data",
    "shuffled classes 1:1",
    "synthetic alone, as many",
    "real, n + N",
]


def notebook(
    tasks: dict[str, Task], shuffled: str = "shuffled, augmented", draws: int = DRAWS
) -> dict[str, Any]:
    """Notebook 06 as far as its contrasts, over these tasks."""
    space = definitions(
        "06_augmentation", BASE=BASE, PRIMARY=PRIMARY, SHUFFLED=(shuffled, SMALL, 1), ALONE=ALONE,
        GROUPS=GROUPS, LEAST=0.02, rule="a rule", sizes={key: [SMALL, 2 * SMALL, 4 * SMALL] for key in tasks},
        n_test=dict.fromkeys(tasks, 300),
    )  # fmt: skip
    space["found"] = {"released model": {}}
    for name, task in tasks.items():
        needed = (
            BASE,
            PRIMARY,
            ("real, augmented", 4 * SMALL, 0),
            ("real", 96, 0),
            (shuffled, SMALL, 1),
            ALONE,
        )
        chosen = [
            arm
            for arm in utility.arms(task, space["sizes"][name], range(draws))
            if arm[:3] in needed
        ]
        chances = utility.train(task, chosen, 60)
        space["found"]["released model"][name] = space["judged"](task, chosen, chances)
    space["compared"] = {"released model": space["contrasts"]("released model")}
    return space


def verdict(space: dict[str, Any]) -> Claim:
    return space["judge"]("released model", DRAWS)


def test_planted_gain_is_seen_and_controls_pass() -> None:
    claim = verdict(notebook({name: planted(seed=k) for k, name in enumerate("pqr")}))
    assert claim.verdict == "reproduced" and all(control.passed for control in claim.controls)
    assert claim.detectable is not None and 0 < claim.detectable < 0.1
    assert claim.measures[0].ci_low is not None and claim.measures[0].ci_low > 0
    # Broken on purpose: classes that were not shuffled help, and the negative control says so.
    unshuffled = verdict(
        notebook({name: planted(seed=k) for k, name in enumerate("pqr")}, "mixed, augmented")
    )
    assert [control.passed for control in unshuffled.controls] == [True, False]
    assert unshuffled.verdict == "not testable here"


def test_synthetic_images_that_say_nothing_are_not_called_a_gain() -> None:
    claim = verdict(
        notebook({name: planted(informative=0.0, seed=k) for k, name in enumerate("pqr")})
    )
    assert claim.verdict == "not reproduced" and (claim.measures[0].value or 0) < 0.02


def test_real_images_that_say_nothing_fail_the_positive_control() -> None:
    claim = verdict(notebook({"p": planted(real=0.0)}))
    assert not claim.controls[0].passed and claim.verdict == "not testable here"


def test_an_encoder_that_sees_nothing_voids_the_verdict() -> None:
    """Constant features: every classifier is at chance, with no spread and so no interval."""
    tasks = {name: planted(seed=k) for k, name in enumerate("pq")}
    claim = verdict(
        notebook({name: task._replace(x=np.ones_like(task.x)) for name, task in tasks.items()})
    )
    assert claim.verdict == "not testable here" and not any(
        control.passed for control in claim.controls
    )
    assert {m.value for m in claim.measures} == {0.0} and claim.detectable is None


def test_two_draws_decide_nothing() -> None:
    space = notebook({"p": planted()}, draws=2)
    claim = space["judge"]("released model", 2)
    assert (
        claim.verdict == "not testable here"
        and claim.measures[0].ci_low is None
        and claim.detectable is None
    )


def test_the_rule() -> None:
    decide = definitions("06_augmentation", LEAST=0.02)["decide"]

    def said(*limits: tuple[float, float]) -> str:
        gains = [Estimate((low + high) / 2, low, high, 100) for low, high in limits]
        return judge(*decide(gains, 8))

    up, down, flat, wide = (0.03, 0.09), (-0.09, -0.03), (-0.015, 0.015), (-0.05, 0.07)
    assert said(up, up, flat) == said(up, wide) == "reproduced"
    assert said(up, flat, flat) == said(up, up, down) == "partly"
    assert said(down, wide, wide) == said(flat, flat, wide) == "not reproduced"
    assert said(flat, wide, wide) == said(wide) == "not testable here"
    assert judge(*decide([], 8)) == judge(*decide([Estimate(0.2, None, None, 9)], 8))
    near = (
        0.001,
        0.06,
    )  # above zero by itself, not after Holm's correction beside two that show nothing
    assert said(near) == "reproduced" and said(near, wide, wide) == "not testable here"


def test_holm_keeps_false_gains_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 nulls of three specialties, crossed draws and patients: a gain is called in at most 33 (5%)."""
    from medisyn_lib.evaluation.reference_standards import crossed

    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels collects garbage at every call
    decide, rng, called = (
        definitions("06_augmentation", LEAST=0.02)["decide"],
        np.random.default_rng(4),
        0,
    )
    for _ in range(500):
        each = []
        for _ in range(3):
            values = rng.normal(0, 0.3, (8, 1)) + rng.normal(0, 1, 60) + rng.normal(0, 2, (8, 60))
            left = (values.sum(1, keepdims=True) - values) / 59
            each.append(crossed(np.concatenate([values.mean(1, keepdims=True), left], 1), 60))
        called += decide(each, 8)[1]
    assert called <= 33


def test_worth_by_hand() -> None:
    worth = definitions("06_augmentation")["worth"]
    n, curve = [10, 20, 40], [0.6, 0.7, 0.8]
    assert worth(n, curve, 0.7) == pytest.approx(20) and worth(n, curve, 0.65) == pytest.approx(
        10 * 2**0.5
    )
    assert (
        worth(n, curve, 0.59) == 0
        and worth(n, curve, 0.81) == np.inf
        and np.isnan(worth(n, curve, None))
    )
    assert worth(n, [0.6, 0.8, 0.7], 0.7) == pytest.approx(
        10 * 2 ** (0.1 / 0.15)
    )  # 0.75 at 20, as isotonic
    assert worth(n, [0.6, 0.8, 0.8], 0.8) == pytest.approx(20)  # the fewest that reach it


def test_the_mean_over_specialties_by_hand() -> None:
    pooled = definitions("06_augmentation")["pooled"]
    one = Estimate(
        0.1, 0.1 - 2.364624 * 0.03, 0.1 + 2.364624 * 0.03, 50
    )  # t of 7 degrees of freedom, error 0.03
    both = pooled([one, one], 8)
    assert both.value == pytest.approx(0.1) and both.n == 100
    assert both.ci_high - both.value == pytest.approx(2.364624 * 0.03 / 2**0.5, rel=1e-4)
    assert pooled([], 8) == Estimate(None, None, None, 0)
    assert pooled([one, Estimate(0.3, None, None, 1)], 8) == Estimate(
        pytest.approx(0.2), None, None, 51
    )
