"""Two generators side by side: paired intervals, what is refused, and a page that shows no real image."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from browsing import in_browser, left_the_page
from PIL import Image
from scipy.stats import t
from test_foreign_generators import stable_diffusion

from medisyn_lib.cli import main
from medisyn_lib.data import sources
from medisyn_lib.data.pixels import blurred, load_pixels
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation import fidelity, generator_pair
from medisyn_lib.evaluation.generator_differences import (
    MEAN,
    Compared,
    compare_nearness,
    compare_proportions,
    with_enough,
)
from medisyn_lib.evaluation.labelled_features import LabelledFeatures
from medisyn_lib.pipeline.judged import judged_generator
from medisyn_lib.pipeline.study import Study
from medisyn_lib.reporting import generator_pair_page
from medisyn_lib.runtime.device import seeded
from medisyn_lib.statistics.estimates import Estimate

SCHEMA: Any = jsonschema.Draft202012Validator(
    json.loads(generator_pair_page.SCHEMA.read_text("utf-8"))
)
HARM = "<script>document.title='harmed'</script>"


def labelled(values: np.ndarray, modality: np.ndarray) -> LabelledFeatures:
    """Features with one patient per row."""
    return LabelledFeatures([values], modality, np.arange(len(values)).astype(str))


def width(found: Estimate) -> float:
    assert found.ci_low is not None and found.ci_high is not None
    return found.ci_high - found.ci_low


def row_of(compared: list[Compared], measure: str, modality: str = MEAN) -> Compared:
    (found,) = [row for row in compared if (row.measure, row.modality) == (measure, modality)]
    return found


@pytest.fixture
def three_sets() -> dict[str, Any]:
    """Real features of two modalities, a set near them, and one that is as far again in one modality."""
    draw = np.random.default_rng(0)
    modality = np.repeat(["ct", "fundus"], 40)
    real, near = draw.normal(size=(2, 80, 6))
    near = near + 1
    far = near + (modality == "fundus")[:, None]
    sets = {"real": real, "a": near, "b": far}
    return {name: labelled(values, modality) for name, values in sets.items()}


def test_a_generator_against_itself_differs_by_exactly_nothing(three_sets: dict[str, Any]) -> None:
    itself = three_sets | {"b": three_sets["a"]}
    compared = compare_nearness(**itself, modalities=["ct", "fundus"])
    assert [(row.measure, row.modality) for row in compared] == [
        (measure, name) for measure in ("KID", "coverage") for name in ("ct", "fundus", MEAN)
    ]
    for row in compared:
        assert row.a == row.b and row.a.ci_low is not None
        assert (row.effect.value, row.effect.ci_low, row.effect.ci_high) == (0.0, None, None)


def test_the_difference_is_of_the_modality_that_differs(three_sets: dict[str, Any]) -> None:
    compared = compare_nearness(**three_sets, modalities=["ct", "fundus"])
    assert row_of(compared, "KID", "ct").effect.value == 0
    effect = row_of(compared, "KID", "fundus").effect
    rows = three_sets["real"].modality == "fundus"
    real, a, b = (three_sets[name].features[0][rows] for name in ("real", "a", "b"))
    expected = np.log(
        fidelity.kernel_distance(real=real, synthetic=a)
        / fidelity.kernel_distance(real=real, synthetic=b)
    )
    assert effect.value == pytest.approx(expected) and effect.below(0) and effect.n == 40
    mean = row_of(compared, "KID").effect
    assert mean.value == pytest.approx(expected / 2) and mean.below(0) and mean.n == 80
    assert row_of(compared, "coverage").effect.above(0)


def test_what_both_have_in_common_does_not_widen_the_interval(three_sets: dict[str, Any]) -> None:
    """Paired by prompt, two like generators differ by less than either is uncertain."""
    draw = np.random.default_rng(1)
    a = three_sets["a"]
    b = labelled(a.features[0] + 0.05 * draw.normal(size=(80, 6)), a.modality)
    compared = compare_nearness(real=three_sets["real"], a=a, b=b, modalities=["ct", "fundus"])
    row = row_of(compared, "KID")
    assert row.a.value and width(row.effect) < width(row.a) / row.a.value / 2


def test_a_distance_that_is_not_positive_has_no_ratio() -> None:
    """Real images against others of their own kind: KID is unbiased, and so below zero as often as above."""
    draw = np.random.default_rng(3)
    modality = np.repeat("ct", 12)
    sets = [labelled(values, modality) for values in draw.normal(size=(3, 12, 4))]
    kid = [
        fidelity.kernel_distance(real=sets[0].features[0], synthetic=s.features[0])
        for s in sets[1:]
    ]
    assert min(kid) < 0
    compared = compare_nearness(real=sets[0], a=sets[1], b=sets[2], modalities=["ct"])
    for name in ("ct", MEAN):
        row = row_of(compared, "KID", name)
        assert row.effect.value is None
        assert (row.a.value, row.b.value) == pytest.approx(tuple(kid))


def test_the_interval_of_proportions_is_by_patient_and_paired() -> None:
    """By hand: eight patients of two images each, mean differences 1, 0, -1, 1 twice over, seven degrees."""
    a = np.tile([1, 1, 0, 1, 0, 0, 1, 1], 2)
    b = np.tile([0, 0, 0, 1, 1, 1, 0, 0], 2)
    labels: dict[str, Any] = {"modality": np.repeat("ct", 16)}
    labels |= {"patient": np.repeat(list("pqrstuvw"), 2), "modalities": ["ct"]}
    row = row_of(compare_proportions("seen", a, b, **labels), "seen", "ct")
    assert (row.a.value, row.b.value, row.effect.value) == (0.625, 0.375, 0.25)
    half = t.ppf(0.975, 7) * np.std([1, 0, -1, 1] * 2, ddof=1) / np.sqrt(8)
    assert (row.effect.ci_low, row.effect.ci_high) == pytest.approx((0.25 - half, 0.25 + half))
    assert row.effect.n == 16


def test_the_mean_is_over_modalities_not_over_images() -> None:
    modality = np.array(["ct"] * 4 + ["fundus"] * 12)
    a = np.array([1] * 4 + [0] * 12)
    labels: dict[str, Any] = {"modality": modality, "patient": np.arange(16).astype(str)}
    compared = compare_proportions("seen", a, 0 * a, **labels, modalities=["ct", "fundus"])
    assert row_of(compared, "seen").effect.value == 0.5


def test_proportions_and_their_limits_stay_proportions() -> None:
    """Of three patients two: the t interval would reach from below 0 to above 1."""
    labels: dict[str, Any] = {"modality": np.repeat("ct", 3), "patient": np.arange(3).astype(str)}
    a, b = np.array([1, 1, 0]), np.array([0, 1, 1])
    row = row_of(compare_proportions("seen", a, b, **labels, modalities=["ct"]), "seen", "ct")
    assert (row.a.ci_low, row.a.ci_high) == (0.0, 1.0)
    assert (row.effect.value, row.effect.ci_low, row.effect.ci_high) == (0.0, -1.0, 1.0)


def test_modalities_with_too_few_images_are_left_out() -> None:
    real, synthetic = np.repeat(["ct", "fundus"], [9, 3]), np.repeat(["fundus", "ct"], [9, 4])
    assert with_enough(real, synthetic) == ["ct"]
    with pytest.raises(InputError, match="no modality has 4 images of the data and of the gener"):
        with_enough(real[-3:], synthetic)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def in_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(store))


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two untrained pipelines, `one` and `two`, and a copy of the first."""
    place = tmp_path_factory.mktemp("pipelines")
    for name, seed in (("one", 0), ("two", 1), ("copy", 0)):
        with seeded(seed):
            stable_diffusion().save_pretrained(place / name)
        (place / name / "sampling.json").write_text('{"num_inference_steps": 2}')
    return place


