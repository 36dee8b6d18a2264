"""The reader study without a browser: blinding, checked answers, and whether the analysis recovers what was planted."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import norm

from medisyn_lib.cli import main
from medisyn_lib.errors import InputError
from medisyn_lib.phantoms import draw
from medisyn_lib.reader_study import (
    analysis,
    answers,
    kit,
    power,
    reader_statistics,
    report,
    simulate,
)
from medisyn_lib.reader_study.items import draw_items
from medisyn_lib.runtime import store

STUDIES = 2000


def phantoms(folder: Path, seed: int, **columns: str) -> str:
    """A folder of CT phantoms, one a patient; the real ones carry metadata that would unblind them."""
    from PIL.PngImagePlugin import PngInfo

    folder.mkdir()
    info, rows = PngInfo(), []
    info.add_text("Synthetic", "true")
    for number in range(70):
        pixels, factors = draw("ct", seed=seed, index=3 * number, size=32)
        Image.fromarray(pixels).save(folder / f"secret-{number}.png", pnginfo=info)
        kind = factors["finding"]
        rows.append(
            {"file_name": f"secret-{number}.png", "text": f"abdominal CT, {kind}", "modality": "ct"}
        )
        rows[-1] |= {
            "finding": kind,
            "side": factors["side"],
            "split": ("test", "train")[number > 55],
            **columns,
        }
    pd.DataFrame(rows).to_csv(folder / "metadata.csv", index=False)
    return str(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDISYN_STORE", str(place / "store"))
        real, synthetic = phantoms(place / "real", 1), phantoms(place / "synthetic", 2)
        given = {"readers": 3, "pairs": 14, "margin": 0.2, "seed": 0}
        kit.new(synthetic, f"folder:{real}", place / "kit", **given)
    return place / "kit"


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    """A fresh copy of the study, with answers of three simulated readers."""
    shutil.copytree(made, tmp_path / "kit")
    simulate.answer(tmp_path / "kit", [3.0, 1.0, 0.0], [0.0, 0.5, 0.0], seed=0)
    return tmp_path / "kit"


def content_of(page: Path) -> dict[str, Any]:
    found = re.search(
        r'<script type="application/json" id="study">(.*?)</script>', page.read_text(), re.DOTALL
    )
    return json.loads(found.group(1)) if found else {}


def test_pages_hold_nothing_that_unblinds(made: Path) -> None:
    key = answers.load(made / "key.json")
    for reader in ("reader-1", "reader-2", "reader-3"):
        content = content_of(made / "pages" / f"{reader}.html")
        pictures = [
            base64.b64decode(uri.split(",")[1])
            for item in content["items"]
            for uri in item["images"]
        ]
        assert len({len(picture) for picture in pictures}) == 1
        for picture in pictures:
            chunks, place = [], 8
            while place < len(picture):
                chunks.append(picture[place + 4 : place + 8])
                place += 12 + struct.unpack(">I", picture[place : place + 4])[0]
            assert (
                set(chunks) == {b"IHDR", b"IDAT", b"IEND"}
                and Image.open(io.BytesIO(picture)).mode == "RGB"
            )
        page = (made / "pages" / f"{reader}.html").read_text()
        assert not re.search(r"secret|patient|control|mismatched|flip|https?://|file:", page)
        assert {frozenset(item) for item in content["items"]} == {
            frozenset({"token", "kind", "modality", "caption", "grey", "images"}),
            frozenset({"token", "kind", "modality", "caption", "grey", "images", "truth"}),
        }
        assert ["truth" in item for item in content["items"]] == [
            place < 4 for place in range(len(content["items"]))
        ]
        assert all(item["caption"] == "" for item in content["items"] if item["kind"] == "pair")
        flips = [place["flip"] for place in key["readers"][reader].values()]
        assert 0.2 < np.mean(flips) < 0.8
    orders = {tuple(place["item"] for place in asked.values()) for asked in key["readers"].values()}
    assert len(orders) == 3


def test_the_policy_names_the_hash_of_what_runs(made: Path) -> None:
    import hashlib

    page = (made / "pages" / "reader-1.html").read_text()
    assert "default-src 'none'" in page and "unsafe" not in page
    for tag in ("style", "script"):
        text = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = (
            base64.b64encode(hashlib.sha256(text.group(1).encode()).digest()).decode()
            if text
            else ""
        )
        assert f"{tag}-src 'sha256-{digest}'" in page


def test_items_are_dealt_as_the_protocol_says(made: Path) -> None:
    key, protocol = answers.load(made / "key.json"), (made / "PROTOCOL.md").read_text()
    in_training = [item["kind"] for item in key["items"] if item["training"]]
    assert in_training == ["pair", "pair", "synthetic", "mismatched"]
    counts = pd.Series(
        [item["kind"] for item in key["items"] if not item["training"]]
    ).value_counts()
    assert counts.to_dict() == {
        "pair": 14,
        "control": 5,
        "real": 5,
        "synthetic": 5,
        "mismatched": 3,
    }
    rows = [row for item in key["items"] for row in item["rows"]]
    assert (
        len(rows) == len(set(rows)) == 14 + 10 + 5 + 5 + 3 + 4
    )  # nobody is shown twice but on purpose
    for asked in key["readers"].values():
        again = [place["item"] for place in asked.values() if place["again"]]
        assert len(again) == 7 and len(asked) == 32 + 7 + 4
        first = [key["items"][place["item"]]["training"] for place in asked.values()]
        assert first == [True] * 4 + [False] * 39
        order = [(place["item"], place["again"]) for place in asked.values()]
        assert all(order.index((item, 0)) < order.index((item, 1)) for item in again)
    assert (
        "$" not in protocol
        and "| pairs, both real | 5 |" in protocol
        and "plus or minus 20 points" in protocol
    )
    mismatched = [item["fits"] for item in key["items"] if item["kind"] == "mismatched"]
    assert (
        max(mismatched) < 1 == min(item["fits"] for item in key["items"] if item["kind"] == "real")
    )


def test_too_few_images_are_named(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    real, synthetic = str(made.parent / "real"), str(made.parent / "synthetic")
    given = {"readers": 2, "margin": 0.1, "seed": 0}
    with pytest.raises(InputError, match="56 held-out patients are too few for 40 pairs"):
        kit.new(synthetic, f"folder:{real}", tmp_path / "out", pairs=40, **given)
    few = (
        pd.read_csv(Path(synthetic) / "metadata.csv").iloc[-12:].assign(finding="x", split="train")
    )
    shutil.copytree(synthetic, tmp_path / "few")
    few.to_csv(tmp_path / "few" / "metadata.csv", index=False)
    with pytest.raises(InputError, match="too few images of ct for 22 items"):
        kit.new(str(tmp_path / "few"), f"folder:{real}", tmp_path / "out", pairs=14, **given)
    assert not (tmp_path / "out").exists()


def test_a_modality_that_runs_out_leaves_the_turn_to_the_others() -> None:
    """Five patients of one and sixty of the other: nobody is shown twice, the small one gives what it has."""
    kinds = ["ct"] * 60 + ["fundus"] * 5
    real = pd.DataFrame(
        {
            "patient_id": [f"p{i}" for i in range(65)],
            "modality": kinds,
            "caption": "a",
            "finding": "b",
        }
    )
    real = real.assign(side="", lesion_size="", count=-1, grade=-1)
    drawn = draw_items(real, {"pair": 30, "control": 5}, seed=0)
    rows = [row for item in drawn for row in item["rows"]]
    assert (
        len(rows) == len(set(rows)) == 40 + 4
        and [len(item["rows"]) for item in drawn] == [1] * 30 + [2] * 5 + [1] * 4
    )
    assert sum(item["modality"] == "fundus" for item in drawn) == 4


@pytest.mark.parametrize(("drawn", "shown"), [(16, 32), (300, 256)])
def test_images_of_a_side_that_the_source_lacks_are_brought_to_one_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: int, shown: int
) -> None:
    """Phantoms have 32 to 256 pixels; a pipeline from elsewhere may draw any number, in oblongs, too."""
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    made = lambda generator, items, seed: np.zeros((len(items), drawn, drawn + 8, 3), np.uint8)  # noqa: E731
    monkeypatch.setattr(kit, "synthetic_images", made)
    kit.new("owner/name", "phantom", tmp_path / "kit", readers=1, pairs=12, margin=0.2, seed=0)
    uris = [
        uri
        for item in content_of(tmp_path / "kit" / "pages" / "reader-1.html")["items"]
        for uri in item["images"]
    ]
    sizes = {Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).size for uri in uris}
    assert (
        sizes == {(shown, shown)}
        and f"{shown} x {shown} pixels" in (tmp_path / "kit" / "PROTOCOL.md").read_text()
    )


def edit(study: Path, reader: str, change: Any, name: str = "") -> str:
    path = study / "answers" / f"{reader}.json"
    content = json.loads(path.read_text())
    change(content)
    (study / "answers" / (name or path.name)).write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        answers.read(study)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_each_fault_of_an_answer_file_is_said(study: Path) -> None:
    good = (study / "answers" / "reader-1.json").read_text()

    def said(change: Any, name: str = "") -> str:
        (study / "answers" / "reader-1.json").write_text(good)
        return edit(study, "reader-1", change, name)

    assert "reader-1.json belongs to study-0, not to study-" in said(
        lambda c: c.update(study="study-0")
    )
    assert "unknown reader 'reader-9'" in said(lambda c: c.update(reader="reader-9"))
    assert "unknown reader" in said(lambda c: c.update(answers=["A"]))
    assert "lacks 2 of 43 answers (003, 007)" in said(
        lambda c: [c["answers"].pop(k) for k in ("003", "007")]
    )
    assert "lacks 1 of 43" in said(lambda c: c["answers"].update({"003": "A"}))
    assert "was edited, or its page, in 1 items (005)" in said(
        lambda c: c["answers"]["005"].update(shown=1)
    )
    assert "was edited" in said(lambda c: c["answers"].update({"999": {}}))
    key = answers.load(study / "key.json")["readers"]["reader-1"]
    kinds = [item["kind"] for item in answers.load(study / "key.json")["items"]]
    rating = next(token for token, place in key.items() if kinds[place["item"]] == "real")
    for grade in (0, 6, 2.5, "3", None):
        assert f"was edited, or its page, in 1 items ({rating})" in said(
            lambda c, g=grade: c["answers"][rating].update(realism=g)
        )
    both = said(lambda c: None, "copy.json")
    assert both.count("one of 2 files of reader-1: keep one") == 2 and "copy.json" in both
    (study / "answers" / "copy.json").write_text("{")
    with pytest.raises(InputError, match=r"copy.json: absent, damaged"):
        answers.read(study)


def test_no_answers_yet(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["readers", "analyse", str(made)]) == 2
    assert "no answer file in answers/" in capsys.readouterr().err
    assert main.main(["readers", "analyse", str(made.parent)]) == 2


def test_a_folder_that_cannot_be_written_is_said_before_work(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a read-only disk, say (an administrator is not bound by permissions), or where a file lies in the way."""
    before, command = set(study.rglob("*")), ["readers", "analyse", str(study)]
    with monkeypatch.context() as patch:
        patch.setattr(store.os, "access", lambda path, mode: not mode & os.W_OK)
        patch.setattr(answers, "read", lambda folder: pytest.fail("answers were read"))
        assert main.main(command) == 2
    (study / "analysis").write_text("")
    assert main.main(command) == 2
    told = capsys.readouterr()
    lines = [
        f"medisyn: folder '{study / 'analysis'}': cannot be written; give a folder that can"
    ] * 2
    assert told.out == "" and told.err.splitlines() == lines
    assert set(study.rglob("*")) == before | {study / "analysis"}


