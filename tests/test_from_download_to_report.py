"""From a download, DICOM or NIfTI to the report of an audit: `data prepare`, `data check`, `audit`, in miniature."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from nibabel.testing import data_path
from pydicom.data import get_testdata_file
from test_foreign_generators import stable_diffusion
from test_public_sets import MINIATURES

from medisyn_lib.claims.results import read_result
from medisyn_lib.cli import main
from medisyn_lib.data.prepare.catalogue import PUBLIC_SETS
from medisyn_lib.runtime.device import seeded

whole_run = pytest.mark.runs
KEPT_SHORT = "busi"  # of the five, what every run of the tests goes through


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    return tmp_path


def pipeline() -> str:
    """Stable Diffusion in miniature, with random weights: what it generates shows nothing."""
    with seeded(0):
        stable_diffusion().save_pretrained("generator")
    Path("generator/sampling.json").write_text(json.dumps({"num_inference_steps": 1}))
    return str(Path("generator").resolve())


def copies() -> str:
    """A folder of finished images: those of train, once more."""
    Path("copies").mkdir()
    lines = ["file_name,text"]
    for number, line in enumerate(one for one in metadata() if one["split"] == "train"):
        shutil.copy(Path("out", line["file_name"]), f"copies/{number}.jpg")
        lines.append(f"{number}.jpg,dermoscopy")
    Path("copies/metadata.csv").write_text("\n".join(lines))
    return str(Path("copies").resolve())


def audited(generator: str, claim: str) -> str:
    """The report's page of an audit on the folder that was prepared."""
    assert main.main(["data", "check", "folder:out"]) == 0
    command = ["audit", "--generator", generator, "--data", f"folder:{Path('out').resolve()}"]
    command += ["--profile", "tiny", "--jobs", "1", "--claims", claim]
    assert main.main([*command, "--out", str(Path("audit").resolve())]) in (1, 3)
    return Path("audit/report.html").read_text("utf-8")


def metadata() -> list[dict[str, str]]:
    with Path("out/metadata.csv").open(newline="") as file:
        return [*csv.DictReader(file)]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == KEPT_SHORT else whole_run) for name in MINIATURES],
)
def test_a_public_set_goes_from_its_download_to_a_report(name: str) -> None:
    MINIATURES[name]()
    assert main.main(["data", "prepare", name, "in", "--out", "out"]) == 0
    page = audited(pipeline(), "training")
    assert "Audit of generator" in page and "folder:out" in page
    (claim,) = read_result(Path("audit/results/01_training.json")).claims
    modality = PUBLIC_SETS[name].modality
    named = {measure.name for measure in claim.measures}
    assert any(modality in measure for measure in named), named
    assert json.loads(Path("audit/subgroups/01_training.json").read_text())["rows"] == []


@whole_run
@pytest.mark.timeout(1800)
def test_subgroups_of_a_prepared_set_reach_the_report() -> None:
    """HAM10000 states sex: of copies of its train images those are counted that match women, and men."""
    MINIATURES["ham10000"]()
    table = Path("in/HAM10000_metadata.csv")
    lines = [line.replace(",unknown,", ",female,") for line in table.read_text().splitlines()]
    table.write_text("\n".join(lines))
    assert main.main(["data", "prepare", "ham10000", "in", "--out", "out"]) == 0
    page = audited(copies(), "memorization")
    assert "By subgroup: flagged" in page and "no verdict on them" in page
    rows = json.loads(Path("audit/subgroups/05_memorization.json").read_text())["rows"]
    stated = {(row["column"], row["group"]): row["n"] for row in rows}
    train = [line["sex"] for line in metadata() if line["split"] == "train"]
    assert stated == {("sex", sex): train.count(sex) for sex in ("male", "female")}


@whole_run
@pytest.mark.timeout(1800)
def test_dicom_goes_to_a_report() -> None:
    """CT of pydicom's own file, of 120 made patients."""
    header = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    pixels, lines = header.pixel_array.copy(), ["file_name,finding"]
    for number in range(120):
        header.PatientID, header.StudyInstanceUID = f"P{number}", f"1.2.{number}"
        header.SOPInstanceUID = f"1.2.3.{number}"
        header.PixelData = np.roll(pixels, number, axis=number % 2).tobytes()
        header.save_as(f"in/{number}.dcm")
        lines.append(f"{number}.dcm,{'liver_lesion' if number % 2 else 'normal'}")
    Path("labels.csv").write_text("\n".join(lines))
    prepare_files("dicom", "ct", "--labels", "labels.csv")
    assert {line["finding"] for line in metadata()} == {"normal", "liver_lesion"}
    assert "folder:out" in audited(pipeline(), "training")


@whole_run
@pytest.mark.timeout(1800)
def test_nifti_goes_to_a_report() -> None:
    """Slices of a volume of nibabel's own, of 60 made patients."""
    volume = nibabel.load(Path(data_path) / "anatomical.nii")
    values, lines = np.asarray(volume.dataobj), ["file_name,finding"]
    for number in range(60):
        Path(f"in/sub-{number}").mkdir()
        moved = np.roll(values, (number % 30, number), axis=(0, 1))
        nibabel.save(type(volume)(moved, volume.affine), f"in/sub-{number}/T1w.nii")
        lines.append(f"sub-{number}/T1w.nii,{'tumour' if number % 2 else 'normal'}")
    Path("labels.csv").write_text("\n".join(lines))
    prepare_files("nifti", "brain_mri", "--slices", "2", "--labels", "labels.csv")
    assert {line["finding"] for line in metadata()} == {"normal", "tumour"}
    assert "folder:out" in audited(pipeline(), "training")


def prepare_files(kind: str, modality: str, *more: str) -> None:
    Path("salt").write_bytes(b"a secret of twenty-four b")
    command = ["data", "prepare", kind, "in", "--out", "out", "--salt", "salt"]
    assert main.main([*command, "--modality", modality, *more]) == 0
