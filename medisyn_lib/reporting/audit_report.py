"""The report of an audit: one page that fetches nothing and runs no script (`audit.html`)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medisyn_lib.claims.preregistration import rule_committed_before_result
from medisyn_lib.claims.results import Result
from medisyn_lib.claims.scorecard import RULE_FIRST
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.reporting import audit, web_pages
from medisyn_lib.runtime.store import write_atomic

REPORT = "report.html"
NOTE = "note: "  # begins what `evaluation.memorization.images` says of images left out


def write_report(
    out: Path,
    generator: str,
    finished_images: bool,
    results: Mapping[str, Result],
    untested: Mapping[str, str],
    noted: Sequence[str] = (),
) -> Path:
    """Write `report.html`, in which pictures that show real images are marked.

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
        The page.
    """
    import mistune

    from medisyn_lib.reporting.gallery import FIGURES
    from medisyn_lib.reporting.subgroup_tables import read_subgroups

    page = _template().render(
        generator=Path(generator).name if Path(generator).is_absolute() else generator,
        finished_images=finished_images,
        digest=_digest(generator, finished_images),
        results=results,
        untested=untested,
        noted=noted,
        claims=audit.CLAIMS,
        audited=audit.AUDITED,
        unsuited=audit.UNSUITED,
        outcome=audit.outcome_of,
        statements=NOTEBOOKS,
        pictures=_pictures(out),
        subgroups={name: read_subgroups(out, audit.CLAIMS[name]) for name in results},
        figures=FIGURES,
        markdown=mistune.create_markdown(escape=True),
        section=lambda notebook, heading: notebook_section(out, notebook, heading),
        rule_first=lambda rule_sha, notebook: _rule_first(out, rule_sha, notebook),
        **web_pages.frame("medisyn audit"),
    )
    write_atomic(out / REPORT, page)
    return out / REPORT


def _template() -> Any:
    """The page, in which what is filled in is escaped."""
    import jinja2

    return jinja2.Template(
        Path(__file__).with_name("audit.html").read_text("utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )


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
