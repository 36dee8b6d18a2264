"""CONTRIBUTING.md does what it says: its files, put into a copy of the project, work there."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medisyn_lib.claims.claim import VERDICTS
from medisyn_lib.modalities import MODALITIES

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
BLOCKS = re.findall(
    r"^```\w+ title=\"([^\"]+)\"( add)?\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL
)


def section(heading: str) -> list[tuple[str, bool, str]]:
    """The files of one section of the page: path, whether it is added to one that is there, content."""
    text = TEXT.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    found = [(path, bool(add), content) for path, add, content in BLOCKS if content in text]
    assert found, heading
    return found


def follow(copy: Path, *headings: str) -> None:
    """A copy of the library, the tests and the notebooks' folder in which these sections were followed."""
    shutil.copytree(
        ROOT / "medisyn_lib", copy / "medisyn_lib", ignore=shutil.ignore_patterns("__pycache__")
    )
    (copy / "notebooks").mkdir()
    (copy / "tests").mkdir()
    for path, add, content in (block for heading in headings for block in section(heading)):
        assert (copy / path).exists() == add, path
        (copy / path).write_text(
            (copy / path).read_text("utf-8") + "\n" + content if add else content
        )


def inside(copy: Path, *command: str) -> str:
    """What a command of this interpreter prints in the copy, with the copy's library and a store of its own."""
    own = {"PYTHONPATH": str(copy), "MEDISYN_ROOT": str(copy), "MEDISYN_STORE": str(copy / "store")}
    environment = os.environ | own | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_every_file_of_the_page_is_tried() -> None:
    headings = re.findall(r"^## (Add .*)$", TEXT, flags=re.MULTILINE)
    assert [heading.split(":")[0] for heading in headings] == [
        "Add a modality", "Add a measure", "Add a claim", "Add a data source",
    ]  # fmt: skip
    assert (
        sum(len(section(heading)) for heading in headings) == len(BLOCKS) == TEXT.count(" title=")
    )
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", TEXT) if not re.match(r"[a-z]+:", link)]
    assert links and all((ROOT / link).exists() for link in links)


def test_an_eleventh_modality_is_one_new_file_and_one_table_row(tmp_path: Path) -> None:
    blocks = section("Add a modality")
    assert [(path, add) for path, add, _ in blocks] == [
        ("medisyn_lib/modalities.toml", True), ("medisyn_lib/phantoms/mammography.py", False),
    ]  # fmt: skip
    follow(tmp_path, "Add a modality")
    code = """
import json
from medisyn_lib.cli.main import main
from medisyn_lib.data import check, sources
from medisyn_lib.modalities import MODALITIES
check.PHANTOMS_CHECKED = 20
images = sources.load("phantom", role="test", per_modality=12)
own = images.filter(lambda row: row["modality"] == "mammography", load_from_cache_file=False)
told = {"modalities": list(MODALITIES), "loaded": sorted(set(images["modality"])), "captions": own["caption"][:],
        "findings": sorted(set(own["finding"])), "specialty": own["specialty"][0], "testable": check.testable("phantom")}
print(json.dumps(told))
assert main(["data", "check", "phantom"]) == 0 and main(["data", "list"]) == 0
"""
    first, *lines = inside(tmp_path, "-c", code).splitlines()
    told = json.loads(first)
    assert told["modalities"] == [*MODALITIES, "mammography"] and len(told["modalities"]) == 11
    assert "mammography" in told["loaded"] and told["testable"]["mammography"] == ""
    assert (
        told["findings"] == ["calcifications", "mass", "normal"]
        and told["specialty"] == "radiology"
    )
    assert all(re.search("mammogram|view of the breast", caption) for caption in told["captions"])
    assert any(re.search("(left|right) breast", caption) for caption in told["captions"])
    (checked,) = [line for line in lines if line.startswith("mammography")]
    assert re.search(r"\b20 +20 +20\b", checked) and " known " in checked
    assert any(line.startswith("phantom ") for line in lines)


def test_the_eleventh_phantom_keeps_the_contract_of_the_ten(tmp_path: Path) -> None:
    follow(tmp_path, "Add a modality")
    shutil.copy(ROOT / "tests" / "test_phantoms.py", tmp_path / "tests")
    said = inside(
        tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", "-k", "mammography"
    )
    assert re.search(r"\b[1-9]\d* passed", said) and "failed" not in said


def test_a_measure_passes_its_own_tests(tmp_path: Path) -> None:
    follow(tmp_path, "Add a measure")
    said = inside(
        tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_diversity.py"
    )
    assert "2 passed" in said


@pytest.mark.timeout(300)
def test_a_claim_runs_and_reaches_the_scorecard(tmp_path: Path) -> None:
    follow(tmp_path, "Add a measure", "Add a claim")
    inside(tmp_path, "-m", "jupytext", "--to", "ipynb", "notebooks/08_diversity.py")
    inside(
        tmp_path,
        "-m",
        "medisyn_lib.cli.main",
        "reproduce",
        "08",
        "--profile",
        "tiny",
        "--out",
        "made",
    )
    code = "from medisyn_lib import claims; from pathlib import Path; print(claims.scorecard(Path('made/results'))[-1])"
    row = ast.literal_eval(inside(tmp_path, "-c", code))
    assert row["notebook"] == "08_diversity" and row["verdict"] in VERDICTS
    assert row["controls"] == "2 of 2" and row["interval"] != "none"


def test_a_data_source_is_listed_checked_and_loaded(tmp_path: Path) -> None:
    follow(tmp_path, "Add a data source")
    rng = np.random.default_rng(0)
    for number in range(60):
        folder = tmp_path / "images" / ("Benign", "Not benign")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / f"{number}.png")
    source = f"classes:{tmp_path / 'images'}"
    assert "classes:DIR" in inside(tmp_path, "-m", "medisyn_lib.cli.main", "data", "list")
    checked = inside(tmp_path, "-m", "medisyn_lib.cli.main", "data", "check", source)
    assert "benign" in checked and "not_benign" in checked and " unknown " in checked
    code = f"from medisyn_lib.data import sources; print(sources.load({source!r}, 'train', size=16)[0]['image'].size)"
    assert inside(tmp_path, "-c", code) == "(16, 16)\n"
    outside = tmp_path / "elsewhere.png"
    shutil.copy(tmp_path / "images" / "Benign" / "0.png", outside)
    (tmp_path / "images" / "Benign" / "link.png").symlink_to(outside)
    refused = (
        f"from medisyn_lib.cli.main import main; assert main(['data', 'check', {source!r}]) == 2"
    )
    inside(tmp_path, "-c", refused)
