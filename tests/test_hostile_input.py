"""Whatever bytes or words come in: one line that says so, or a right answer. What a file says of a person stays in."""

import json
from pathlib import Path
from types import ModuleType

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from made_claims import a_claim
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.data import get_testdata_file

from medisyn_lib.claims.claim import measure
from medisyn_lib.claims.results import read_result, write_result
from medisyn_lib.claims.rules import rule
from medisyn_lib.cli import main
from medisyn_lib.data import sources
from medisyn_lib.data.prepare import dicom, nifti
from medisyn_lib.data.prepare.imaging import Choices
from medisyn_lib.errors import InputError
from medisyn_lib.statistics.estimates import Estimate

SECRET = "Jane-Doe-1970"  # noqa: S105
calm = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused_in_one_line(call, *arguments) -> bool:
    """Whether InputError was raised; any other error fails the test that calls this."""
    try:
        call(*arguments)
    except InputError as error:
        assert str(error) and "\n" not in str(error)
        return True
    return False


def npz(path: Path) -> bytes:
    arrays = {}
    for split, many in {"train": 6, "val": 2, "test": 2}.items():
        arrays[f"{split}_images"] = np.arange(many * 16 * 16 * 3, dtype=np.uint8).reshape(
            many, 16, 16, 3
        )
        arrays[f"{split}_labels"] = np.arange(many)[:, None] % 2
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays, class_names=np.array(["healthy", "ill"]))
    return path.read_bytes()


@calm
@given(
    cut=st.integers(0, 10_000),
    places=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=3),
)
def test_a_damaged_npz_file_is_refused_or_read_as_it_was(own_place: Path, cut, places):
    path = own_place / "panel" / "fundus.npz"
    whole = npz(path)
    sources.preflight(f"npz:{path.parent}")
    damaged = bytearray(whole[: max(len(whole) - cut, 0)] if cut % 3 == 0 else whole)
    for place, mask in places:
        if damaged:
            damaged[place % len(damaged)] ^= mask
    path.write_bytes(bytes(damaged))
    refused_in_one_line(sources.preflight, f"npz:{path.parent}")


@calm
@given(
    content=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)),
    suffix=st.sampled_from(["csv", "jsonl"]),
)
def test_any_metadata_is_refused_in_one_line(own_place: Path, content, suffix):
    folder = own_place / "folder"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("metadata.*"):
        old.unlink()
    (folder / f"metadata.{suffix}").write_bytes(content)
    assert refused_in_one_line(sources.preflight, f"folder:{folder}")


@calm
@example(words="~nobody-of-this-name")
@given(words=st.text(max_size=60))
def test_any_words_for_a_source_are_refused_in_one_line(words):
    for source in (
        words,
        f"npz:{words}/none",
        f"folder:{words}/none",
        f"medmnist:{words}",
        f"hub:{words}//",
    ):
        if source != "phantom":
            assert refused_in_one_line(sources.preflight, source) or source.startswith("medmnist:")


@calm
@given(
    words=st.lists(st.text(max_size=20), max_size=4),
    verb=st.sampled_from(["data", "diff", "generate", "figures"]),
)
def test_any_words_on_the_command_line_end_in_one_line(
    capsys: pytest.CaptureFixture[str], words, verb
):
    if {"-h", "--help"} & {*words}:
        return
    before = set(Path().rglob("*"))
    code, told = main.main([verb, "nothing", *words]), capsys.readouterr()
    assert (
        code == 2 and told.out == "" and told.err.count("\n") == 1 and told.err[:-1].isprintable()
    )
    assert set(Path().rglob("*")) == before


def small_result(path: Path) -> dict:
    measures = [measure("recovered", Estimate(0.5, 0.4, 0.6, 9), unit="share")]
    write_result(path, {}, [a_claim(measures=measures, rule=rule("graders-vary"))])
    return json.loads(path.read_text())


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@calm
@given(
    value=json_values,
    where=st.sampled_from(["verdict", "claims", "measures", "controls", "value", "rule", "whole"]),
)
def test_a_result_file_with_anything_in_a_place_is_refused_or_whole(own_place: Path, value, where):
    path = own_place / "01_training.json"
    content = small_result(path)
    claim = content["claims"][0]
    home = {"claims": content, "value": claim["measures"][0]}.get(where, claim)
    home[where] = value
    path.write_text(json.dumps(value if where == "whole" else content))
    if not refused_in_one_line(read_result, path):
        assert read_result(path).claims == () or where in (
            "rule",
            "value",
            "verdict",
            "controls",
            "measures",
        )


