"""The examples of additions work: their files, put into a copy of the project, do what the page says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medisyn_lib.claims.claim import VERDICTS
from medisyn_lib.modalities import MODALITIES

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples"
CLI = ("-m", "medisyn_lib.cli.main")
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")


def follow(copy: Path, *names: str) -> None:
    """Copy the library and add these examples to it; notebooks and tests are those of the examples alone."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "medisyn_lib", copy / "medisyn_lib", ignore=ignored)
    (copy / "notebooks").mkdir()
    (copy / "tests").mkdir()
    for name in names:
        for file in files_of(name):
            add_file(copy, file.relative_to(EXAMPLES / name), file.read_text("utf-8"))


def files_of(name: str) -> list[Path]:
    """List the files of one example."""
    files = [path for path in sorted((EXAMPLES / name).rglob("*")) if path.is_file()]
    assert files, name
    return [path for path in files if "__pycache__" not in path.parts]


def add_file(copy: Path, path: Path, content: str) -> None:
    """Write a new file, or append lines to the one that a `.add` file is named after."""
    if path.suffix == ".add":
        target = copy / path.with_suffix("")
        target.write_text(target.read_text("utf-8") + "\n" + content)
    else:
        assert not (copy / path).exists(), path
        (copy / path).write_text(content)