def test_a_simulated_study_from_answers_to_report(study: Path) -> None:
    words = report.report(study)
    assert "against 50% plus or minus 20 points" in words
    assert {"04_told_apart.png", "04_ratings.png", "04_agreement.png", "analysis.csv"} <= {
        path.name for path in (study / "analysis").iterdir()
    }
    found = pd.read_csv(study / "analysis" / "analysis.csv").set_index(["measure", "part"])
    bare = found["low"].isna() & found["value"].notna()
    assert bare.sum() <= 2 and (found["low"] <= found["value"]).sum() >= 20
    assert (
        found.loc[("alignment_difference", "mismatched minus real"), "high"] < 0
    )  # the descriptions are looked at
    assert found.loc[("alignment: gwet_ac2", "each reader"), "value"] > 0.3


def test_one_reader_alone_is_analysed(study: Path) -> None:
    for other in ("reader-2", "reader-3"):
        (study / "answers" / f"{other}.json").unlink()
    found = analysis.analyse(answers.read(study)).set_index(["measure", "part"])
    assert found.loc[("accuracy", "all pairs"), "n"] == 14
    assert np.isnan(found.loc[("right: fleiss_kappa", "between readers"), "value"])


def test_first_and_right_by_hand(study: Path) -> None:
    """A reader who always names the synthetic image, and one who always says A."""
    key = answers.load(study / "key.json")
    for reader, choose in (
        ("reader-1", lambda flip: "AB"[1 - flip]),
        ("reader-2", lambda flip: "A"),
    ):
        path = study / "answers" / f"{reader}.json"
        content = json.loads(path.read_text())
        for token, given in content["answers"].items():
            given["choice"] = choose(key["readers"][reader][token]["flip"])
        path.write_text(json.dumps(content))
    (study / "answers" / "reader-3.json").unlink()
    table = answers.read(study)
    perfect, leaning = analysis.grid(table, "right", "pair")
    flips = [
        p["flip"]
        for p in key["readers"]["reader-2"].values()
        if not p["again"]
        and key["items"][p["item"]]["kind"] == "pair"
        and not key["items"][p["item"]]["training"]
    ]
    assert perfect.mean() == 1 and leaning.mean() == pytest.approx(np.mean(flips))
    again = analysis.analyse(table).set_index(["measure", "part"])["value"][
        "right: same again", "each reader"
    ]
    assert (
        0 < again < 1
    )  # sides are swapped the second time, so who always says A contradicts himself


