"""The stored notebooks: executed in order, one parameters cell, in step with their pair, free of machines."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXPECTED = {
    "00_data_tour",
    "01_training",
    "02_quality",
    "03_compute_efficiency",
    "04_text_alignment",
    "06_augmentation",
    "05_memorization",
    "07_reference_standards",
    "99_scorecard",
}
PARAMETERS = ["profile", "data", "generator", "base", "out"]
CLAIMS = [path for path in PATHS if re.match(r"0[1-7]_", path.name)]
STEPS = [path for path in PATHS if path.name != "99_scorecard.ipynb"]
TESTS = sorted((ROOT / "tests").glob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
STORED_LIMIT = 3 * 2**19  # 1.5 MiB
LINES = 250  # of a notebook's .py

each_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def tags(cell: Any) -> list[str]:
    return cell.metadata.get("tags", [])


def outline(notebook: Any) -> list[tuple[str, str, list[str]]]:
    return [(cell.cell_type, cell.source, tags(cell)) for cell in notebook.cells]


def test_the_expected_notebooks_exist() -> None:
    assert {path.stem for path in PATHS} >= EXPECTED


@each_notebook
def test_cells_were_run_once_and_in_order(path: Path) -> None:
    """nbval passes a notebook that was never run; this does not."""
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))
    kinds = {output.output_type for cell in code_cells(path) for output in cell.outputs}
    assert "error" not in kinds


@each_notebook
def test_no_output_is_a_widget(path: Path) -> None:
    """A bar or a button shows nothing without its kernel, and appears only where something is made anew."""
    shown = {
        kind for cell in code_cells(path) for one in cell.outputs for kind in one.get("data", {})
    }
    assert not any("widget" in kind for kind in shown)


@each_notebook
def test_the_first_code_cell_holds_the_parameters(path: Path) -> None:
    """Without the tag papermill injects above the notebook's own values, which then win."""
    cells = code_cells(path)
    assert [index for index, cell in enumerate(cells) if "parameters" in tags(cell)] == [0]
    assert not any("injected-parameters" in tags(cell) for cell in cells)
    names = []
    for node in ast.parse(cells[0].source).body:
        assert isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None, ast.unparse(
            node
        )
        ast.literal_eval(node.value)  # a derived value would be stale once papermill injects
        (target,) = node.targets if isinstance(node, ast.Assign) else [node.target]
        names.append(ast.unparse(target))
        line = cells[0].source.splitlines()[(node.end_lineno or 0) - 1]
        assert re.search(r"#\s*\S", line[node.end_col_offset or 0 :]), f"{names[-1]} has no comment"
    assert names[: len(PARAMETERS)] == PARAMETERS  # a notebook may add its own after them
    pages = "".join(page.read_text("utf-8") for page in PAGES)
    assert [name for name in names if f"`{name}`" not in pages] == []


@each_notebook
def test_the_pair_is_in_step(path: Path) -> None:
    assert outline(jupytext.read(path.with_suffix(".py"))) == outline(read(path))


def test_no_page_shows_papermill_onto_the_notebook_itself() -> None:
    """It would write its parameters and outputs over the stored notebook, which then no longer fits its pair."""
    shown = []
    for page in PAGES:
        shown += re.findall(r"^papermill (\S+) (\S+)", page.read_text("utf-8"), flags=re.MULTILINE)
    assert len(shown) >= 2 and all(Path(out).name != Path(read).name for read, out in shown)
    readme = (ROOT / "README.md").read_text("utf-8")
    command = readme.partition("\npapermill ")[2]
    assert "Never run papermill onto the stored notebook itself" in command[:300]


@each_notebook
def test_notebooks_are_small(path: Path) -> None:
    assert path.stat().st_size <= STORED_LIMIT
    lines = path.with_suffix(".py").read_text("utf-8").splitlines()
    assert len(lines) <= LINES, f"{len(lines)} lines: what computes belongs to the library"


@each_notebook
def test_a_notebook_begins_with_its_title_and_ends_with_its_limits(path: Path) -> None:
    """The audit report quotes both."""
    texts = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    assert read(path).cells[0].cell_type == "markdown"
    assert re.match(rf"# {path.stem[:2]} \S", texts[0]), texts[0][:80]
    if path in CLAIMS:
        headings = re.findall(r"^## .*$", "\n".join(texts), flags=re.MULTILINE)
        assert headings[-1] == "## Limits"


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.stem)
def test_a_notebook_is_stepped_through(path: Path) -> None:
    """The pipeline with the reader's place in it, two exercises with solutions, links to what cells call."""
    cells = read(path).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert 25 <= len(cells) <= 40 and cells[0].source.count("(you are here)**") == 1
    exercises = text.partition("\n## Exercises\n")[2].partition("\n## ")[0]
    assert re.findall(r"^(\d)\. ", exercises, flags=re.MULTILINE) == ["1", "2"]
    assert exercises.count("<details><summary>Solution</summary>") == 2
    assert exercises.count("</details>") == 2
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    assert len(links) >= 3 and [link for link in links if not (path.parent / link).is_file()] == []


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_no_test_executes_source(path: Path) -> None:
    """What decides is in the library, where tests can call it; notebook source is not run piecemeal."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("exec", "eval", "compile"), f"line {node.lineno}"


@each_notebook
def test_outputs_and_metadata_name_no_machine(path: Path) -> None:
    notebook = read(path)
    assert notebook.metadata.kernelspec.name == "python3" and "papermill" not in notebook.metadata
    place = re.compile(
        r"(?<![\w.:/])/(home|Users|root|tmp|work|opt|usr|var|mnt|private)/\w|[A-Z]:\\\\\w"
    )
    for cell in notebook.cells:
        assert not {"execution", "papermill"} & set(cell.metadata)
        for output in cell.get("outputs", []):
            bundle = {
                kind: value
                for kind, value in output.get("data", {}).items()
                if not kind.startswith("image/")
            }
            found = place.search(output.get("text", "") + str(bundle))
            assert not found, f"{found and found.group()} in the output of: {cell.source[:80]}"


@pytest.mark.parametrize("path", CLAIMS, ids=lambda path: path.stem)
def test_a_claim_ends_with_its_verdict(path: Path) -> None:
    last = code_cells(path)[-1]
    assert {"verdict", "nbval-check-output"} & set(tags(last)) and last.outputs


def test_no_warning_is_silenced_wholesale() -> None:
    sources = [*(ROOT / "notebooks").glob("*.py"), *(ROOT / "medisyn_lib").rglob("*.py")]
    bare = re.compile(r"(filterwarnings|simplefilter)\(\s*(action=)?[\"']ignore[\"']\s*\)")
    assert [path.name for path in sources if bare.search(path.read_text())] == []


def test_every_figure_has_its_drawing_and_its_numbers_beside_it() -> None:
    figures = [
        p for p in sorted((ROOT / "figures").glob("*/*.png")) if not p.name.endswith(".tiles.png")
    ]
    missing = [
        f
        for png in figures
        for f in (png.with_suffix(".svg"), png.with_suffix(".csv"))
        if not f.exists()
    ]
    assert [str(path.relative_to(ROOT)) for path in missing] == []
    assert [png.name for png in figures if png.with_suffix(".csv").stat().st_size == 0] == []
