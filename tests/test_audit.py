"""The audit of someone else's generator: which claims it tests, and its report, pages that need nothing else."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from browsing import in_browser, left_the_page
from made_claims import a_claim
from PIL import Image

from medisyn_lib.claims import statements
from medisyn_lib.claims.claim import (
    EVIDENCE,
    NEEDS_PEOPLE,
    NOT_RUN,
    PROBLEMS,
    VERDICTS,
    Claim,
    Control,
    Measure,
)
from medisyn_lib.claims.results import Result, read_result, write_result
from medisyn_lib.claims.rules import Rule
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.subgroups import SubgroupEstimate, Subgroups
from medisyn_lib.reporting import audit, audit_gallery, audit_record, audit_report
from medisyn_lib.reporting.gallery import FIGURES
from medisyn_lib.reporting.render import draw
from medisyn_lib.reporting.subgroup_tables import write_subgroups
from medisyn_lib.statistics.estimates import Estimate

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
HARM = "<script>document.title='harmed'</script><img src=http://harm.example/a onerror=alert(1)>"


def test_the_audit_knows_what_the_notebooks_take() -> None:
    assert sorted([*audit.AUDITED, *audit.UNSUITED]) == list(statements.NOTEBOOKS)
    assert set(audit.OUTCOMES) == set(VERDICTS)
    for notebook in statements.NOTEBOOKS:
        text = (NOTEBOOKS / f"{notebook}.py").read_text()
        cell = text.partition('# %% tags=["parameters"]\n')[2].partition("\n\n")[0]
        taken = re.findall(r"^(\w+)(?:: \w+)? = ", cell, flags=re.MULTILINE)
        assert "generator" in taken
        audited = audit.AUDITED.get(notebook)
        takes_seed = audited is not None and audited.takes_seed
        assert ("seed" in taken) == takes_seed, f"{notebook}: seed"
        takes_encoder = audited is not None and audited.takes_encoder
        assert ("encoder" in taken) == takes_encoder, f"{notebook}: encoder"
        assert audited is None or set(audited.figures) <= set(FIGURES)


def test_the_notebook_that_judges_folders_of_images_can_read_them() -> None:
    for notebook, audited in audit.AUDITED.items():
        text = (NOTEBOOKS / f"{notebook}.py").read_text()
        assert ("metadata.csv" in text) == audited.judges_finished_images, notebook


def test_all_claims_that_fit_are_tested_by_default() -> None:
    every = ["training", "alignment", "memorization", "augmentation"]
    assert audit.choose_claims(None) == dict.fromkeys(every, "")
    for fact, words in (
        ("finished_images", "cannot be asked"),
        ("seed", "leave --seed out"),
        ("encoder", "leave --encoder out"),
    ):
        reasons = audit.choose_claims(None, **{fact: True})
        assert reasons.pop("memorization") == ""
        assert all(words in reason for reason in reasons.values())
        assert audit.choose_claims("memorization", **{fact: True})["training"]
        with pytest.raises(InputError, match=f"--claims 'alignment' .*{words}"):
            audit.choose_claims("memorization, alignment", **{fact: True})
    others = dict.fromkeys(every[1:], "was not asked for")
    assert audit.choose_claims("training") == {"training": ""} | others
    for requested in ("beauty", "", "training,"):
        with pytest.raises(InputError, match="is unknown: choose among training, alignment"):
            audit.choose_claims(requested)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["supported"], 0),
        (["supported", None], 0),
        (["partly supported"], 3),
        (["supported", "inconclusive"], 3),
        (["supported", "inconclusive", "contradicted"], 1),
        ([None], 3),
    ],
)
def test_the_exit_code_follows_from_all_claims(verdicts: list[str | None], code: int) -> None:
    """What needs people, or was not run, counts neither way, unless there is nothing else."""
    claims = [a_claim(one, problem=None if one else NEEDS_PEOPLE) for one in verdicts]
    assert audit.exit_code([Result({}, tuple(claims))]) == code


def test_what_has_no_verdict_has_no_mark_of_one(run: Path) -> None:
    people = a_claim(None, problem=NEEDS_PEOPLE)
    write_result(run / "results" / "01_training.json", {"profile": "tiny", "data": "x"}, [people])
    report(run, "owner/name", False)
    page = (run / "report.html").read_text("utf-8")
    assert '<span class="mark none">needs people</span>' in page
    assert '<span class="mark code0">supported</span>' in page


def test_a_failed_control_is_not_an_acquittal() -> None:
    failed = Control("k", "positive", "seen", 0.0, False)
    results = [Result({}, (a_claim(controls=[failed]), a_claim()))]
    assert audit.exit_code(results) == 3
    assert audit.sentences(results[0])[0].startswith("control failed: Nothing can be said")
    assert audit.outcome_of(a_claim(None, problem=NOT_RUN)).words == "not run"


def claim(verdict: str | None = "supported", **changed: Any) -> Claim:
    measures = [
        Measure("copy_rate", "estimate", 0.0125, 0.004, 0.03, 600, 1, "share", "efflite0"),
        Measure("seconds", "machine", 12.0, None, None, 1, 1, "s", None),
        Measure("saving", "estimate", 0.7, 0.7, None, 9, 1, "", None),
    ]
    controls = [Control("planted_copies", "positive", "at least 0.95", 0.982, True)]
    given = {
        "rule": Rule("r", "no copies", "Fewer than held-out ones.", {}),
        "summary": "At most 3% are copies.",
        "primary": "copy_rate",
        "measures": measures,
        "controls": controls,
    }
    return a_claim(verdict, **given | changed)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An output folder after the notebooks of two claims, whose words try to do harm, with a picture of real images."""
    for notebook, found in (
        (
            "01_training",
            claim(
                "inconclusive",
                statement=f"draws {HARM}",
                rule=Rule("r", "s", f"Rule {HARM}", {}),
                controls=[],
            ),
        ),
        ("05_memorization", claim()),
    ):
        write_result(
            tmp_path / "results" / f"{notebook}.json",
            {
                "profile": "tiny",
                "data": "npz:panel",
                "versions": {"torch": "2"},
                "gpu": None,
                "seeds": [0],
            },
            [found],
        )
        cells = [
            f"# {notebook}\n**Claim.** In words.",
            "## Limits\n\n- It is *small*.\n- <b>Raw</b> words.",
        ]
        content = {
            "cells": [{"cell_type": "markdown", "source": cell.splitlines(True)} for cell in cells]
        }
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        (tmp_path / "notebooks" / f"{notebook}.ipynb").write_text(json.dumps(content))
    (tmp_path / "figures").mkdir()
    for name in ("01_prompts", "01_losses", "05_distances", "05_pairs.real", "05_pairs.real.tiles"):
        Image.new("RGB", (1400, 300), (len(name), 90, 120)).save(
            tmp_path / "figures" / f"{name}.png"
        )
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "metadata.csv").write_text("file_name,text\n0.png,a\n1.png,b\n")
    for name in ("0.png", "1.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / "given" / name)
    return tmp_path


def test_notes_of_the_notebooks_reach_the_report(run: Path) -> None:
    path = run / "notebooks" / "05_memorization.ipynb"
    content = json.loads(path.read_text())
    text = ["600 images\n", "note: generator g: 540 of 600 images are of <b>one</b> colour\n"]
    output = {"output_type": "stream", "name": "stdout", "text": text}
    content["cells"].append({"cell_type": "code", "source": [], "outputs": [output, output]})
    path.write_text(json.dumps(content))
    found = audit_report.notes(run, ["01_training", "05_memorization", "06_augmentation"])
    assert found == ["generator g: 540 of 600 images are of <b>one</b> colour"]
    results = {"memorization": read_result(run / "results" / "05_memorization.json")}
    page = Page(audit_report.write_report(run, "owner/name", False, results, {}, found))
    assert "540 of 600 images are of <b>one</b> colour" in page.words


def report(run: Path, generator: str, finished: bool, **left: str) -> Path:
    found = {"training": "01_training", "memorization": "05_memorization"}
    results = {
        name: read_result(run / "results" / f"{notebook}.json") for name, notebook in found.items()
    }
    return audit_report.write_report(run, generator, finished, results, left)


class Page(HTMLParser):
    """Tags, addresses and words of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.words = ""
        self.feed(path.read_text("utf-8"))
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.words += " " * (tag == "td")
        self.addresses += [
            str(value)
            for name, value in attrs
            if name in ("src", "href", "srcset", "data", "action")
        ]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words += data if self.tags[-1:] != ["style"] else ""


def test_the_report_is_one_page_that_fetches_and_runs_nothing(run: Path) -> None:
    page = Page(report(run, "owner/name", False))
    assert (
        not {"script", "iframe", "object", "embed", "base", "form"} & set(page.tags)
        and not page.handlers
    )
    assert [
        a[:60]
        for a in page.addresses
        if not a.startswith(("data:image/png;base64,", "data:,", "#"))
    ] == []
    text = (run / "report.html").read_text()
    assert "default-src 'none'" in text and "url(" not in text and "@import" not in text
    assert page.words.count("document.title='harmed'") > 1, "shown as words"
    assert not list(run.glob("*.tmp"))


# What the report says, each in so many words.
SAID = (
    "Audit of owner/name",
    "text-to-image pipeline",
    "npz:panel",
    "Not for clinical use",
    "supported",
    "could not be told",
    "At most 3% are copies.",
    "Evidence: exploratory.",
    "copy rate 0.0125, 95% interval 0.004 to 0.03, n = 600",
    "at least 0.7",
    "Rule. Fewer than held-out ones.",
    "planted copies",
    "at least 0.95",
    "0.982",
    "seconds",
    "encoder",
    "efflite0",
    "no controls of its own",
    "alignment (notebook 04, realistic and text-aligned): was not asked for",
    "augmentation (notebook 06",
    "It needs specialists",
    "trains this project's own specialists",
    "Notebook 03",
    "It judges graders",
    "medisyn readers new",
    "It is small.",
    "<b>Raw</b> words.",
    "In words.",
    "torch 2",
    "gpu unknown",
)


def test_the_report_says_what_was_found_and_what_was_not_tested(run: Path) -> None:
    page = Page(
        report(
            run,
            "owner/name",
            False,
            training="",
            alignment="was not asked for",
            augmentation="failed, see x",
        )
    )
    for words in SAID:
        assert words in page.words, words
    assert "drawings, not patients" not in page.words
    assert "training (notebook 01" not in page.words, "what was tested is not among what was not"


def pictures_in(path: Path) -> dict[str, bool]:
    """The figures of a page by name, and whether each is marked as real."""
    shown = re.findall(
        r"<figure( class=\"real\")?>(.*?)</figure>", path.read_text(), flags=re.DOTALL
    )
    assert all(("Not to be passed on" in own) == bool(mark) for mark, own in shown)
    return {re.search(r"\((\d\d_\w+)\)", own).group(1): bool(mark) for mark, own in shown}  # type: ignore[union-attr]


def test_real_images_are_on_a_page_of_their_own_and_marked(run: Path) -> None:
    path = report(run, "owner/name", False)
    without = {"01_prompts": False, "05_distances": False}
    assert pictures_in(path) == without, "no losses of a model trained here, no tiles"
    assert pictures_in(run / "report.real.html") == without | {"05_pairs": True}
    real = base64.b64encode((run / "figures" / "05_pairs.real.png").read_bytes()).decode()
    assert real not in path.read_text() and real in (run / "report.real.html").read_text()
    assert "report.real.html" in Page(path).words
    assert "This page shows real images" in Page(run / "report.real.html").words
    audit_report.remove_report(run)
    assert not list(run.glob("report.*"))
    (run / "figures" / "05_pairs.real.png").unlink()
    assert "report.real.html" not in report(run, "owner/name", False).read_text()
    assert not (run / "report.real.html").exists()


def leave_gallery(run: Path, *, real: bool) -> np.ndarray:
    """Leave two pairs as notebook 05 does, the first of them flagged; return the four pictures."""
    tiles = np.stack([np.full((8, 8, 3), shade, np.uint8) for shade in (11, 22, 33, 44)])
    table = pd.DataFrame(
        {
            "image": ["a<b>.png", "b.png"] * 2,
            "modality": ["brain_mri", "ct"] * 2,
            "flagged": [True, False] * 2,
            "ratio": [0.02, 0.61] * 2,
            "detector": ["pixels", "efflite0"] * 2,
            "row": [0, 0, 1, 1],
            "column": [0, 1, 0, 1],
            "row_label": ["synthetic"] * 2 + ["nearest"] * 2,
            "title": "t",
        }
    )
    draw(FIGURES["05_nearest"], table, run / "figures", tiles, real=real)
    return tiles


@pytest.mark.parametrize("real", [True, False])
def test_the_gallery_sets_each_image_beside_its_nearest_training_image(
    run: Path, real: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(run / "store"))
    (run / "figures" / "05_pairs.real.png").unlink()
    tiles = leave_gallery(run, real=real)
    pairs = audit_gallery.read_gallery(run, real=real)
    assert not audit_gallery.read_gallery(run, real=not real)
    assert [(one.name, one.flagged, one.ratio) for one in pairs] == [
        ("a<b>.png", True, 0.02),
        ("b.png", False, 0.61),
    ]
    for place, one in enumerate(pairs):
        for text, shown in ((one.image, tiles[place]), (one.training, tiles[2 + place])):
            assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) == shown).all()
    words = Page(report(run, "owner/name", False)).words
    assert words.index("At most 3.0% are copies") < words.index("ClaimOutcome")
    assert ("The nearest training images" in words) == (not real)
    if real:
        words = Page(run / "report.real.html").words
        assert (
            "a real image" in words and pairs[0].training not in (run / "report.html").read_text()
        )
    assert words.index("At most 3.0%") < words.index("The nearest") < words.index("ClaimOutcome")
    assert "a<b>.png, brain MRIflagged as a copy, 0.02 by pixels" in words
    (run / "figures" / f"05_nearest{'.real' if real else ''}.tiles.png").write_bytes(
        (run / "given" / "0.png").read_bytes()
    )
    with pytest.raises(InputError, match="4 rows for 1 pictures; run its notebook again"):
        audit_gallery.read_gallery(run, real=real)


def record(run: Path) -> Any:
    return json.loads((run / "report.json").read_text("utf-8"))


def test_the_report_as_json_keeps_its_schema(run: Path) -> None:
    groups = [SubgroupEstimate("sex", "f", 30, Estimate(0.1, 0.02, 0.3, 41))]
    found_groups = Subgroups("flagged as copies", "proportion", ["sex"], groups)
    write_subgroups(run, "05_memorization", found_groups)
    report(run, str(run / "given"), True, alignment="was not asked for")
    schema = json.loads(audit_record.SCHEMA.read_text("utf-8"))
    check = jsonschema.Draft202012Validator
    check.check_schema(schema)
    found = record(run)
    check(schema).validate(found)
    assert schema["properties"]["schema"]["const"] == schema["$id"] == audit_record.SCHEMA_ID
    assert found["exit_code"] == 3 and found["generator"]["kind"] == "images"
    assert found["copies"] == {"upper_limit": 0.03, "flagged": None, "images": 600}
    assert found["not_tested"] == {"alignment": "was not asked for"}
    assert found["subgroups"]["memorization"]["rows"][0]["ci_high"] == 0.3
    (claim,) = found["results"]["memorization"]["claims"]
    assert claim["outcome"] == "supported" and claim["measures"][0]["name"] == "copy_rate"
    for damaged in ({"exit_code": 4}, {"schema": "x"}, {"more": 1}, {"copies": {"images": 1}}):
        with pytest.raises(jsonschema.ValidationError):
            check(schema).validate(found | damaged)


def test_the_schema_knows_every_word_of_a_claim() -> None:
    claim_schema = json.loads(audit_record.SCHEMA.read_text("utf-8"))["$defs"]["claim"]
    words = {name: set(one.get("enum", ())) for name, one in claim_schema["properties"].items()}
    assert words["evidence"] == set(EVIDENCE)
    assert words["problem"] == {None, *PROBLEMS} and words["verdict"] == {None, *VERDICTS}


def test_the_report_says_what_was_and_was_not_measured(run: Path) -> None:
    page = Page(report(run, "owner/name", False))
    assert "No differential privacy is claimed" in page.words
    left = record(run)["not_measured"]
    assert any("membership inference" in text for text in left)
    assert any("classifiers that have few" in text for text in left), "augmentation was not tested"
    assert any("close to a training image" in text for text in record(run)["measured"])


def test_a_failed_control_leaves_no_limit_of_the_copies(run: Path) -> None:
    failed = claim(controls=[Control("planted_copies", "positive", "rule broken", 0.1, False)])
    write_result(
        run / "results" / "05_memorization.json", {"profile": "tiny", "data": "x"}, [failed]
    )
    words = Page(report(run, "owner/name", False)).words
    assert "No limit can be given" in words and "At most 3.0%" not in words
    assert record(run)["copies"]["upper_limit"] is None


def test_the_report_names_a_folder_of_images_by_its_content(run: Path) -> None:
    def fingerprint() -> str:
        text = report(run, str(run / "given"), True).read_text()
        assert (
            "Audit of given" in text
            and "folder of finished images" in text
            and str(run) not in text
        )
        return re.search(r"<code>([0-9a-f]{64})</code>", text).group(1)  # type: ignore[union-attr]

    before = fingerprint()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(run / "given" / "1.png")
    assert fingerprint() != before


@in_browser
@pytest.mark.parametrize("width", [390, 1200])
def test_the_report_fits_the_screen_and_sends_nothing(
    run: Path,
    browser: Any,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(run / "store"))
    leave_gallery(run, real=True)
    report(run, "owner/name", False)
    path = run / "report.real.html"
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.title == "Audit of owner/name" and left_the_page(browser) == []
    loaded = browser.execute_script("return [...document.images].map(one => one.naturalWidth)")
    assert loaded == [8] * 4 + [1400] * 3
