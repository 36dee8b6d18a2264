"""The notebooks in batch, over toy ones: all run, a failure is kept and told, an interrupt leaves nothing running."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from made_claims import a_claim
from nbformat.v4 import new_code_cell, new_notebook

from medisyn_lib.claims.results import write_result
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.cli import kernels, run_notebooks
from medisyn_lib.errors import InputError

HEADER = 'profile = "quick"\ndata = "phantom"\ngenerator = ""\nout = "build/x"'
RUN = {"profile": "tiny", "data": "phantom", "generator": ""}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path))
    monkeypatch.setenv("MEDISYN_STORE", "a-store")
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def notebook(root: Path, name: str, *code: str, header: str = HEADER) -> None:
    first = new_code_cell(header, metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "x", "language": "python"}}
    cells = [first, *map(new_code_cell, code)]
    nbformat.write(new_notebook(cells=cells, metadata=kernel), root / "notebooks" / f"{name}.ipynb")


def test_all_run_failures_are_kept_and_told(root: Path, capsys: pytest.CaptureFixture[str]):
    say = (
        "import os, sys, json\nfrom medisyn_lib.runtime.paths import resolve_out\nfrom pathlib import Path\n"
        "said = [profile, generator, sys.executable, str(resolve_out(out)), os.environ['MEDISYN_STORE']]\n"
        "Path(resolve_out(out), 'said.json').write_text(json.dumps(said))"
    )
    notebook(root, "00_fine", say)
    notebook(root, "01_training", "import sys; print('a warning', file=sys.stderr)", "1 / 0")
    notebook(
        root,
        "02_quality",
        "from medisyn_lib.errors import InputError\nraise InputError('data x: mend it')",
    )
    out = root / "build" / "run {1}"
    (out / "results").mkdir(parents=True)
    (out / "figures").mkdir()
    for stale in ("results/01_training.json", "figures/01_prompts.png", "figures/03_frontier.png"):
        (out / stale).write_text("stale")
    code = "\"\"\"'\nopen('harmed', 'w').close()\n# {{1/0}} \\"  # a parameter is a word, whatever stands in it
    outcomes = run_notebooks.reproduce([], **RUN | {"generator": code}, out=out)
    assert not [*root.rglob("harmed")] and not Path("harmed").exists()
    assert [(o.name, o.error is None, o.bad_input) for o in outcomes] == [
        ("00_fine", True, False),
        ("01_training", False, False),
        ("02_quality", False, True),
    ]
    assert json.loads((out / "said.json").read_text()) == [
        "tiny",
        code,
        sys.executable,
        str(out),
        str(root / "a-store"),
    ]
    kept = sorted(path.name for path in (out / "notebooks").iterdir())
    assert kept == ["00_fine.ipynb"] + [
        f"{name}.failed.{end}" for name in ("01_training", "02_quality") for end in ("ipynb", "log")
    ]
    log = (out / "notebooks" / "01_training.failed.log").read_text()
    assert "a warning" in log and "ZeroDivisionError" in log
    assert [
        path.name for folder in ("results", "figures") for path in (out / folder).iterdir()
    ] == ["03_frontier.png"]
    told = capsys.readouterr()
    assert sorted(line.split()[:2] for line in told.out.splitlines()) == [
        ["00_fine", "done"],
        ["01_training", "failed"],
        ["02_quality", "failed"],
    ]
    assert (
        "notebook 01_training failed: division by zero" in told.err
        and "medisyn: data x: mend it\n" in told.err
    )


def test_two_run_at_a_time_and_the_scorecard_after_them(
    root: Path, capsys: pytest.CaptureFixture[str]
):
    """Each of two waits for the other to have begun; the third number begins when both have ended."""
    wait = (
        "import os, time\nfrom pathlib import Path\nPath(f'{name}.begun').touch()\nend = time.time() + 300\n"
        "while not all(Path(f'{other}.begun').exists() for other in others) and time.time() < end: time.sleep(0.05)\n"
        "seen = sorted(path.name for path in Path().glob('*.begun'))\n"
        "Path(f'{name}.seen').write_text(' '.join([os.environ['OMP_NUM_THREADS'], *seen]))"
    )
    for name, others in {
        "00_tour": ["01_training"],
        "01_training": ["00_tour"],
        "99_scorecard": [],
    }.items():
        notebook(root, name, f"name, others = {name!r}, {others!r}", wait)
    outcomes = run_notebooks.reproduce([], **RUN, out=root / "out", jobs=2)
    assert [outcome.name for outcome in outcomes] == ["00_tour", "01_training", "99_scorecard"]
    assert capsys.readouterr().out.splitlines()[-1].startswith("99_scorecard")
    seen = {path.stem: path.read_text().split() for path in (root / "notebooks").glob("*.seen")}
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // 2))
    both = [threads, "00_tour.begun", "01_training.begun"]
    assert seen == {
        "00_tour": both,
        "01_training": both,
        "99_scorecard": [*both, "99_scorecard.begun"],
    }


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_every_kernel_and_leaves_no_notebook(root: Path, how: signal.Signals):
    for name in ("00_tour", "01_training"):
        notebook(
            root,
            name,
            f"from pathlib import Path\nPath('{name}.begun').touch()\nimport time; time.sleep(300)",
        )
    out = root / "run"
    code = (  # a shell's background jobs ignore SIGINT, and so would what they start
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from pathlib import Path; "
        f"from medisyn_lib.cli import run_notebooks; run_notebooks.reproduce([], **{RUN}, out=Path({str(out)!r}))"
    )
    running = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 300
    while len(list((root / "notebooks").glob("*.begun"))) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    kernels = psutil.Process(running.pid).children()
    running.send_signal(how)
    assert "KeyboardInterrupt" in running.communicate(timeout=250)[1] and running.returncode != 0
    assert len(kernels) == 2 and not any(kernel.is_running() for kernel in kernels)
    assert not [
        name
        for name in ("00_tour", "01_training")
        if (out / "notebooks" / f"{name}.ipynb").exists()
    ]


def test_an_interrupt_takes_along_what_was_about_to_start(root: Path):
    """A kernel that starts after the others were killed ends, too: one had outlived the command, or held it up."""
    started: list[subprocess.Popen] = []

    def run(notebook: Path) -> int:
        time.sleep(0.6)  # as the start of a kernel takes its time
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        return started[-1].wait()

    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        next(kernels.run_side_by_side(run, [Path("01_a.ipynb"), Path("02_b.ipynb")], 2))
    assert [process.returncode for process in started] == [-signal.SIGKILL] * 2


def test_unknown_parameter_is_refused_before_anything_runs(root: Path):
    notebook(root, "00_fine", header='profile = "quick"\ndata = "phantom"\nout = ""')
    with pytest.raises(InputError, match="00_fine: has no parameter 'generator'"):
        run_notebooks.reproduce([], **RUN, out=root / "out")
    assert not (root / "out").exists()


def test_a_notebook_without_a_kernel_is_named(root: Path):
    notebook(root, "00_fine")
    notebook(root, "01_training")
    path = root / "notebooks" / "01_training.ipynb"
    content = json.loads(path.read_text())
    del content["metadata"]["kernelspec"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"notebook 01_training: cannot be read .*No kernel name"):
        run_notebooks.reproduce([], **RUN, out=root / "out")
    path.write_text("no JSON")
    with pytest.raises(InputError, match="notebook 01_training: cannot be read") as caught:
        run_notebooks.reproduce([], **RUN, out=root / "out")
    assert "\n" not in str(caught.value) and not (root / "out").exists()


def test_an_older_report_goes_before_notebooks_run(root: Path):
    """A failed audit does not leave the report of another; a refused one leaves it."""
    notebook(root, "05_memorization", "1 / 0")
    report = root / "out" / "report.html"
    report.parent.mkdir()
    report.write_text("of an older audit")
    with pytest.raises(InputError):
        run_notebooks.reproduce(["none"], **RUN, out=report.parent)
    assert report.exists()
    (outcome,) = run_notebooks.reproduce(["05_memorization"], **RUN, out=report.parent)
    assert outcome.error and not report.exists()


def test_select(root: Path):
    with pytest.raises(InputError, match="holds no notebooks"):
        run_notebooks.select_notebooks()
    for name in ("99_scorecard", "00_tour", "01_training"):
        notebook(root, name)
    assert [path.stem for path in run_notebooks.select_notebooks()] == [
        "00_tour",
        "01_training",
        "99_scorecard",
    ]
    assert [path.stem for path in run_notebooks.select_notebooks(["99", "00_tour"])] == [
        "00_tour",
        "99_scorecard",
    ]
    with pytest.raises(InputError, match="'42' is unknown: choose among 00_tour"):
        run_notebooks.select_notebooks(["42"])


def test_one_folder_holds_one_run(root: Path):
    provenance = {"profile": "full", "data": "npz:real_panel"}
    claim = a_claim()
    out = root / "build" / "run"
    write_result(out / "results" / "01_training.json", provenance, [claim])
    run_notebooks.check_folder(out, "full", "npz:../shared/real_panel")
    with pytest.raises(InputError, match="holds results of profile 'full' on 'npz:real_panel'"):
        run_notebooks.check_folder(out, "tiny", "phantom")
    with pytest.raises(InputError, match="on 'npz:real_panel'; give another"):
        run_notebooks.check_folder(out, "full", "npz:real_panel", "owner/name")
    write_result(out / "results" / "01_training.json", provenance | {"base": "owner/name"}, [claim])
    run_notebooks.check_folder(out, "full", "npz:real_panel", "owner/name")
    with pytest.raises(InputError, match="on 'npz:real_panel' from 'owner/name'; give another"):
        run_notebooks.check_folder(out, "full", "npz:real_panel")


def test_the_scorecard_knows_the_notebooks_that_exist():
    stored = {path.stem for path in (Path(__file__).parents[1] / "notebooks").glob("0[1-7]_*.py")}
    assert stored <= set(NOTEBOOKS)