def test_a_results_verdict_cannot_be_turned(own_place: Path):
    """A rule with another wording, an interval that excludes its value, a failed control beside a verdict."""
    path = own_place / "01_training.json"
    for place, value in {
        ("rule",): "another rule",
        ("measures", 0, "ci_low"): 0.55,
        ("controls", 0, "passed"): False,
        ("verdict",): "splendid",
    }.items():
        content = small_result(path)
        home = content["claims"][0]
        for step in place[:-1]:
            home = home[step]
        home[place[-1]] = value if not isinstance(value, tuple) else value[0]
        path.write_text(json.dumps(content))
        assert refused_in_one_line(read_result, path), place


def test_metadata_of_an_image_goes_nowhere(own_place: Path):
    """EXIF, PNG text and JPEG comments of a folder's images are not in what the store keeps of them."""
    folder = own_place / "folder"
    folder.mkdir()
    lines = ["file_name,text,split"]
    for number in range(6):
        image = Image.fromarray(np.full((20, 20, 3), 40 * number, np.uint8))
        exif, text = Image.Exif(), PngInfo()
        exif[0x013B], exif[0x8298] = SECRET, SECRET  # artist, copyright
        text.add_text("PatientName", SECRET)
        name = f"{number}.{'png' if number % 2 else 'jpg'}"
        how = {"pnginfo": text} if number % 2 else {"comment": SECRET.encode()}
        image.save(folder / name, exif=exif, **how)
        assert SECRET.encode() in (folder / name).read_bytes()
        lines.append(f"{name},picture,train")
    (folder / "metadata.csv").write_text("\n".join(lines))
    images = sources.load(f"folder:{folder}", "train", size=16)
    assert len(images) == 6 and not any(row["image"].info for row in images)
    kept = [path for path in (own_place / "store").rglob("*") if path.is_file()]
    assert kept and [path for path in kept if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.dcm", b"\0" * 128 + b"DICM" + b"\0" * 64),
        ("a.nii", b"\x5c\x01\0\0" + b"\0" * 348),
        ("a.png", b"\0" * 128 + b"DICM"),
    ],
)
def test_dicom_and_nifti_are_refused_with_a_way_out(own_place: Path, name, content):
    folder = own_place / "folder"
    folder.mkdir()
    (folder / name).write_bytes(content)
    (folder / "metadata.csv").write_text(f"file_name,text,split\n{name},a,train\n{name}2,a,train\n")
    (folder / f"{name}2").write_bytes(content)
    with pytest.raises(InputError, match=r"DICOM and NIfTI are not read here: .*data prepare"):
        sources.preflight(f"folder:{folder}")


def damaged(whole: bytes, cut: int, places: list[tuple[int, int]]) -> bytes:
    """Bytes of a file that was cut short (at times) and altered at some places."""
    content = bytearray(whole[: max(len(whole) - cut, 0)] if cut % 3 == 0 else whole)
    for place, mask in places:
        if content:
            content[place % len(content)] ^= mask
    return bytes(content)


CHOICES = Choices(salt=b"sixteen letters!", modality="ct", slices=2)
damages = {
    "cut": st.integers(0, 10_000),
    "places": st.lists(st.tuples(st.integers(0, 2_500), st.integers(1, 255)), max_size=4),
}


def read_all(reader: ModuleType, folder: Path) -> None:
    for picture in reader.contents(folder, CHOICES).pictures:
        assert reader.decode(picture).mode in ("L", "RGB")


@calm
@given(**damages)
def test_a_damaged_dicom_file_is_refused_in_one_line_or_read(own_place: Path, cut, places):
    folder = own_place / "dicom"
    folder.mkdir(exist_ok=True)
    whole = Path(str(get_testdata_file("MR_small.dcm"))).read_bytes()
    (folder / "a.dcm").write_bytes(whole)
    read_all(dicom, folder)
    (folder / "a.dcm").write_bytes(damaged(whole, cut, places))
    refused_in_one_line(read_all, dicom, folder)


@calm
@given(**damages)
def test_a_damaged_nifti_file_is_refused_in_one_line_or_read(own_place: Path, cut, places):
    folder = own_place / "nifti"
    folder.mkdir(exist_ok=True)
    path = folder / "a.nii"
    nibabel.save(nibabel.Nifti1Image(np.arange(960, dtype=np.int16).reshape(10, 12, 8), None), path)
    whole = path.read_bytes()
    read_all(nifti, folder)
    path.write_bytes(damaged(whole, cut, places))
    refused_in_one_line(read_all, nifti, folder)