def draws(
    readers: int,
    skill: float,
    seed: int,
    *,
    pairs: int = 70,
    studies: int = STUDIES,
    spread: float = 0.3,
) -> Any:
    """Right answers bool (studies, readers, pairs) and each study's planted accuracy.

    From five readers on skills vary about `skill` and the plan is for their population; fewer are fixed.
    """
    rng = np.random.default_rng(seed)
    sample = readers >= 5
    sharp = skill + (
        spread * rng.standard_normal((studies, readers))
        if sample
        else np.linspace(-spread, spread, readers) + np.zeros((studies, readers))
    )
    bias = np.linspace(-0.3, 0.3, readers)
    easy = simulate.ITEM_SPREAD * rng.standard_normal((studies, 1, pairs))
    truth = rng.random((studies, readers, pairs)) < 0.5
    first = simulate.choices(sharp[..., None] + easy, bias[:, None], truth, rng)
    total = (simulate.ITEM_SPREAD**2 + sample * spread**2) ** 0.5
    goal = simulate.planted(np.full(readers, skill) if sample else sharp[0], bias, total).mean()
    return first == truth, first, truth, goal


@pytest.mark.parametrize("skill", [0.0, 1.0, 2.2])
@pytest.mark.parametrize("readers", [2, 4, 8])
def test_the_interval_covers_the_planted_accuracy(readers: int, skill: float) -> None:
    right, _, _, goal = draws(readers, skill, seed=readers)
    found = [reader_statistics.accuracy(study) for study in right]
    covered = np.mean([e.ci_low <= goal <= e.ci_high for e in found])  # type: ignore[operator]
    assert covered >= 0.93
    assert np.mean([e.value for e in found]) == pytest.approx(goal, abs=0.005)
    if skill < 2:  # and it is no wider than it must be
        assert covered <= 0.985