def folder_of(place: Path, pixels: np.ndarray, images: Any, caption: str = "") -> Path:
    """A folder of finished images with the captions and modalities of a data set, or one caption for all."""
    place.mkdir(parents=True)
    rows = [("file_name", "text", "modality")]
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(place / f"{number}.png")
        text = caption or images["caption"][number]
        rows.append((f"{number}.png", text, images["modality"][number]))
    with (place / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return place


@pytest.fixture(scope="module")
def folders(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms of other patients, `sharp`, and the same ones blurred, `blurred`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDISYN_STORE", str(store))
        images = sources.load("phantom", role="calibration", size=64, per_modality=6)
        pixels, place = load_pixels(images), tmp_path_factory.mktemp("folders")
        folder_of(place / "sharp", pixels, images)
        folder_of(place / "blurred", blurred(pixels, 2.0), images)
        folder_of(place / "fewer", pixels[:-1], images)
        folder_of(place / "worded", pixels[::-1], images, HARM)
        folder_of(place / "blank", 0 * pixels, images)
    return place


def command(a: object, b: object, out: Path, *more: str) -> list[str]:
    data = ["--data", "phantom", "--profile", "tiny", "--out", str(out)]
    return ["audit", "--compare", str(a), str(b), *data, *more]


def record_of(out: Path) -> Any:
    """What `compare.json` holds, which keeps the published schema."""
    record = json.loads((out / "compare.json").read_text("utf-8"))
    SCHEMA.validate(record)
    return record


def test_the_schema_is_of_the_version_that_is_written_and_refuses_what_is_not_meant(
    folders: Path, tmp_path: Path
) -> None:
    SCHEMA.check_schema(SCHEMA.schema)
    properties = SCHEMA.schema["properties"]
    assert properties["schema"]["const"] == SCHEMA.schema["$id"] == generator_pair_page.SCHEMA_ID
    names = SCHEMA.schema["$defs"]["proportions"]["properties"]["measure"]["enum"]
    assert names == ["coverage", generator_pair.NEARER, generator_pair.FOUND]
    assert main.main(command(folders / "sharp", folders / "blurred", tmp_path)) == 0
    record = record_of(tmp_path)
    rows = {row["measure"]: row for row in record["compared"]}
    without_number = rows["KID"] | {
        "effect": dict.fromkeys(("value", "ci_low", "ci_high")) | {"n": 6}
    }
    SCHEMA.validate(record | {"compared": [without_number]})
    beyond = rows["coverage"] | {"a": rows["coverage"]["a"] | {"value": 1.1}}
    swapped = rows["coverage"] | {"scale": rows["KID"]["scale"]}
    for damaged in (
        {"schema": "x"},
        {"verdict": "supported"},
        {"clinical_use": True},
        {"more": 1},
        {"compared": []},
        {"compared": [beyond]},
        {"compared": [swapped]},
        {"compared": [rows["KID"] | {"more": 1}]},
        {"generators": {"a": record["generators"]["a"]}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            SCHEMA.validate(record | damaged)


def test_two_pipelines_draw_the_same_captions_with_the_same_seeds(
    pipelines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(command(pipelines / "one", pipelines / "two", tmp_path, "--seed", "5")) == 0
    told = capsys.readouterr().out
    assert "no rule was fixed" in told and "KID: A " in told and "Nearer to training: A " in told
    record = record_of(tmp_path)
    assert record["verdict"] is None and record["clinical_use"] is False
    assert (record["pairs"], record["first"], record["last"]) == (60, "seed 5", "seed 64")
    assert [one["name"] for one in record["generators"].values()] == ["one", "two"]
    assert record["notes"] == ["Images of 16 pixels were brought to the 64 of the study."]
    measures = [row["measure"] for row in record["compared"]]
    assert {name: measures.count(name) for name in measures} == dict.fromkeys(
        ("KID", "coverage", "nearer to training"), 11
    )
    assert len(record["not_measured"]) == 1 and "not in the store" in record["not_measured"][0]
    assert str(tmp_path) not in (tmp_path / "compare.json").read_text("utf-8")


def test_findings_are_recovered_where_the_classifier_is_in_the_store(pipelines: Path) -> None:
    study = Study("tiny", "phantom")
    a, b = (judged_generator(study, str(pipelines / name)) for name in ("one", "two"))
    pair = generator_pair.sampled_pair(a, b)
    assert pair.a.shape == pair.b.shape == (60, 64, 64, 3) and (pair.a != pair.b).any()
    assert not study.classifier().is_stored
    study.classifier().ensure()
    measured = generator_pair.measure(pair)
    assert measured.left_out == []
    loaded = study.classifier().load()
    assert pair.finding is not None
    right = [
        loaded.finding_right(loaded.scores(one), pair.modality.tolist(), pair.finding.tolist())
        for one in (pair.a, pair.b)
    ]
    row = row_of(measured.compared, generator_pair.FOUND)
    assert (row.a.value, row.b.value) == pytest.approx((right[0].mean(), right[1].mean()))


def test_a_blurred_copy_of_images_lies_farther(folders: Path, tmp_path: Path) -> None:
    """And nearest to a training image as often as to a held-out one."""
    assert main.main(command(folders / "sharp", folders / "blurred", tmp_path)) == 0
    record = record_of(tmp_path)
    mean = {row["measure"]: row for row in record["compared"] if row["modality"] == MEAN}
    assert mean["KID"]["a"]["value"] < mean["KID"]["b"]["value"] / 3
    assert mean["coverage"]["a"]["value"] > mean["coverage"]["b"]["value"]
    assert mean["nearer to training"]["a"]["value"] == pytest.approx(0.5, abs=0.2)
    assert "finished images" in record["not_measured"][0]


@pytest.mark.parametrize(
    ("a", "b", "more", "fault"),
    [
        ("one", "copy", (), "are one and the same; give two generators"),
        ("flagship", "flagship", (), "are one and the same"),
        ("sharp", "fewer", (), "60 and 59 images; row by row, metadata.csv of both must have"),
        ("sharp", "worded", (), "row 1 is of .* and .<script>"),
        ("sharp", "blank", (), "60 of 60 images are of one colour"),
        ("sharp", "one", (), "one is a folder of images, the other a pipeline"),
        ("sharp", "absent", (), "no such folder, nor a hub id"),
        ("one", "two", ("--claims", "training"), "--claims: is of an audit's claims"),
        ("one", "two", ("--encoder", "efflite0"), "--encoder: is of an audit's claims"),
        ("sharp", "blurred", ("--seed", "3"), "--seed: finished images are not sampled"),
        ("one", "two", ("--generator", "x"), "not allowed with argument"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    pipelines: Path,
    folders: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    a: str,
    b: str,
    more: tuple[str, ...],
    fault: str,
) -> None:
    first, second = (
        next((home / name for home in (pipelines, folders) if (home / name).is_dir()), name)
        for name in (a, b)
    )
    assert main.main(command(first, second, tmp_path / "out", *more)) == 2
    told = capsys.readouterr().err
    assert re.search(fault, told) and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_one_of_generator_and_compare_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["audit", "--data", "phantom", "--out", "x"]) == 2
    assert "--generator --compare is required" in capsys.readouterr().err


@pytest.fixture
def page(folders: Path, tmp_path: Path) -> Path:
    """The page of two folders whose captions would do harm if they were obeyed."""
    images = sources.load("phantom", role="calibration", size=64, per_modality=6)
    pixels = load_pixels(images)
    other = folder_of(tmp_path / HARM.replace("/", "-"), 255 - pixels, images, HARM)
    first = folder_of(tmp_path / "first", pixels[::-1], images, HARM)
    assert main.main(command(first, other, tmp_path / "out")) == 0
    return tmp_path / "out" / "compare.html"


def test_the_page_shows_generated_images_alone_and_escapes_what_it_shows(page: Path) -> None:
    text = page.read_text("utf-8")
    assert "<script" not in text and text.count("&lt;script&gt;") > 24
    assert "default-src 'none'" in text and "No verdict." in text and "Not for clinical use" in text
    images = sources.load("phantom", role="calibration", size=64, per_modality=6)
    made = {one.tobytes() for one in load_pixels(images)}
    shown = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB"))
        for one in re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    ]
    assert len(shown) == 2 * 20  # two pairs of each modality
    assert all(one.tobytes() in made for one in shown[::2])
    assert all((255 - one).tobytes() in made for one in shown[1::2])


@in_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_the_screen_and_sends_nothing(page: Path, browser: Any, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert "side by side" in browser.title and left_the_page(browser) == []