def inside(copy: Path, *command: str) -> str:
    """Run this interpreter in the copy, with the copy's library and a store of its own; return what it prints."""
    environment = os.environ | {
        "PYTHONPATH": str(copy),
        "MEDISYN_ROOT": str(copy),
        "MEDISYN_STORE": str(copy / "store"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def printed_json(copy: Path, code: str) -> Any:
    """Run code in the copy and return what it prints, read as JSON."""
    return json.loads(inside(copy, "-c", code))


def test_every_example_is_described_and_tried() -> None:
    page = (EXAMPLES / "README.md").read_text("utf-8")
    described = re.findall(r"^## `(\w+)/`", page, flags=re.MULTILINE)
    assert described == ["modality", "measure", "claim", "source", "public_set"]
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == set(described)
    source = Path(__file__).read_text("utf-8")
    assert all(re.search(rf"follow\(.*\"{name}\"", source) for name in described)


def test_an_eleventh_modality_is_one_new_file_and_one_table_row(tmp_path: Path) -> None:
    paths = [str(path.relative_to(EXAMPLES / "modality")) for path in files_of("modality")]
    assert paths == ["medisyn_lib/modalities.toml.add", "medisyn_lib/phantoms/mammography.py"]
    follow(tmp_path, "modality")
    code = """
import json
from medisyn_lib.data import check, sources
from medisyn_lib.modalities import MODALITIES
images = sources.load("phantom", role="test", per_modality=12)
mammograms = images.filter(
    lambda row: row["modality"] == "mammography", load_from_cache_file=False
)
print(json.dumps({
    "modalities": list(MODALITIES),
    "loaded": sorted(set(images["modality"])),
    "captions": mammograms["caption"][:],
    "findings": sorted(set(mammograms["finding"])),
    "specialty": mammograms["specialty"][0],
    "testable": check.testable("phantom"),
}))
"""
    seen = printed_json(tmp_path, code)
    assert seen["modalities"] == [*MODALITIES, "mammography"]
    assert len(seen["modalities"]) == 11
    assert "mammography" in seen["loaded"]
    assert seen["testable"]["mammography"] == ""
    assert seen["findings"] == ["calcifications", "mass", "normal"]
    assert seen["specialty"] == "radiology"
    captions = seen["captions"]
    assert all(re.search("mammogram|view of the breast", caption) for caption in captions)
    assert any(re.search("(left|right) breast", caption) for caption in captions)


def test_an_eleventh_modality_is_listed_and_checked(tmp_path: Path) -> None:
    follow(tmp_path, "modality")
    code = """
from medisyn_lib.cli.main import main
from medisyn_lib.data import check
check.PHANTOMS_CHECKED = 20
assert main(["data", "check", "phantom"]) == 0
assert main(["data", "list"]) == 0
"""
    lines = inside(tmp_path, "-c", code).splitlines()
    (checked,) = [line for line in lines if line.startswith("mammography")]
    assert re.search(r"\b20 +20 +20\b", checked)
    assert " known " in checked
    assert any(line.startswith("phantom ") for line in lines)


def test_the_eleventh_phantom_keeps_the_contract_of_the_ten(tmp_path: Path) -> None:
    follow(tmp_path, "modality")
    shutil.copy(ROOT / "tests" / "test_phantoms.py", tmp_path / "tests")
    report = inside(tmp_path, *PYTEST, "tests", "-k", "mammography")
    assert re.search(r"\b[1-9]\d* passed", report)
    assert "failed" not in report


def test_a_measure_passes_its_own_tests(tmp_path: Path) -> None:
    follow(tmp_path, "measure")
    assert "5 passed" in inside(tmp_path, *PYTEST, "tests/test_diversity.py")


def test_a_claim_passes_its_own_tests_and_no_audit_asks_for_it(tmp_path: Path) -> None:
    follow(tmp_path, "measure", "claim")
    assert "8 passed" in inside(tmp_path, *PYTEST, "tests/test_c08_diversity.py")
    code = """
import json
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.reporting.audit import AUDITED, UNSUITED
print(json.dumps([list(NOTEBOOKS), sorted({*AUDITED, *UNSUITED})]))
"""
    notebooks, sorted_out = printed_json(tmp_path, code)
    assert notebooks[-1] == "08_diversity"
    assert sorted_out == notebooks


@pytest.mark.timeout(300)
def test_a_claim_runs_and_reaches_the_scorecard(tmp_path: Path) -> None:
    follow(tmp_path, "measure", "claim")
    inside(tmp_path, "-m", "jupytext", "--to", "ipynb", "notebooks/08_diversity.py")
    inside(tmp_path, *CLI, "reproduce", "08", "--profile", "tiny", "--out", "made")
    code = """
import json
from pathlib import Path
from medisyn_lib.claims.scorecard import scorecard
print(json.dumps(scorecard(Path("made/results"))[-1]))
"""
    row = printed_json(tmp_path, code)
    assert row["notebook"] == "08_diversity"
    assert row["verdict"] in VERDICTS
    assert row["controls"] == "2 of 2"
    assert row["interval"] != "none"


@pytest.fixture
def folder_of_classes(tmp_path: Path) -> Path:
    """Give a folder of 60 images of noise in two classes."""
    rng = np.random.default_rng(0)
    for number in range(60):
        folder = tmp_path / "images" / ("Benign", "Not benign")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "images"


def test_a_data_source_is_listed_checked_and_loaded(
    tmp_path: Path, folder_of_classes: Path
) -> None:
    follow(tmp_path, "source")
    source = f"classes:{folder_of_classes}"
    assert "classes:DIR" in inside(tmp_path, *CLI, "data", "list")
    checked = inside(tmp_path, *CLI, "data", "check", source)
    assert "benign" in checked
    assert "not_benign" in checked
    assert " unknown " in checked
    code = f"""
from medisyn_lib.data import sources
print(sources.load({source!r}, 'train', size=16)[0]['image'].size)
"""
    assert inside(tmp_path, "-c", code) == "(16, 16)\n"


def test_a_data_source_does_not_leave_its_folder(tmp_path: Path, folder_of_classes: Path) -> None:
    follow(tmp_path, "source")
    outside = tmp_path / "elsewhere.png"
    shutil.copy(folder_of_classes / "Benign" / "0.png", outside)
    (folder_of_classes / "Benign" / "link.png").symlink_to(outside)
    source = f"classes:{folder_of_classes}"
    code = f"""
from medisyn_lib.cli.main import main
assert main(['data', 'check', {source!r}]) == 2
"""
    inside(tmp_path, "-c", code)


def test_a_sixth_public_set_is_listed_prepared_and_checked(tmp_path: Path) -> None:
    follow(tmp_path, "public_set")
    rng = np.random.default_rng(0)
    for number in range(48):
        split = ("train", "test", "train", "val")[number // 2 % 4]
        name = (f"IM-{number:04d}-0001", f"person{number // 3}_virus_{number}")[number % 2]
        path = tmp_path / "in/chest_xray" / split / ("NORMAL", "PNEUMONIA")[number % 2]
        path.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (20, 30), np.uint8)
        Image.fromarray(pixels).save(path / f"{name}.jpeg")
    assert "kermany-pneumonia" in inside(tmp_path, *CLI, "data", "list")
    told = inside(tmp_path, *CLI, "data", "prepare", "kermany-pneumonia", "in", "--out", "out")
    assert re.search(r"left out: \d+ images of patients whom another split holds, too", told)
    checked = inside(tmp_path, *CLI, "data", "check", "folder:out")
    assert re.search(r"chest_xray .*normal \d+/6/6, pneumonia", checked)
