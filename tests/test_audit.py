"""The audit of someone else's generator: which claims it tests, and its report, one page that needs nothing else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browsing import in_browser, left_the_page
from made_claims import a_claim
from PIL import Image

from medisyn_lib.claims import statements
from medisyn_lib.claims.claim import NEEDS_PEOPLE, NOT_RUN, VERDICTS, Claim, Control, Measure
from medisyn_lib.claims.results import Result, read_result, write_result
from medisyn_lib.claims.rules import Rule
from medisyn_lib.errors import InputError
from medisyn_lib.reporting import audit, audit_report
from medisyn_lib.reporting.gallery import FIGURES

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
        assert audited is None or set(audited.figures) <= set(FIGURES)


def test_the_notebook_that_judges_folders_of_images_can_read_them() -> None:
    for notebook, audited in audit.AUDITED.items():
        text = (NOTEBOOKS / f"{notebook}.py").read_text()
        assert ("metadata.csv" in text) == audited.judges_finished_images, notebook


def test_all_claims_that_fit_are_tested_by_default() -> None:
    every = ["training", "alignment", "memorization", "augmentation"]
    assert audit.choose_claims(None) == dict.fromkeys(every, "")
    for fact, words in (("finished_images", "cannot be asked"), ("seed", "leave --seed out")):
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


def test_pictures_of_the_generator_are_there_and_real_ones_are_marked(run: Path) -> None:
    path = report(run, "owner/name", False)
    shown = re.findall(
        r"<figure( class=\"real\")?>(.*?)</figure>", path.read_text(), flags=re.DOTALL
    )
    names = [re.search(r"\((\d\d_\w+)\)", own).group(1) for _, own in shown]  # type: ignore[union-attr]
    assert names == ["01_prompts", "05_distances", "05_pairs"], (
        "no losses of a model trained here, no tiles"
    )
    assert [bool(mark) for mark, _ in shown] == [False, False, True]
    assert ["Not to be passed on" in own for _, own in shown] == [False, False, True]
    assert "1 of the pictures below show real images" in path.read_text()
    (run / "figures" / "05_pairs.real.png").unlink()
    assert "real images of the data source" not in report(run, "owner/name", False).read_text()


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
def test_the_report_fits_the_screen_and_sends_nothing(run: Path, browser: Any, width: int) -> None:
    path = report(run, "owner/name", False)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.title == "Audit of owner/name" and left_the_page(browser) == []
    loaded = browser.execute_script("return [...document.images].map(one => one.naturalWidth)")
    assert loaded == [1400, 1400, 1400]
