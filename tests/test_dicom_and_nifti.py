"""DICOM and NIfTI, from the files that pydicom and nibabel bring along to a `folder:` and its check."""

import csv
import gzip
import logging
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from nibabel.testing import data_path
from PIL import Image
from pydicom.data import get_testdata_file

from medisyn_lib.cli import main
from medisyn_lib.data import sources
from medisyn_lib.data.prepare import dicom, intensities, nifti
from medisyn_lib.data.prepare.pictures import Picture
from medisyn_lib.data.prepare.pseudonyms import pseudonym, read_salt
from medisyn_lib.errors import InputError

SALT = b"a secret of twenty-four b"


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "salt").write_bytes(SALT)
    (tmp_path / "in").mkdir()
    return tmp_path


def prepare(kind="dicom", *more, modality="ct", salt="salt", out="out"):
    words = ["data", "prepare", kind, "in", "--out", out, "--salt", salt, "--modality", modality]
    return main.main([*words, *more])


def refused(capsys, words, *arguments, **named):
    """Whether preparing ends with exit code 2, one line with these words, and nothing left behind."""
    before = set(Path().iterdir())
    code, told = prepare(*arguments, **named), capsys.readouterr()
    assert (code, told.out, told.err.count("\n")) == (2, "", 1), told
    assert words in told.err and set(Path().iterdir()) == before, told.err
    return True


def ct(name, patient="P1", study="S1", **tags):
    """A CT slice of made values, from a file of pydicom, at another place."""
    header = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    del header.DataSetTrailingPadding  # pixels are to be what a file ends with
    header.PatientID, header.StudyInstanceUID = patient, f"1.2.{sum(map(ord, study))}"
    header.SOPInstanceUID = f"1.2.3.{sum(map(ord, name))}"
    for tag, value in tags.items():
        setattr(header, tag, value)
    Path("in", name).parent.mkdir(parents=True, exist_ok=True)
    header.save_as(Path("in", name))
    return header


def several():
    """CT slices of ten patients, enough for a folder."""
    for number in range(10):
        ct(f"s/{number}.dcm", patient=f"P{number}")


def copied(*names):
    for name in names:
        shutil.copy(get_testdata_file(name), "in")