@pytest.mark.parametrize("readers", [2, 4, 8])
def test_equivalence_is_wrong_at_most_33_times_in_500(readers: int) -> None:
    """At the margin exactly neither `equivalent` nor `told apart` may come out more often than 5% allows."""
    margin = 0.1
    scale = (1 + simulate.ITEM_SPREAD**2 / 2) ** 0.5
    skill = float(norm.ppf(0.5 + margin) * scale * 2**0.5)
    right, _, _, goal = draws(readers, skill, seed=10 + readers, studies=500, pairs=200)
    margin = goal - 0.5  # biases and varying skill move it a little
    verdicts = [analysis.equivalence(study, margin) for study in right]
    assert verdicts.count("equivalent") <= 33 and verdicts.count("told apart") <= 33
    mirrored = [analysis.equivalence(~study, margin) for study in right]
    assert mirrored == verdicts  # as far below 50% as above


@pytest.mark.parametrize("readers", [2, 4, 8])
def test_the_power_calculation_holds(readers: int) -> None:
    pairs = power.pairs_needed(0.1, readers)
    assert pairs is not None
    right, *_ = draws(readers, 0.0, seed=40 + readers, studies=500, pairs=pairs, spread=0.1)
    reached = np.mean([analysis.equivalence(study, 0.1) == "equivalent" for study in right])
    assert 0.76 <= reached <= 0.97
    assert pairs < (power.pairs_needed(0.05, readers) or 10**9)
    assert power.pairs_needed(0.01, 8) is None and "never" in power.power_table(0.01, 8)


