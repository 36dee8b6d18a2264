"""What is committed is made anew, published or refused (`notebooks/maintain.py`), over toy notebooks."""

from pathlib import Path

import maintain
import nbformat
import pytest
from made_claims import a_claim
from nbformat.v4 import new_code_cell, new_notebook

from medisyn_lib.claims.results import write_result
from medisyn_lib.errors import InputError

HEADER = 'profile = "quick"\ndata = "phantom"\ngenerator = ""\nout = "build/x"'


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path))
    monkeypatch.setenv("MEDISYN_STORE", "a-store")
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def notebook(root: Path, name: str) -> None:
    cell = new_code_cell(HEADER, metadata={"tags": ["parameters"]})
    path = root / "notebooks" / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=[cell]), path)


PAIR = f"""# ---
# jupyter:
#   kernelspec: {{display_name: Python 3 (ipykernel), language: python, name: python3}}
# ---

# %% [markdown]
# # Title

# %% tags=["parameters"]
{HEADER}

# %%
print("one")
print(profile)
"""


def test_refresh_stores_outputs_without_timing(root: Path):
    (root / "notebooks" / "00_tour.py").write_text(PAIR)
    (path,) = maintain.refresh("00")
    first = path.read_text()
    stored = nbformat.reads(first, 4)
    assert [cell.get("execution_count") for cell in stored.cells] == [None, 1, 2]
    assert (
        stored.cells[1].metadata.tags == ["parameters"]
        and "execution" not in stored.cells[2].metadata
    )
    assert (
        stored.cells[2].outputs[0].text == "one\nquick\n"
        and stored.metadata.kernelspec.name == "python3"
    )
    maintain.refresh()
    assert path.read_text() == first