def metadata(out="out"):
    with Path(out, "metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def pixels(place, window=None):
    return np.asarray(dicom.decode(Picture(str(place), "x.png", "ct"), window))


def test_ct_is_shown_in_one_window_of_hounsfield_units_rounded_once():
    path = Path(get_testdata_file("CT_small.dcm"))
    header = pydicom.dcmread(path)
    hounsfield = header.pixel_array.astype(float) * 1 - 1024
    expected = np.rint(np.clip((hounsfield + 160) / 400 * 255, 0, 255))
    assert np.array_equal(pixels(path), expected) and len(np.unique(expected)) > 100
    lung = intensities.parse_window("lung")
    assert np.array_equal(
        pixels(path, lung), np.rint(np.clip((hounsfield + 1350) / 1500 * 255, 0, 255))
    )
    assert intensities.parse_window("50, 10") == (50, 10)
    with pytest.raises(InputError, match="--window '40' is unknown"):
        intensities.parse_window("40")
    with pytest.raises(InputError, match="CENTRE,WIDTH"):
        intensities.parse_window("40,0")


def test_mr_goes_from_the_1st_to_the_99th_percentile():
    path = get_testdata_file("MR_small.dcm")
    stored = pydicom.dcmread(path).pixel_array.astype(float)
    low, high = np.percentile(stored, (1, 99))
    expected = np.rint(np.clip((stored - low) / (high - low) * 255, 0, 255))
    assert np.array_equal(pixels(path), expected)
    # The same values in other encodings give the same image.
    for name in ("MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"):
        assert np.array_equal(pixels(get_testdata_file(name)), expected), name


def test_inverted_greys_are_turned_and_padding_is_black():
    header = ct("a.dcm")
    before = pixels("in/a.dcm")
    ct("b.dcm", PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(pixels("in/b.dcm"), 255 - before)
    padded = header.pixel_array.copy()
    padded[:10] = -2000  # the padding value that the file states
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        ct("c.dcm", PixelData=padded.tobytes(), PhotometricInterpretation=photometric)
        assert not pixels("in/c.dcm")[:10].any() and pixels("in/c.dcm")[10:].any()


def test_colour_palettes_and_deep_colour_become_rgb_in_8_bits():
    colour = pixels(get_testdata_file("ExplVR_BigEnd.dcm"))
    assert np.array_equal(
        colour, pydicom.dcmread(get_testdata_file("ExplVR_BigEnd.dcm")).pixel_array
    )
    assert pixels(get_testdata_file("examples_palette.dcm")).shape == (350, 800, 3)
    deep = pydicom.dcmread(get_testdata_file("SC_rgb_rle_16bit.dcm")).pixel_array
    assert np.array_equal(
        pixels(get_testdata_file("SC_rgb_rle_16bit.dcm")), np.rint(deep / 65535 * 255)
    )


def test_pixels_that_are_not_square_are_made_so():
    plane = np.linspace(0, 1, 200).reshape(10, 20)
    assert intensities.square_pixels(plane, 2.0, 1.0).shape == (20, 20)
    assert intensities.square_pixels(plane, 1.0, 3.0).shape == (10, 60)
    assert intensities.square_pixels(plane, 0.0, 1.0) is plane
    ct("a.dcm", PixelSpacing=[0.5, 1.0])
    assert pixels("in/a.dcm").shape == (128, 256)


def test_ids_are_hashed_and_nothing_of_a_header_is_kept(own_place, capsys):
    for number in range(6):
        ct(
            f"s/{number}.dcm",
            patient=f"Meier-{number // 2}",
            study=f"st{number // 2}",
            PatientName="Meier^Anna",
            InstitutionName="Charite",
            BurnedInAnnotation="YES" if number == 1 else "NO",
        )
    Path("in/readme.txt").write_text("no image")
    assert prepare() == 0
    told = capsys.readouterr().out
    assert "6 images" in told and "left out: 1 files that are not DICOM" in told
    assert "burnt-in annotation: 1 images say yes, 5 no, 0 nothing" in told
    assert "in 6 of 6 files; none is kept" in told
    lines = metadata()
    names = [line["patient_id"] for line in lines]
    assert sorted(names.count(name) for name in {*names}) == [2, 2, 2]
    assert pseudonym(SALT, "patient", "Meier-0") in names
    assert pseudonym(b"another secret of mine", "patient", "Meier-0") not in names
    assert {line["identity_known"] for line in lines} == {"1"}
    assert len({line["study_id"] for line in lines}) == 3
    for path in (path for path in Path("out").rglob("*") if path.is_file()):
        content = path.read_bytes()
        for secret in (b"Meier", b"Anna", b"Charite", b"1.2.3", SALT, b"in/s"):
            assert secret not in content, (path, secret)
    with Image.open(next(Path("out/images").iterdir())) as image:
        assert image.info == {} and image.mode == "L" and image.size == (128, 128)


def marked(place):
    """A CT slice whose private tags, comments and unknown fields all name a person."""
    header = ct(place, patient=f"Meier-{place}", PatientComments="Meier", OtherPatientIDs="Meier-7")
    block = header.private_block(0x0013, "MEIER WARE", create=True)
    block.add_new(0x01, "LO", "Meier private")
    block.add_new(0x02, "UN", b"Meier unknown ")
    header.save_as(Path("in", place))


def test_private_tags_reach_neither_images_nor_tables_nor_the_check(capsys):
    for number in range(6):
        marked(f"{number}.dcm")
        assert Path(f"in/{number}.dcm").read_bytes().count(b"Meier") >= 5
    assert prepare() == 0 and main.main(["data", "check", "folder:out"]) == 0
    told = capsys.readouterr()
    sources.load("folder:out", "train", size=16)
    kept = [p for place in ("out", "store") for p in Path(place).rglob("*") if p.is_file()]
    assert "in 6 of 6 files; none is kept" in told.out and len(kept) > 8
    assert not any(word in told.out + told.err for word in ("Meier", "MEIER"))
    assert not any(word in p.read_bytes() for p in kept for word in (b"Meier", b"MEIER"))


@pytest.mark.parametrize("cut", [300, 1500, 3000, -100])
def test_a_refusal_quotes_nothing_of_a_header(capsys, cut):
    marked("a.dcm")
    path = Path("in/a.dcm")
    path.write_bytes(path.read_bytes()[:cut])
    assert prepare() == 2
    told = capsys.readouterr()
    assert "a.dcm" in told.err and "Meier" not in told.err + told.out


def test_ids_that_were_all_made_one_are_said_to_be_one_patient(capsys):
    """As a tool leaves them that writes ANONYMOUS into every header."""
    for number in range(6):
        ct(f"{number}.dcm", patient="ANONYMOUS")
    assert prepare() == 0
    assert "6 images (6/0/0 train/val/test) of 1 patients" in capsys.readouterr().out


def test_fields_of_a_nifti_header_are_not_kept():
    for number in range(4):
        volume(f"sub-{number}/a.nii")
        image = nibabel.load(f"in/sub-{number}/a.nii")
        for field in ("descrip", "aux_file", "intent_name", "db_name"):
            image.header[field] = b"Mueller"
        comment = nibabel.nifti1.Nifti1Extension("comment", b"Mueller")
        image.header.extensions.append(comment)
        nibabel.save(nibabel.Nifti1Image(image.get_fdata(), None, image.header), "in/x.nii")
        Path("in/x.nii").replace(f"in/sub-{number}/a.nii")
        assert Path(f"in/sub-{number}/a.nii").read_bytes().count(b"Mueller") == 5
    assert prepare("nifti", modality="brain_mri") == 0
    written = [path for path in Path("out").rglob("*") if path.is_file()]
    assert len(written) == 22 and not any(b"Mueller" in path.read_bytes() for path in written)


def test_the_same_secret_gives_the_same_folder_and_another_other_names():
    several()
    Path("other").write_bytes(b"quite another secret")
    assert [prepare(out="a"), prepare(out="b"), prepare(out="c", salt="other")] == [0, 0, 0]
    listing = {
        out: sorted((p.name, p.read_bytes()) for p in Path(out).rglob("*.*")) for out in "abc"
    }
    assert listing["a"] == listing["b"]
    assert not {n for n, _ in listing["a"]} & {n for n, _ in listing["c"] if n.endswith("png")}


def test_a_prepared_folder_is_checked_and_loaded(capsys):
    table = ["file_name,finding,sex,split"]
    for number in range(8):
        ct(f"{number}.dcm", patient=f"P{number}")
        split = "test" if number > 5 else "train"
        table.append(f"{number}.dcm,{'liver_lesion' if number % 2 else 'normal'},female,{split}")
    ct("unlisted.dcm")
    Path("labels.csv").write_text("\n".join(table))
    assert prepare("dicom", "--labels", "labels.csv") == 0
    assert "left out: 1 files that the table does not list" in capsys.readouterr().out
    assert main.main(["data", "check", "folder:out"]) == 0
    assert "liver_lesion 3/0/1, normal 3/0/1" in capsys.readouterr().out
    train = sources.load("folder:out", "train", size=64)
    assert len(train) == 6 and all(train["identity_known"])
    assert any("liver lesion" in text for text in train["caption"])
    assert {line["sex"] for line in metadata()} == {"female"}


def test_counts_and_grades_of_the_users_table_are_numbers_in_captions(capsys):
    table = ["file_name,finding,count,grade,split"]
    for number in range(4):
        ct(f"{number}.dcm", patient=f"P{number}")
        table.append(f"{number}.dcm,lung_nodule,{number}.0,2,train")
    Path("labels.csv").write_text("\n".join(table))
    assert prepare("dicom", "--labels", "labels.csv") == 0, capsys.readouterr().err
    rows = sources.rows("folder:out")
    assert sorted(row["count"] for row in rows) == [0, 1, 2, 3]
    assert {row["grade"] for row in rows} == {2}


def test_a_kind_of_image_that_a_header_does_not_state_is_named(capsys):
    ct("a.dcm")
    ct("b.dcm", Modality="")
    assert refused(capsys, "in holds CT and images of no stated Modality: give each kind")


def test_images_without_a_patient_are_grouped_by_study_identity_unknown(capsys):
    for number in range(6):
        ct(f"{number}.dcm", patient="", study=f"st{number // 3}")
    assert prepare() == 0
    assert "6 images name no patient" in capsys.readouterr().out
    assert {line["identity_known"] for line in metadata()} == {"0"}
    assert len({line["patient_id"] for line in metadata()}) == 2
    assert not any(row["identity_known"] for row in sources.rows("folder:out"))


def test_objects_without_an_image_localizers_and_second_files_are_left_out(capsys):
    for number in range(4):
        ct(f"{number}.dcm", patient=f"P{number}")
    shutil.copy("in/1.dcm", "in/copy of 1.dcm")
    ct("scout.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    copied("test-SR.dcm", "rtplan.dcm")
    assert prepare() == 0
    told = capsys.readouterr().out
    assert "4 images" in told and "left out: 1 localizers" in told
    assert "left out: 2 DICOM objects without an image" in told
    assert "left out: 1 further files of an image that is there already" in told


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MR_truncated.dcm", "MR_truncated.dcm is cut short by"),
        ("SC_rgb_rle_2frame.dcm", "is a multi-frame object of 2 frames"),
        ("examples_ybr_color.dcm", "is a multi-frame object of 30 frames"),
        (
            "JPGExtended.dcm",
            "JPGExtended.dcm cannot be read (RuntimeError): export it again, uncompressed",
        ),
        ("MR_small.dcm", "holds CT and MR: give each kind of image a folder of its own"),
    ],
)
def test_files_that_cannot_become_images_are_refused(capsys, name, words):
    if name != "JPGExtended.dcm":
        ct("a.dcm")
    copied(name)
    if name == "JPGExtended.dcm":
        copied("JPEG2000.dcm")
    assert refused(capsys, words)


def test_damaged_files_are_refused_wherever_they_end(capsys):
    several()
    whole = Path("in/s/0.dcm").read_bytes()
    for length in (0, 100, 140, 400, 2000, len(whole) // 2, len(whole) - 1):
        Path("in/cut.dcm").write_bytes(whole[:length])
        assert refused(capsys, "cut.dcm")
    Path("in/cut.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 64)
    assert refused(capsys, "cut.dcm")


def test_ct_without_rescale_and_flat_images_are_refused(capsys):
    header = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    del header.RescaleIntercept
    header.save_as("in/a.dcm")
    with pytest.raises(InputError, match="choose --window CENTRE,WIDTH"):
        pixels("in/a.dcm")
    assert pixels("in/a.dcm", intensities.Window(1000, 2000)).any()
    ct("a.dcm", RescaleSlope=0)
    with pytest.raises(InputError, match=r"a\.dcm has no contrast"):
        pixels("in/a.dcm")
    flat = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    flat.PixelData = np.ones((64, 64), np.int16).tobytes()
    flat.save_as("in/b.dcm")
    with pytest.raises(InputError, match=r"b\.dcm has no contrast"):
        pixels("in/b.dcm")


@pytest.mark.parametrize(
    ("named", "more", "words"),
    [
        ({"salt": "none"}, (), "--salt"),
        ({"salt": "short"}, (), "holds 5 bytes, at least 16"),
        ({"modality": ""}, (), "--modality is missing"),
        ({"modality": "=ct"}, (), "formula"),
        ({"out": "in/out"}, (), "is inside the folder that is read"),
        ({"out": "full"}, (), "is there already"),
        ({"out": "/proc/x"}, (), "'/proc/x'"),
        ({}, ("--window", "dark"), "--window 'dark' is unknown"),
        ({}, ("--slices", "0"), "--slices is 0"),
        ({}, ("--labels", "none.csv"), "none.csv cannot be read"),
        ({}, ("--labels", "bad.csv"), "there is no file 'b.dcm'"),
        ({}, ("--labels", "wide.csv"), "wide.csv, line 2: 3 columns where the header has 2"),
        ({}, ("--labels", "count.csv"), "a.dcm: count is 'many': write a whole number"),
        ({}, ("--labels", "marks.csv"), "no column 'file_name' but ['file_name;count']"),
        ({}, ("--labels", "split.csv"), "'holdout' is unknown: write train, val, test into the"),
    ],
)
def test_bad_options_are_refused_before_any_work(capsys, monkeypatch, named, more, words):
    ct("a.dcm")
    ct("b/c.dcm")
    Path("short").write_text("short")
    Path("full").mkdir()
    Path("full/x").write_text("x")
    Path("bad.csv").write_text("file_name,finding\nb.dcm,x")
    Path("count.csv").write_text("file_name,finding,count\na.dcm,nodule,many")
    Path("marks.csv").write_text("file_name;count\na.dcm;1")
    Path("split.csv").write_text("file_name,split\na.dcm,Training\nb/c.dcm,holdout")
    Path("wide.csv").write_text("file_name,text\na.dcm,one, two")
    monkeypatch.setattr(dicom, "decode", None)  # no pixel is read before the refusal
    assert refused(capsys, words, "dicom", *more, **named)


def test_without_a_salt_or_a_known_name_nothing_is_read(capsys):
    assert main.main(["data", "prepare", "dicom", "in", "--out", "o", "--modality", "ct"]) == 2
    assert "--salt is missing" in capsys.readouterr().err
    assert main.main(["data", "prepare", "dicom", "gone", "--out", "o", "--salt", "salt"]) == 2
    assert "is no folder" in capsys.readouterr().err
    assert main.main(["data", "prepare", "tomes", "in", "--out", "o"]) == 2
    assert "'tomes' is unknown: choose one of" in capsys.readouterr().err
    assert prepare() == 2
    assert "holds no single-frame DICOM image" in capsys.readouterr().err
    assert read_salt(Path("salt")) == SALT


def volume(name, values=None, affine=None, dtype=np.int16):
    """A made volume whose values tell where right, front and top are."""
    if values is None:
        x, y, z = np.meshgrid(np.arange(20), np.arange(24), np.arange(16), indexing="ij")
        values = x + 30 * y + 1000 * z
    Path("in", name).parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.asarray(values, dtype), np.eye(4) if affine is None else affine)
    nibabel.save(image, Path("in", name))


def slice_of(path, number, window=None):
    picture = Picture(str(path), "x.png", "brain_mri", slice_number=number)
    return np.asarray(nifti.decode(picture, window))


def test_a_slice_has_front_on_top_and_the_patients_right_on_the_left():
    volume("a.nii")
    shown = slice_of("in/a.nii", 8, intensities.Window(8000 + 350, 800)).astype(int)
    assert shown.shape == (24, 20)
    assert shown[0].mean() > shown[-1].mean()  # y grows to the front
    assert (np.diff(shown[5]) <= 0).all() and shown[5, 0] > shown[5, -1]  # x grows to the right


def test_slices_do_not_depend_on_how_a_volume_is_stored():
    volume("a.nii")
    image = nibabel.load("in/a.nii")
    turned = nibabel.as_closest_canonical(image).as_reoriented([[1, -1], [2, 1], [0, -1]])
    nibabel.save(turned, "in/b.nii.gz")
    assert turned.shape != image.shape
    assert np.array_equal(slice_of("in/a.nii", 5), slice_of("in/b.nii.gz", 5))


def test_slices_lie_in_the_middle_half_at_equal_distances():
    assert nifti.slice_numbers(100, 5) == [30, 40, 50, 60, 70]
    assert nifti.slice_numbers(1, 5) == [0] and nifti.slice_numbers(4, 1) == [2]
    assert nifti.slice_numbers(6, 50) == [1, 2, 3, 4]


def test_a_volume_has_the_same_limits_in_all_its_slices():
    volume("a.nii")
    values = nibabel.load("in/a.nii").get_fdata()
    low, high = np.percentile(values, (1, 99))
    expected = np.rint(np.clip((values[::-1, ::-1, 4].T - low) / (high - low) * 255, 0, 255))
    assert np.array_equal(slice_of("in/a.nii", 4), expected)
    volume("b.nii", affine=np.diag([1.0, 2.0, 5.0, 1.0]))
    assert slice_of("in/b.nii", 4).shape == (48, 20)


def test_nifti_files_of_nibabel_become_a_folder(capsys):
    for subject in ("01", "02"):
        Path(f"in/sub-{subject}").mkdir()
        for name in ("anatomical.nii", "reoriented_anat_moved.nii"):
            shutil.copy(Path(data_path) / name, f"in/sub-{subject}/{name}")
    shutil.copy(Path(data_path) / "anatomical.nii", "in/Mueller.nii")
    assert prepare("nifti", "--slices", "3", modality="brain_mri") == 0
    told = capsys.readouterr().out
    assert "15 images" in told and "3 slices name no patient" in told
    lines = metadata()
    assert len({line["patient_id"] for line in lines}) == 3
    assert pseudonym(SALT, "patient", "01") in {line["patient_id"] for line in lines}
    assert sorted(line["identity_known"] for line in lines) == ["0"] * 3 + ["1"] * 12
    assert {line["text"] for line in lines} <= {"brain MRI", "axial T1-weighted MRI of the brain"}
    assert all(b"Mueller" not in p.read_bytes() for p in Path("out").rglob("*.*"))
    assert main.main(["data", "check", "folder:out"]) == 0


def test_volumes_that_are_not_three_dimensional_numbers_are_refused(capsys):
    volume("sub-2.nii")
    shutil.copy(Path(data_path) / "example4d.nii.gz", "in")
    assert refused(capsys, "example4d.nii.gz has 4 dimensions (128 x 96 x 24 x 2)", "nifti")
    Path("in/example4d.nii.gz").unlink()
    volume("a.nii", np.ones((4, 4, 4)), dtype=np.complex64)
    assert refused(capsys, "a.nii has voxels of type complex64", "nifti")
    volume("a.nii", np.ones((4, 4, 4)))
    assert refused(capsys, "a.nii has no contrast", "nifti")
    volume("a.nii", np.arange(64).reshape(4, 4, 4, 1))  # a single volume all the same
    assert prepare("nifti") == 0


def test_a_volume_without_axes_is_refused_and_its_decoder_logs_nothing(capsys, caplog):
    for number in range(2):
        volume(f"sub-{number}.nii")
    header = bytearray(Path("in/sub-1.nii").read_bytes())
    header[76:108], header[280:328] = bytes(32), bytes(48)  # sizes of voxels, and axes
    Path("in/sub-1.nii").write_bytes(header)
    assert refused(capsys, "sub-1.nii cannot be read (OrientationError): copy it again", "nifti")
    assert caplog.records == []
    logging.getLogger("nibabel").warning("the log is as it was")
    assert len(caplog.records) == 1


def test_volumes_that_are_cut_short_are_refused(capsys):
    volume("sub-2.nii")
    whole = Path("in/sub-2.nii").read_bytes()
    packed = gzip.compress(whole)
    for length in (0, 100, 352, len(whole) - 1):
        Path("in/cut.nii").write_bytes(whole[:length])
        assert refused(capsys, "cut.nii cannot be read", "nifti")
    Path("in/cut.nii").unlink()
    for length in (0, 20, len(packed) // 2, len(packed) - 20):
        Path("in/cut.nii.gz").write_bytes(packed[:length])
        assert refused(capsys, "cut.nii.gz cannot be read", "nifti")


def test_an_error_halfway_leaves_nothing(capsys, monkeypatch):
    several()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert refused(capsys, "cannot be written (No space left on device)")
