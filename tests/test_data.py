"""The phantom source, roles, near-duplicates and what `load` refuses. Finite sources: test_data_sources.py."""

import json
import subprocess
import sys

import numpy as np
import pytest

from medisyn_lib import phantoms
from medisyn_lib.data import check, phantom, records, sources
from medisyn_lib.data.kinds import KINDS
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.data.rows import UNKNOWN, check_rows
from medisyn_lib.data.splits import ROLES, deal_split, role_of
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES

NAMES = ["blood_smear", "fundus"]


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDISYN_STORE", str(tmp_path_factory.mktemp("store")))
        yield


def test_phantoms_are_the_drawn_ones_with_every_factor():
    dataset = sources.load(
        "phantom", role="test", size=32, per_modality=4, modalities=NAMES, seed=3
    )
    assert dataset["modality"] == ["blood_smear"] * 4 + ["fundus"] * 4
    seed = phantom.stream(3, "test")
    expected, factors = phantoms.draw("fundus", seed=seed, index=2, size=32)
    assert np.array_equal(load_pixels(dataset, [6])[0], expected)
    assert load_pixels(dataset).shape == (8, 32, 32, 3)
    row = dataset[6]
    assert json.loads(row["factors"]) == factors
    assert (row["grade"], row["side"], row["patient_id"]) == (
        factors["grade"],
        factors["side"],
        factors["patient_id"],
    )
    assert (row["split"], row["role"], row["specialty"]) == ("test", "test", "ophthalmology")
    assert row["identity_known"] and "{" not in row["caption"]


def test_each_role_of_phantoms_has_patients_of_its_own():
    patients = [
        set(
            sources.load("phantom", role=role, size=32, per_modality=6, modalities=["fundus"])[
                "patient_id"
            ]
        )
        for role in ROLES
    ]
    assert [len(own) for own in patients] == [2] * 5
    assert len(set.union(*patients)) == 10


def test_train_of_phantoms_is_generator_and_evaluator_without_the_autoencoder():
    train = sources.load("phantom", "train", size=32, per_modality=10, modalities=["fundus"])
    assert train["role"] == ["generator"] * 7 + ["evaluator"] * 3
    alone = sources.load(
        "phantom", role="evaluator", size=32, per_modality=3, modalities=["fundus"]
    )
    assert train["image_id"][7:] == alone["image_id"]


def test_two_workers_write_what_one_does(tmp_path):
    import datasets

    chosen = [(name, "test", index) for name in NAMES for index in range(6)]
    for workers in (1, 2):
        arguments = {"chosen": chosen, "size": 32, "seed": 0}
        records.write(tmp_path / str(workers), phantom.records, arguments, workers=workers)
    one, two = (datasets.Dataset.load_from_disk(str(tmp_path / name / "data")) for name in "12")
    assert one["image_id"] == two["image_id"] and one["caption"] == two["caption"]
    assert np.array_equal(load_pixels(one), load_pixels(two))
    assert [path.name for path in (tmp_path / "2").iterdir()] == ["data"]


def test_a_kept_set_is_read_and_not_drawn_again(monkeypatch):
    first = sources.load("phantom", "val", size=32, per_modality=2, modalities=["fundus"], seed=9)
    monkeypatch.setattr(phantoms, "draw", None)
    again = sources.load("phantom", "val", size=32, per_modality=2, modalities=["fundus"], seed=9)
    assert first[:]["image_id"] == again[:]["image_id"]
    again.map(lambda row: {"caption": "x"})  # must leave nothing beside the kept files
    monkeypatch.setattr(records, "write", None)
    assert sources.load("phantom", "val", size=32, per_modality=2, modalities=["fundus"], seed=9)[
        "caption"
    ] == list(first["caption"])