def test_equivalence_by_hand() -> None:
    half = np.tile([1.0, 0.0], (2, 100))
    assert analysis.equivalence(half, 0.1) == "equivalent"
    assert analysis.equivalence(half[:, :10], 0.1) == "undecided"
    assert analysis.equivalence(np.ones((2, 100)), 0.1) == "told apart"
    assert (
        analysis.equivalence(np.zeros((8, 100)), 0.1) == "told apart"
    )  # always wrong is no guessing


def test_d_prime_by_hand_and_without_bias() -> None:
    """Hits 8.5/11, false alarms 2.5/11, then recovered from biased readers whose accuracy suffers."""
    truth = np.array([[1.0] * 10 + [0.0] * 10])
    first = np.array([[1.0] * 8 + [0.0] * 2 + [1.0] * 2 + [0.0] * 8])
    by_hand = (norm.ppf(8.5 / 11) - norm.ppf(2.5 / 11)) / 2**0.5
    assert reader_statistics.d_prime(first, truth).value == pytest.approx(by_hand)
    _, first, truth, _ = draws(4, 1.0, seed=3, studies=300, pairs=400)
    found = [reader_statistics.d_prime(f * 1.0, t * 1.0) for f, t in zip(first, truth, strict=True)]
    scale = (1 + simulate.ITEM_SPREAD**2 / 2) ** 0.5
    assert np.mean([e.value for e in found]) == pytest.approx(1.0 / scale, abs=0.03)
    covered = np.mean([e.ci_low <= 1.0 / scale <= e.ci_high for e in found])  # type: ignore[operator]
    assert covered >= 0.92


def test_planted_accuracy_by_hand() -> None:
    assert simulate.planted(np.array(0.0), np.array(2.0)) == pytest.approx(0.5)
    assert simulate.planted(np.array(1.0), np.array(0.0), 0.0) == pytest.approx(
        norm.cdf(1 / 2**0.5)
    )


def test_over_readers_by_hand() -> None:
    """Obuchowski and Rockette: readers alike leave the items' variance, items alike the readers'."""
    same = np.tile(np.random.default_rng(0).random((1, 40)), (6, 1))
    found = reader_statistics.over_readers(same.mean(1), (same.sum(1)[:, None] - same) / 39)
    half = norm.ppf(0.975) * same[0].std(ddof=1) / 40**0.5
    assert found.ci_high - found.value == pytest.approx(half, rel=1e-6)
    apart = np.arange(6.0)[:, None] + np.zeros((6, 40))
    found = reader_statistics.over_readers(apart.mean(1), (apart.sum(1)[:, None] - apart) / 39)
    assert found.ci_high - found.value == pytest.approx(
        2.570582 * np.arange(6).std(ddof=1) / 6**0.5, rel=1e-5
    )


def test_rating_difference_by_hand() -> None:
    a, b = np.array([[4.0, 5, 4, 5], [4, 4, 5, 5]]), np.array([[2.0, 1, 2, 1, 2], [1, 2, 2, 1, 1]])
    found = reader_statistics.difference(a, b)
    assert found.value == pytest.approx(4.5 - 1.5)
    ways = a.mean(0).var(ddof=1) / 4 + b.mean(0).var(ddof=1) / 5
    assert (found.ci_high - found.ci_low) / 2 == pytest.approx(2.306 * ways**0.5, rel=0.15)
    assert reader_statistics.difference(b, a).value == pytest.approx(-3.0)