def test_refresh_keeps_the_old_one_if_the_new_is_too_large(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    (root / "notebooks" / "00_tour.py").write_text(PAIR)
    monkeypatch.setattr(maintain, "STORED_LIMIT", 100)
    with pytest.raises(InputError, match=r"00_tour: \d+ bytes"):
        maintain.refresh()
    assert not (root / "notebooks" / "00_tour.ipynb").exists()


def finished_run(root: Path, profile: str = "full", data: str = "npz:real_panel") -> Path:
    out = root / "build" / "run"
    notebook(root, "00_tour")
    notebook(root, "01_training")
    claim = a_claim()
    write_result(out / "results" / "01_training.json", {"profile": profile, "data": data}, [claim])
    (out / "figures").mkdir(exist_ok=True)
    for name in (
        "00_a.png",
        "00_a.svg",
        "01_a.csv",
        "01_b.real.png",
        "01_c.txt",
        "01_prompts.tiles.png",
    ):
        (out / "figures" / name).write_text(name)
    (out / "notebooks").mkdir(exist_ok=True)
    for name in ("00_tour", "01_training"):
        (out / "notebooks" / f"{name}.ipynb").write_text("{}")
    return out


def test_publish_replaces_the_folder_and_leaves_real_images(root: Path):
    """And sheets of what was learnt from real images, which not every licence allows to show; phantoms' are kept."""
    old = root / "figures" / "full-npz-real-panel"
    old.mkdir(parents=True)
    (old / "00_old.png").write_text("")
    assert maintain.publish(str(finished_run(root))) == "full-npz-real-panel"
    assert sorted(path.name for path in old.iterdir()) == ["00_a.png", "00_a.svg", "01_a.csv"]
    assert [path.name for path in (root / "results" / old.name).iterdir()] == ["01_training.json"]
    assert not list(root.rglob("*.tmp"))
    assert maintain.publish(str(finished_run(root, data="phantom"))) == "full-phantom"
    assert (root / "figures" / "full-phantom" / "01_prompts.tiles.png").is_file()
    named_alike = maintain.publish(str(finished_run(root, data="npz:my-phantom")))
    assert not list((root / "figures" / named_alike).glob("01_prompts*"))


def test_publish_names_a_run_of_the_flagship_after_it(root: Path) -> None:
    """But where a profile judges it anyway, the run is the profile's."""
    out = finished_run(root, data="phantom")
    for profile, name in (("full", "flagship-phantom"), ("quick", "quick-phantom")):
        provenance = {"profile": profile, "data": "phantom", "generator": "flagship"}
        write_result(out / "results" / "01_training.json", provenance, [a_claim()])
        assert maintain.publish(str(out)) == name


def test_the_readme_shows_what_is_committed() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    assert maintain.with_scorecard(text) == text and text.count("| **") > 2


def test_the_stored_scorecard_was_run_beside_the_results_of_every_notebook() -> None:
    """Refreshed on a machine that had run some of them alone, it once said "not run" of the others."""
    repository = Path(maintain.__file__).parents[1]
    stored = nbformat.read(repository / "notebooks" / "99_scorecard.ipynb", 4)
    (listed,) = (cell for cell in stored.cells if "row.get('evidence'" in cell.source)
    lines = "".join(output["text"] for output in listed.outputs).splitlines()
    assert not [line for line in lines if line.endswith("not run")]
    results = (repository / "results" / "quick-phantom").glob("*.json")
    assert {line.split()[0] for line in lines} == {path.stem for path in results}


def test_publish_writes_the_scorecard_into_the_readme(root: Path):
    (root / "README.md").write_text("a\n{}\nold\n{}\nb\n".format(*maintain.SCORECARD))
    maintain.publish(str(finished_run(root)))
    told = (root / "README.md").read_text()
    assert "| claim | verdict | evidence | found |" in told
    line = "| 01 s | **supported** | exploratory, `full-npz-real-panel` | Found so. |"
    assert line in told
    assert told.startswith("a\n") and told.endswith("\nb\n") and "old" not in told
    assert maintain.with_scorecard("no marks") == "no marks"


def test_the_scorecard_leaves_out_what_a_larger_run_says_too(root: Path) -> None:
    claim = a_claim()
    for profile in ("quick", "full"):
        path = root / "results" / f"{profile}-phantom" / "01_training.json"
        write_result(path, {"profile": profile, "data": "phantom"}, [claim])
    told = maintain.with_scorecard("{}\n{}".format(*maintain.SCORECARD))
    assert "`full-phantom`" in told and "`quick-phantom`" not in told
    (root / "results" / "full-phantom" / "01_training.json").unlink()
    assert "`quick-phantom`" in maintain.with_scorecard("{}\n{}".format(*maintain.SCORECARD))


def test_publish_of_a_part_leaves_the_others_as_they_were(root: Path):
    out = finished_run(root)
    maintain.publish(str(out))
    (out / "notebooks" / "00_tour.ipynb").unlink()
    (out / "figures" / "01_a.csv").rename(out / "figures" / "01_new.csv")
    assert maintain.publish(str(out), "01") == "full-npz-real-panel"
    there = sorted(path.name for path in (root / "figures" / "full-npz-real-panel").iterdir())
    assert there == ["00_a.png", "00_a.svg", "01_new.csv"]
    with pytest.raises(InputError, match="00_tour is not finished"):
        maintain.publish(str(out), "00")


def test_publish_refuses_other_profiles_and_unfinished_runs(root: Path):
    out = finished_run(root, profile="tiny")
    with pytest.raises(InputError, match="of another profile than tiny"):
        maintain.publish(str(out))
    (out / "notebooks" / "00_tour.ipynb").unlink()
    with pytest.raises(InputError, match="00_tour is not finished"):
        maintain.publish(str(out))
    assert not (root / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "write `refresh [NN ...]` or `publish FOLDER [NN ...]`"),
        (["publish"], "write `refresh [NN ...]` or `publish FOLDER [NN ...]`"),
        (["publish", "empty"], "is not finished"),
        (["refresh", "42"], "holds no notebooks"),
    ],
)
def test_maintaining_refuses_bad_input_in_one_line(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
):
    if "publish" in arguments:
        notebook(root, "00_tour")
    assert maintain.main(arguments) == 2
    told = capsys.readouterr()
    assert (
        told.out == ""
        and told.err.startswith("maintain: ")
        and told.err.count("\n") == 1
        and said in told.err
    )