@pytest.mark.parametrize(
    ("source", "arguments", "words"),
    [
        ("phantoms", {"split": "train"}, "unknown"),
        ("phantom:3", {"split": "train"}, "no argument"),
        ("phantom", {}, "neither split nor role"),
        ("phantom", {"split": "dev"}, "train, val, test"),
        ("phantom", {"role": "judge"}, "first_stage"),
        ("phantom", {"role": "test", "split": "train"}, "belongs to split 'test'"),
        ("phantom", {"split": "test", "size": 8}, "32 to 256"),
        ("phantom", {"split": "test", "modalities": ["pet"]}, "'pet'"),
        ("phantom", {"split": "test", "per_modality": 0}, "at least 1 image"),
        ("phantom", {"split": "test", "seed": -1}, "0 or more"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(source, arguments, words):
    with pytest.raises(InputError, match=words) as caught:
        sources.load(source, **arguments)
    assert "\n" not in str(caught.value)


def test_patients_are_dealt_by_a_stable_hash():
    # Written down once: another machine or version must deal the same patients alike.
    assert [role_of("train", f"p{n}") for n in range(4)] == ["generator"] * 3 + ["evaluator"]
    dealt = [role_of("train", f"patient {n}") for n in range(4000)]
    assert abs(dealt.count("generator") / 4000 - 0.7) < 0.03
    splits = [deal_split(f"patient {n}") for n in range(4000)]
    assert (
        abs(splits.count("val") / 4000 - 0.1) < 0.02
        and abs(splits.count("test") / 4000 - 0.2) < 0.03
    )


def test_two_train_images_are_enough():
    rows = [
        UNKNOWN | {"image_id": f"{n}", "patient_id": f"{n}", "split": "train", "modality": "ct"}
        for n in range(2)
    ]
    assert check_rows(rows, "here") == rows
    with pytest.raises(
        InputError, match=r"ct needs at least 2 train images, got 1 \(of 1 images of 1 patients\)"
    ):
        check_rows(rows[:1], "here")


def _set_of(images, split, first=0):
    """A dataset of given pixels."""
    import datasets

    made = [
        records.sample(
            UNKNOWN
            | {
                "image_id": f"{split}-{first + n}",
                "patient_id": f"p-{split}-{n}",
                "split": split,
                "modality": "ct",
            },
            image,
            role="test",
            size=64,
            seed=(0, n),
        )
        for n, image in enumerate(images)
    ]
    return datasets.Dataset.from_list(made)


def test_planted_near_duplicates_are_found_and_independent_images_are_not():
    import datasets

    train = load_pixels(
        sources.load("phantom", role="generator", per_modality=40, modalities=["ct"])
    )
    rng = np.random.default_rng(0)
    noisy = np.clip(train[5] + rng.normal(0, 8, train[5].shape), 0, 255).astype(np.uint8)
    bright = np.clip(train[9] * 1.1, 0, 255).astype(np.uint8)
    whole = datasets.concatenate_datasets(
        [_set_of(train, "train"), _set_of([train[3], noisy, bright], "test")]
    )
    found = check.near_duplicates(whole)
    assert {pair[:2] for pair in found} == {
        ("test-0", "train-3"),
        ("test-1", "train-5"),
        ("test-2", "train-9"),
    }
    assert next(score for first, _, score in found if first == "test-0") == pytest.approx(
        1.0, abs=1e-3
    )


def test_the_same_image_twice_in_one_split_is_no_leak():
    image, *others = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    assert check.near_duplicates(_set_of([image, image, *others], "train")) == []


def test_testable_names_the_reason():
    assert check.testable("phantom") == dict.fromkeys(MODALITIES, "")
    assert len(sources.load("phantom", "test", size=32, per_modality=1, modalities=["fundus"])) == 1
    few = sources.load("phantom", "test", size=32, per_modality=12, modalities=["fundus"])
    assert "4 test patients, at least 20" in check.testable(few)["fundus"]


def test_sources_are_described_and_the_fingerprint_of_phantoms_is_their_code():
    from medisyn_lib.runtime.store import code_hash

    assert list(KINDS) == ["phantom", "npz", "medmnist", "folder", "hub"]
    assert all("\n" not in kind.help for kind in KINDS.values())
    assert sources.fingerprint("phantom") == code_hash(
        "medisyn_lib.phantoms", "medisyn_lib.modalities"
    )


def test_preflight_imports_nothing_heavy():
    code = (
        "import sys; from medisyn_lib.data import sources; sources.preflight('phantom')\n"
        "print([m for m in ('torch', 'datasets', 'pandas', 'pyarrow', 'medmnist') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
