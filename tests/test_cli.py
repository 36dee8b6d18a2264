"""The command line: one line and the right code for every bad input, nothing heavy and nothing left behind."""

import subprocess
import sys
from pathlib import Path

import pytest
from made_claims import a_claim
from PIL import Image

from medisyn_lib.claims.results import write_result
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.cli import main, run_notebooks
from medisyn_lib.data import check, sources
from medisyn_lib.errors import InputError
from medisyn_lib.phantoms import draw
from medisyn_lib.reporting import audit, audit_report
from medisyn_lib.sampling import pipeline

OUTCOMES = [run_notebooks.Outcome("00_a", 1.0)]
FAILED = run_notebooks.Outcome("01_training", 1.0, "broke")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with empty notebooks, a model folder and a store of its own; the shell stands in it."""
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path))
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    notebooks = [f"notebooks/{name}.ipynb" for name in ("00_a", *audit.CLAIMS.values(), "99_c")]
    for name in [*notebooks, "model/model_index.json"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"tokenizer": []}')
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "classes").mkdir()
    (tmp_path / "classes" / "model_index.json").write_text('{"_class_name": "DiTPipeline"}')
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "metadata.csv").write_text("file_name,text\n0.png,a\n1.png,a\n")
    for number in range(2):
        picture = Image.fromarray(draw("ct", seed=0, index=number, size=32)[0])
        picture.save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "black").mkdir()
    (tmp_path / "black" / "metadata.csv").write_text("file_name,text\n0.png,a\n")
    Image.new("RGB", (32, 32)).save(tmp_path / "black" / "0.png")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "metadata.csv").write_text("file_name,text\n0.png,a\n")
    (tmp_path / "cut" / "0.png").write_bytes((tmp_path / "black" / "0.png").read_bytes()[:40])
    return tmp_path


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


READERS = ["readers", "new", "--generator", "model", "--out", "new"]
AUDIT = ["audit", "--generator", "model", "--data", "phantom", "--out", "new"]
GENERATE = ["generate", "--model", "model", "--prompt", "brain MRI", "--out", "new"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["reproduce", "--speed", "9"], "unrecognized arguments: --speed"),
        (
            ["reproduce", "--profile", "huge", "--out", "new"],
            "argument --profile: 'huge' is unknown: choose one of tiny",
        ),
        (["reproduce", "42", "--out", "new"], "notebook '42' is unknown: choose among 00_a"),
        (["reproduce", "--data", "magic", "--out", "new"], "data source 'magic' is unknown"),
        (["reproduce", "--data", "npz:none", "--out", "new"], "npz:none"),
        (["reproduce", "--out", "file/new"], "--out 'file/new': cannot be written"),
        (["reproduce", "--out", "file"], "--out 'file': cannot be written"),
        (
            ["reproduce", "--generator", "empty", "--out", "new"],
            "has no model_index.json or metadata.csv",
        ),
        (
            [*AUDIT, "--claims", "memorization,beauty"],
            "--claims 'beauty' is unknown: choose among training, alignment, memorization, augmentation",
        ),
        ([*AUDIT, "--claims", ""], "--claims '' is unknown"),
        ([*AUDIT, "--generator", "empty"], "has no model_index.json or metadata.csv"),
        ([*AUDIT, "--generator", ""], "--generator ''"),
        (
            [*AUDIT, "--generator", "classes"],
            "takes no text; say in sampling.json which `captions` mean a class",
        ),
        ([*AUDIT, "--data", ""], "data source '' is unknown"),
        ([*AUDIT, "--data", "npz:none"], "npz:none"),
        ([*AUDIT, "--seed", "-1"], "--seed is -1"),
        (
            [*AUDIT, "--seed", "7", "--claims", "memorization,training"],
            "--claims 'training' it draws from seeds",
        ),
        (
            [*AUDIT, "--generator", "images", "--claims", "alignment"],
            "--claims 'alignment' it draws prompts of its own",
        ),
        ([*AUDIT, "--out", "file/new"], "--out 'file/new': cannot be written"),
        ([*AUDIT, "--out", "/proc/x"], "--out '/proc/x': cannot be written"),
        (["reproduce", "--out", "/proc/x"], "--out '/proc/x': cannot be written"),
        ([*GENERATE, "--out", "/proc/x"], "--out '/proc/x': cannot be written"),
        ([*READERS, "--out", "/proc/x"], "--out '/proc/x': cannot be written"),
        ([*AUDIT, "--generator", "black"], "all of its 1 images are of one colour"),
        ([*AUDIT, "--generator", "cut"], "cut/0.png is "),
        ([*AUDIT, "--split-map", "a=test"], "data source 'phantom' takes none of these"),
        ([*AUDIT, "--data", "folder:images", "--split-map", "a"], "--split-map 'a': write OTHER="),
        (
            [*AUDIT, "--data", "folder:images", "--split-map", "a=best"],
            "the split map says 'a:best'",
        ),
        (
            [*AUDIT, "--data", "folder:images", "--caption-words", "0"],
            "words=0: give a number from 1 to 1000",
        ),
        (
            ["data", "check", "folder:images", "--synthetic", "empty"],
            "--synthetic 'empty': no folder with metadata.csv there",
        ),
        (["audit", "--generator", "model", "--out", "new"], "required: --data"),
        ([*GENERATE, "--prompt", " "], "--prompt is empty"),
        ([*GENERATE, "--prompt", "x" * 2001], "has 2001 characters: shorten it to 2000"),
        ([*GENERATE, "--prompt", "a\x1b[31m\nb"], "control characters"),
        ([*GENERATE, "--prompt", "a\u202eb"], "control characters"),
        (
            [*GENERATE, "--prompt", "=HYPERLINK(0)"],
            "--prompt begins as a spreadsheet's formula does",
        ),
        ([*GENERATE, "-n", "0"], "-n is 0"),
        ([*GENERATE, "-n", "10001"], "1 to 10000"),
        ([*GENERATE, "-n", "two"], "invalid int value: 'two'"),
        ([*GENERATE, "--seed", "-1"], "--seed is -1"),
        ([*GENERATE, "--model", "../none"], "no such folder, nor a hub id"),
        ([*GENERATE, "--model", ""], "no such folder, nor a hub id"),
        ([*GENERATE, "--model", "empty"], "has no model_index.json"),
        ([*GENERATE, "--out", ""], "--out ''"),
        (["figures"], "without figures' tables; run `reproduce` first"),
        (["site", "--out", "file/new"], "--out 'file/new': cannot be written"),
        (["site", "--out", "model"], "holds something else than a site; give another --out"),
        (["site", "--out", "new"], "holds no run; `make publish` one first"),
        (["figures", "--results", "none"], "not there"),
        (["data", "check", "magic"], "data source 'magic' is unknown"),
        (["data", "card", "magic"], "data source 'magic' is unknown"),
        (["data", "card", "phantom"], "read data_cards/phantom.md"),
        (["readers"], "new|analyse"),
        ([*READERS, "--readers", "0"], "--readers is 0: give a number from 1 to 100"),
        ([*READERS, "--texts", "empty"], "consent.txt: no text file in UTF-8 there; write one"),
        ([*READERS, "--margin", "nan"], "--margin is nan"),
        ([*READERS, "--margin", "1", "--readers", "8"], "--margin 1: too small for 8 readers"),
        ([*READERS, "--pairs", "5"], "--pairs is 5"),
        ([*READERS, "--generator", "empty"], "has no model_index.json or metadata.csv"),
        ([*READERS, "--data", "npz:none"], "npz:none"),
        (["readers", "analyse", "empty"], "absent, damaged or no file of a reader study"),
        (["readers", "analyse", "file"], "analysis': cannot be written; give a folder that can"),
        (["diff", "empty", "empty"], "holds no NN_name.json"),
        (["diff", "a", "b", "c\nd\x1b"], "c d"),
    ],
)
def test_bad_input_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
):
    before = everything(place)
    assert main.main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("medisyn: ") and told.err.count("\n") == 1
    assert said in told.err and "Traceback" not in told.err and "\x1b" not in told.err
    assert everything(place) == before


def test_store_that_cannot_be_written(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("MEDISYN_STORE", str(place / "file" / "store"))
    assert main.main(["reproduce", "--out", "new"]) == 2
    assert "MEDISYN_STORE" in capsys.readouterr().err and not (place / "new").exists()


def test_bad_input_imports_nothing_heavy():
    code = (
        "import sys; from medisyn_lib.cli.main import main\n"
        "assert main(['reproduce', '--data', 'npz:none']) == 2\n"
        "assert main(['generate', '--model', 'x', '--prompt', 'p', '--out', 'o']) == 2\n"
        "print({'torch', 'datasets', 'diffusers', 'matplotlib', 'pandas', 'papermill'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_help_waits_for_no_numbers():
    """How long it takes is measured in `benchmarks/whole_runs.py`; here that it loads nothing for it."""
    code = (
        "import contextlib, sys; from medisyn_lib.cli.main import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "print({'numpy', 'PIL', 'torch', 'datasets', 'diffusers', 'pandas', 'jinja2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: medisyn") and done.stdout.endswith("\nset()\n")


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        (OUTCOMES, 0),
        ([*OUTCOMES, run_notebooks.Outcome("01_b", 1.0, "data x: bad", bad_input=True)], 2),
        (
            [
                run_notebooks.Outcome("01_b", 1.0, "data x: bad", bad_input=True),
                run_notebooks.Outcome("99_c", 1.0, "broke"),
            ],
            4,
        ),
    ],
)
def test_reproduce_hands_on_what_it_was_given(
    place: Path, monkeypatch: pytest.MonkeyPatch, outcomes, code
):
    calls = []
    monkeypatch.setattr(
        run_notebooks, "reproduce", lambda names, **given: calls.append((names, given)) or outcomes
    )
    monkeypatch.setattr(sources, "preflight", lambda source: calls.append(source))
    inner = place / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    assert (
        main.main(
            [
                "reproduce",
                "01",
                "--data",
                "npz:../panel x",
                "--generator",
                "../model",
                "--profile",
                "tiny",
            ]
        )
        == code
    )
    run = {"profile": "tiny", "data": "npz:panel x", "generator": "model", "base": ""}
    assert calls == [
        "npz:panel x",
        (["01"], run | {"out": place / "build" / "tiny-npz-panel-x", "jobs": 3}),
    ]
    main.main(["reproduce", "--out", "mine", "--jobs", "1"])
    assert calls[-1][1]["out"] == inner / "mine" and calls[-1][1]["jobs"] == 1


def audited(place: Path, **verdicts: str):
    """A stand-in for `run_notebooks.reproduce` that writes results with these verdicts, and what it was called with."""
    calls = []

    def reproduce(names, **given):
        calls.append((names, given))
        for name in names:
            verdict = verdicts[name[:2]]
            claim = a_claim(verdict, statement=NOTEBOOKS[name], summary=f"{NOTEBOOKS[name]} found.")
            write_result(given["out"] / "results" / f"{name}.json", {}, [claim])
        return OUTCOMES

    return reproduce, calls


VERDICTS = [
    ("supported", "supported", 0),
    ("supported", "contradicted", 1),
    ("inconclusive", "contradicted", 1),
    ("partly supported", "inconclusive", 3),
    ("supported", "inconclusive", 3),
]


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list:
    """Stands in for the page, which `tests/test_audit.py` is about; what it was given."""
    given: list = []
    monkeypatch.setattr(
        audit_report, "write_report", lambda *what: given.append(what) or what[0] / "report.html"
    )
    return given


@pytest.mark.parametrize(("training", "copies", "code"), VERDICTS)
def test_audit_says_a_sentence_a_claim(
    place: Path, monkeypatch, capsys, reports, training, copies, code
):
    reproduce, calls = audited(place, **{"01": training, "05": copies})
    monkeypatch.setattr(run_notebooks, "reproduce", reproduce)
    assert main.main([*AUDIT, "--claims", "training,memorization"]) == code
    run = {
        "profile": "quick",
        "data": "phantom",
        "generator": "model",
        "base": "",
        "out": place / "new",
        "jobs": 3,
    }
    assert calls == [(["01_training", "05_memorization"], run)]
    first, left, second, also_left, last = capsys.readouterr().out.splitlines()[-5:]
    assert first == f"training: {audit.OUTCOMES[training].words}: {NOTEBOOKS['01_training']} found."
    found = f"{NOTEBOOKS['05_memorization']} found."
    assert second == f"memorization: {audit.OUTCOMES[copies].words}: {found}"
    assert left == "alignment: not tested: was not asked for" and also_left.startswith(
        "augmentation: not tested"
    )
    assert last == f"report in {place / 'new' / 'report.html'}, as JSON in report.json"
    assert reports[0][1:3] == (str(place / "model"), False) and list(reports[0][3]) == [
        "training",
        "memorization",
    ]


def test_audit_tests_what_fits_and_says_what_does_not(place: Path, monkeypatch, capsys, reports):
    reproduce, calls = audited(place, **dict.fromkeys(("01", "04", "05", "06"), "supported"))
    monkeypatch.setattr(run_notebooks, "reproduce", reproduce)
    assert main.main(AUDIT) == 0 and calls[-1][0] == list(audit.CLAIMS.values())
    assert main.main([*AUDIT, "--generator", "images"]) == 0 and calls[-1][0] == ["05_memorization"]
    assert capsys.readouterr().out.count("a folder of finished images cannot be asked") == 3
    assert reports[-1][2] is True
    assert main.main([*AUDIT, "--seed", "7"]) == 0
    assert calls[-1][0] == ["05_memorization"] and calls[-1][1]["seed"] == 7


def test_audit_with_failed_notebooks(place: Path, monkeypatch, capsys, reports):
    monkeypatch.setattr(
        run_notebooks,
        "reproduce",
        lambda *_, **__: [run_notebooks.Outcome("05_memorization", 1.0, "broke")],
    )
    assert main.main([*AUDIT, "--claims", "memorization"]) == 4 and not reports
    assert "memorization: visually" not in capsys.readouterr().out
    reproduce, _ = audited(place, **{"05": "contradicted"})
    monkeypatch.setattr(
        run_notebooks, "reproduce", lambda names, **given: [*reproduce(names[1:], **given), FAILED]
    )
    assert main.main([*AUDIT, "--claims", "training,memorization"]) == 4, (
        "the rest is reported all the same"
    )
    assert (
        "training: not tested: failed, see notebooks/01_training.failed.log"
        in capsys.readouterr().out
    )
    assert list(reports[0][3]) == ["memorization"] and "failed" in reports[0][4]["training"]


def test_generate_hands_on_an_absolute_model(place: Path, monkeypatch: pytest.MonkeyPatch):
    calls = []
    written = pipeline.Written([place], flagged=0, blank=0)
    monkeypatch.setattr(pipeline, "generate", lambda *given: calls.append(given) or written)
    assert main.main([*GENERATE, "--seed", "7"]) == 0
    assert main.main([*GENERATE, "--model", "owner/name", "-n", "1"]) == 0
    assert calls == [
        (str(place / "model"), "brain MRI", 4, 7, place / "new"),
        ("owner/name", "brain MRI", 1, 0, place / "new"),
    ]


def test_options_of_a_source_travel_with_its_name(place: Path, monkeypatch: pytest.MonkeyPatch):
    """Behind the source, so that notebooks, which take the source alone, read it the same way."""
    calls = []
    monkeypatch.setattr(run_notebooks, "reproduce", lambda _, **given: calls.append(given) or [])
    monkeypatch.setattr(sources, "preflight", lambda _: None)
    options = [
        "--split-map",
        "hold out=test",
        "--split-map",
        "extra=train",
        "--caption-words",
        "40",
    ]
    assert main.main(["reproduce", "--data", "folder:images", *options, "--out", "new"]) == 0
    assert calls[-1]["data"] == "folder:images?map=hold out:test,extra:train&words=40"


def raising(error: BaseException):
    def fails(*_: object) -> None:
        raise error

    return fails


def test_unforeseen_errors_are_one_line_and_a_kept_traceback(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(pipeline, "generate", raising(RuntimeError("two\nlines")))
    assert main.main(GENERATE) == 4
    told = capsys.readouterr().err
    assert told == f"medisyn: RuntimeError two lines (traceback in {place / 'new' / 'error.log'})\n"
    assert "raise error" in (place / "new" / "error.log").read_text()
    monkeypatch.setattr(check, "check_source", raising(OSError("no")))
    assert main.main(["data", "check", "phantom"]) == 4
    assert (
        capsys.readouterr().err == "medisyn: OSError no (set MEDISYN_DEBUG=1 for the traceback)\n"
    )


def test_interruption_and_late_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(pipeline, "generate", raising(KeyboardInterrupt()))
    assert main.main(GENERATE) == 130
    monkeypatch.setattr(pipeline, "generate", raising(InputError("model 'm': not\nthere")))
    assert main.main(GENERATE) == 2
    assert [line.count("medisyn: ") for line in capsys.readouterr().err.splitlines()] == [1, 1]


def test_data_list_has_tables_of_kinds_formats_and_public_sets(
    capsys: pytest.CaptureFixture[str],
):
    assert main.main(["data", "list"]) == 0
    kinds, formats, sets = capsys.readouterr().out.split("\n\n")
    first_words = [
        [line.split()[0] for line in part.splitlines()] for part in (kinds, formats, sets)
    ]
    assert first_words == [
        ["kind", "phantom", "npz", "medmnist", "folder", "hub"],
        ["medisyn", "name", "dicom", "nifti"],
        ["name", "ham10000", "nih-chest-xray14", "oct2017", "nct-crc-he", "busi"],
    ]


def test_diff_says_whether_runs_differ(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from medisyn_lib.reporting import compare

    monkeypatch.setattr(compare, "compare", lambda a, b: [])
    assert main.main(["diff", "a", "b"]) == 0
    monkeypatch.setattr(compare, "compare", lambda a, b: [f"{a.name} {b.name}"])
    assert main.main(["diff", "a", "b"]) == 1
    assert capsys.readouterr().out == "the same within tolerances\na b\n"
