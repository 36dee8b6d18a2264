"""The examples of additions work: their files, put into a copy of the project, do what the page says."""

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
EXAMPLES = ROOT / "docs" / "examples"


def follow(copy: Path, *names: str) -> None:
    """A copy of the library, the tests and the notebooks' folder to which these examples were added."""
    shutil.copytree(
        ROOT / "medisyn_lib", copy / "medisyn_lib", ignore=shutil.ignore_patterns("__pycache__")
    )
    (copy / "notebooks").mkdir()
    (copy / "tests").mkdir()
    for name in names:
        for file in files_of(name):
            add_file(copy, file.relative_to(EXAMPLES / name), file.read_text("utf-8"))


def files_of(name: str) -> list[Path]:
    """The files of one example."""
    found = [path for path in sorted((EXAMPLES / name).rglob("*")) if path.is_file()]
    assert found, name
    return [path for path in found if "__pycache__" not in path.parts]


def add_file(copy: Path, path: Path, content: str) -> None:
    """A new file, or lines appended to the one that a `.add` file is named after."""
    if path.suffix == ".add":
        target = copy / path.with_suffix("")
        target.write_text(target.read_text("utf-8") + "\n" + content)
    else:
        assert not (copy / path).exists(), path
        (copy / path).write_text(content)


def inside(copy: Path, *command: str) -> str:
    """What a command of this interpreter prints in the copy, with the copy's library and a store of its own."""
    own = {"PYTHONPATH": str(copy), "MEDISYN_ROOT": str(copy), "MEDISYN_STORE": str(copy / "store")}
    environment = os.environ | own | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_every_example_is_described_and_tried() -> None:
    page = (EXAMPLES / "README.md").read_text("utf-8")
    described = re.findall(r"^## `(\w+)/`", page, flags=re.MULTILINE)
    assert described == ["modality", "measure", "claim", "source"]
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == set(described)
    source = Path(__file__).read_text("utf-8")
    assert all(re.search(rf"follow\(.*\"{name}\"", source) for name in described)


def test_an_eleventh_modality_is_one_new_file_and_one_table_row(tmp_path: Path) -> None:
    paths = [str(path.relative_to(EXAMPLES / "modality")) for path in files_of("modality")]
    assert paths == ["medisyn_lib/modalities.toml.add", "medisyn_lib/phantoms/mammography.py"]
    follow(tmp_path, "modality")
    code = """
import json
from medisyn_lib.cli.main import main
from medisyn_lib.data import check, sources
from medisyn_lib.modalities import MODALITIES
check.PHANTOMS_CHECKED = 20
images = sources.load("phantom", role="test", per_modality=12)
own = images.filter(lambda row: row["modality"] == "mammography", load_from_cache_file=False)
told = {"modalities": list(MODALITIES), "loaded": sorted(set(images["modality"])), "captions": own["caption"][:],
        "findings": sorted(set(own["finding"])), "specialty": own["specialty"][0],
        "testable": check.testable("phantom")}
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
    follow(tmp_path, "modality")
    shutil.copy(ROOT / "tests" / "test_phantoms.py", tmp_path / "tests")
    said = inside(
        tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", "-k", "mammography"
    )
    assert re.search(r"\b[1-9]\d* passed", said) and "failed" not in said


def test_a_measure_passes_its_own_tests(tmp_path: Path) -> None:
    follow(tmp_path, "measure")
    said = inside(
        tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_diversity.py"
    )
    assert "2 passed" in said


@pytest.mark.timeout(300)
def test_a_claim_runs_and_reaches_the_scorecard(tmp_path: Path) -> None:
    follow(tmp_path, "measure", "claim")
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
    follow(tmp_path, "source")
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