def test_texts_of_ones_own_are_shown_as_text(made: Path, tmp_path: Path) -> None:
    from medisyn_lib.reader_study.texts import as_html, read_texts

    assert as_html("# A <b>\n\none\ntwo\n\n- x & y\n- z") == (
        '<h1 tabindex="-1">A &lt;b&gt;</h1>\n<p>one two</p>\n<ul><li>x &amp; y</li><li>z</li></ul>'
    )
    page = (made / "pages" / "reader-1.html").read_text()
    assert (
        "Taking part is voluntary" in page and '<h1 tabindex="-1">Real or synthetic?</h1>' in page
    )
    shutil.copytree(made / "texts", tmp_path / "texts")
    (tmp_path / "texts" / "consent.txt").write_text("Ask $me <script>alert(1)</script>")
    assert read_texts(tmp_path / "texts")["consent"].startswith("Ask $me")
    (tmp_path / "texts" / "instructions.txt").write_text(" \n")
    with pytest.raises(InputError, match=r"instructions.txt: 0 characters; write 1 to 20000"):
        read_texts(tmp_path / "texts")
    (tmp_path / "texts" / "instructions.txt").unlink()
    with pytest.raises(InputError, match=r"instructions.txt: no text file in UTF-8 there"):
        read_texts(tmp_path / "texts")


def test_grey_modalities_are_known_by_their_real_images(made: Path) -> None:
    key = answers.load(made / "key.json")
    assert {item["modality"]: item["grey"] for item in key["items"]} == {"ct": True}


def test_an_answer_without_consent_is_left_out_and_minutes_are_counted(study: Path) -> None:
    path = study / "answers" / "reader-1.json"
    content = json.loads(path.read_text())
    for given in content["answers"].values():
        given["seconds"] = 12
    path.write_text(json.dumps(content))
    found = analysis.analyse(answers.read(study)).set_index(["measure", "part"])
    assert found.loc[("minutes", "reader-1"), "value"] == pytest.approx(
        39 * 12 / 60
    )  # not training
    assert np.isnan(found.loc[("minutes", "reader-2"), "value"])
    del content["consent"]
    fault = answers.fault_of(content, answers.load(study / "key.json"), 1)
    assert fault == "holds no consent of reader-1: leave it out, or ask the reader"


def test_few_readers_as_a_random_sample_by_hand() -> None:
    """Two readers of 60 and 80%: no two of their items agree more than chance, so t with one degree of freedom."""
    right = np.zeros((2, 100))
    right[0, :60] = right[1, 40:] = 1  # the second is right in 60, and in 20 of the first's
    right[1, :20] = 1
    fixed, sampled = (reader_statistics.accuracy(right, random=how) for how in (False, True))
    assert fixed.value == sampled.value == pytest.approx(0.7)
    assert sampled.ci_low < fixed.ci_low and sampled.ci_high > fixed.ci_high
    values, left_out = right.mean(1), reader_statistics.means_left_out(right)
    shared = np.cov(right, bias=True)[0, 1] / 99
    assert shared < 0  # so it counts as none
    by_hand = reader_statistics.over_readers(values, left_out, random=True)
    half = 12.7062 * 0.2 / 2  # t of one degree, 97.5%, times the standard error of the mean
    assert by_hand.ci_high == pytest.approx(0.7 + half, rel=1e-4)


def test_the_power_of_a_study_is_what_the_page_says() -> None:
    """60 studies where docs/readers.md has 500: within their own error."""
    import reader_power

    *first, power_found, wrong, told = reader_power.row(8, "alike", 60, 1, random=True)[2:-2].split(
        " | "
    )
    assert first == ["8", "random", "alike", "67"]
    page = (Path(__file__).parents[1] / "docs" / "readers.md").read_text("utf-8")
    (line,) = re.findall(r"^\| 8 \| random \| alike \|.*$", page, re.MULTILINE)
    *_, stated, stated_wrong, stated_told = line[2:-2].split(" | ")
    for found, said, error in (
        (power_found, stated, 12),
        (wrong, stated_wrong, 10),
        (told, stated_told, 5),
    ):
        assert abs(float(found[:-1]) - float(said[:-1])) <= error
