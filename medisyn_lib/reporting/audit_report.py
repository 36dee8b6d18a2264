"""The report of an audit: pages that fetch nothing and run no script (`audit.html`), and the same as JSON."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medisyn_lib.claims.preregistration import rule_committed_before_result
from medisyn_lib.claims.results import Result
from medisyn_lib.claims.scorecard import RULE_FIRST
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.reporting import audit, web_pages
from medisyn_lib.reporting.audit_gallery import REAL, read_gallery
from medisyn_lib.reporting.audit_record import RECORD, write_record
from medisyn_lib.reporting.audit_scope import NO_PRIVACY, copy_limit, scope
from medisyn_lib.runtime.store import write_atomic

REPORT = "report.html"
REAL_REPORT = "report.real.html"  # the same with real images, for whoever may see the data
NOTE = "note: "  # begins what `evaluation.memorization.images` says of images left out


def write_report(
    out: Path,
    generator: str,
    finished_images: bool,
    results: Mapping[str, Result],
    untested: Mapping[str, str],
    noted: Sequence[str] = (),
) -> Path:
    """Write `report.html` and `report.json`, which hold no real image, and `report.real.html` where a run has any.

    Parameters
    ----------
    out : Path
        The run's folder; executed notebooks and figures are read from it.
    generator : str
        An absolute folder or a hub id.
    finished_images : bool
        Whether `generator` is a folder of images.
    results : mapping of str to Result
        By claim, as in `audit.CLAIMS`.
    untested : mapping of str to str
        By claim, why it was not tested; empty where it was.
    noted : sequence of str
        What else is to be known of the images, such as how many were left out.

    Returns
    -------
    Path
        The page without real images.
    """
    from medisyn_lib.reporting.subgroup_tables import read_subgroups

    about = {
        "name": Path(generator).name if Path(generator).is_absolute() else generator,
        "kind": "images" if finished_images else "pipeline",
        "fingerprint": _digest(generator, finished_images),
    }
    subgroups = {name: read_subgroups(out, audit.CLAIMS[name]) for name in results}
    said: dict[str, Any] = {"results": results, "untested": untested}
    said |= {"subgroups": subgroups, "noted": noted}
    _write_pages(out, results, {"about": about, **said})
    write_record(out, about, **said)
    return out / REPORT


def _write_pages(out: Path, results: Mapping[str, Result], said: Mapping[str, Any]) -> None:
    """Write the page without real images and, where a run has any, the one with them.

    `said` is what the page takes besides what follows from the run's folder and results.
    """
    pictures = _pictures(out)
    galleries = {real: read_gallery(out, real=real) for real in (False, True)}
    shown = {name for claim in results for name in audit.AUDITED[audit.CLAIMS[claim]].figures}
    has_real = bool(galleries[True]) or any(f"{name}{REAL}" in pictures for name in shown)
    fill = functools.partial(
        _template().render,
        **said,
        **_wording(out),
        limit=copy_limit(results),
        scope=scope(results),
        real_report=REAL_REPORT if has_real else "",
        **web_pages.frame("medisyn audit"),
    )
    without = {name: picture for name, picture in pictures.items() if REAL not in name}
    page = fill(pictures=without, gallery=galleries[False], shows_real=False)
    write_atomic(out / REPORT, page)
    if has_real:
        gallery = galleries[True] or galleries[False]
        page = fill(pictures=pictures, gallery=gallery, shows_real=True)
        write_atomic(out / REAL_REPORT, page)


def _wording(out: Path) -> dict[str, Any]:
    """Return what puts results into words, the same in every report."""
    import mistune

    from medisyn_lib.reporting.gallery import FIGURES

    return {
        "claims": audit.CLAIMS,
        "audited": audit.AUDITED,
        "unsuited": audit.UNSUITED,
        "outcome": audit.outcome_of,
        "statements": NOTEBOOKS,
        "figures": FIGURES,
        "no_privacy": NO_PRIVACY,
        "markdown": mistune.create_markdown(escape=True),
        "section": functools.partial(notebook_section, out),
        "rule_first": functools.partial(_rule_first, out),
    }


def remove_report(out: Path) -> None:
    """Remove the report of results that are about to be replaced."""
    for name in (REPORT, REAL_REPORT, RECORD):
        (out / name).unlink(missing_ok=True)


def _template() -> Any:
    """The page, in which what is filled in is escaped."""
    text = Path(__file__).with_name("audit.html").read_text("utf-8")
    return web_pages.environment().from_string(text)


def _digest(generator: str, finished_images: bool) -> str:
    """Return a hash of the generator's content: of its images, or of its weights and settings."""
    from medisyn_lib.data import sources
    from medisyn_lib.sampling.pipeline import model_fingerprint

    if finished_images:
        return sources.fingerprint(f"folder:{generator}")
    return model_fingerprint(generator)


def _pictures(out: Path) -> dict[str, str]:
    """Return the run's figures by name, PNG in base64."""
    pictures = {}
    for path in (out / "figures").glob("*.png"):
        pictures[path.stem] = base64.b64encode(path.read_bytes()).decode()
    return pictures


def notebook_section(out: Path, notebook: str, heading: str) -> str:
    """Return the first Markdown cell of an executed notebook that starts with a heading, less its line.

    Empty where there is none.
    """
    content = json.loads((out / "notebooks" / f"{notebook}.ipynb").read_text("utf-8"))
    for cell in content["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and text.startswith(heading):
            return text.partition("\n")[2]
    return ""


def notes(out: Path, notebooks: Sequence[str]) -> list[str]:
    """Return what executed notebooks note of the generator's images: lines that begin with `note: `."""
    found: dict[str, None] = {}
    for notebook in notebooks:
        path = out / "notebooks" / f"{notebook}.ipynb"
        cells = json.loads(path.read_text("utf-8"))["cells"] if path.is_file() else []
        for output in (output for cell in cells for output in cell.get("outputs", [])):
            lines = "".join(output.get("text", "")).splitlines()
            found |= dict.fromkeys(line for line in lines if line.startswith(NOTE))
    return [line.removeprefix(NOTE) for line in found]


def _rule_first(out: Path, rule_sha: str, notebook: str) -> str:
    """Return in a word whether a rule was in the project's history before the result."""
    answer = rule_committed_before_result(rule_sha, out / "results" / f"{notebook}.json")
    return RULE_FIRST[answer]
