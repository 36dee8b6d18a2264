"""Someone else's generator: which claims can be tested on it, what came of them, and the report (`audit.html`)."""

import base64
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medisyn_lib.claims import NOTEBOOKS, Measure, Result
from medisyn_lib.errors import InputError
from medisyn_lib.figures import FIGURES
from medisyn_lib.store import write_atomic

TABLE: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
CLAIMS: dict[str, str] = {row["name"]: notebook for notebook, row in TABLE["notebooks"].items() if "name" in row}


def is_finished(generator: str) -> bool:
    """Whether a generator is a folder of finished images and no model."""
    return (Path(generator) / "metadata.csv").is_file() and not (Path(generator) / "model_index.json").is_file()


def choose(asked: str | None, given: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Which of CLAIMS to test, by default all that fit what is `given` ("finished" images, a "seed"); why not others.

    Raises InputError for a claim that is unknown or does not fit.
    """
    rows = {name: TABLE["notebooks"][notebook] for name, notebook in CLAIMS.items()}
    lacking = {name: TABLE["lacking"][what] for what in given for name, row in rows.items() if what not in row}
    chosen = [name for name in CLAIMS if name not in lacking] if asked is None else asked.replace(" ", "").split(",")
    for name in chosen:
        if name not in CLAIMS or name in lacking:
            unknown = f"is unknown: choose among {', '.join(CLAIMS)}"
            raise InputError(f"--claims {name!r} {lacking.get(name, unknown)}")
    return chosen, {name: lacking.get(name, "not asked for") for name in CLAIMS if name not in chosen}


def in_words(measure: Measure) -> str:
    """A measure with its interval and n."""
    number = "not measured" if measure.value is None else f"{measure.value:.3g}"
    if measure.ci_low is not None:
        number += f", 95% interval {measure.ci_low:.3g} to {measure.ci_high:.3g}"
    return f"{measure.name.replace('_', ' ')} {number}, n = {measure.n}"


def sentence(result: Result) -> str:
    """What a result says of the generator: the claim that its verdict hangs on, and that one's primary measure."""
    claim = next(claim for claim in result.claims if claim.verdict == result.verdict)
    return f"{claim.statement}: {TABLE['verdicts'][result.verdict][1]} ({in_words(claim.primary_measure)})"


def write_report(out: Path, results: Mapping[str, Result], left: Mapping[str, str], generator: str) -> None:
    """Writes `out / "report.html"` on results by claim: verdicts, measures, controls, the notebooks' figures, limits.

    `left` says why each other claim was not tested. Nothing in the page is fetched from anywhere, no script runs, and
    pictures that show real images are marked.
    """
    import jinja2
    import mistune

    from medisyn_lib import data, sampling

    def section(notebook: str, heading: str) -> str:  # of an executed notebook's text, the heading left out
        cells = json.loads((out / "notebooks" / f"{notebook}.ipynb").read_text("utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        return next((text.partition("\n")[2] for text in texts if text.startswith(heading)), "")

    def picture(name: str) -> str:
        path = out / "figures" / f"{name}.png"
        return base64.b64encode(path.read_bytes()).decode() if path.is_file() else ""

    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    pages = jinja2.Environment(loader=folder, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    pages.filters |= {"markdown": mistune.create_markdown(escape=True), "in_words": in_words, "sentence": sentence}
    finished, name = is_finished(generator), Path(generator).name if Path(generator).is_absolute() else generator
    digest = data.fingerprint(f"folder:{generator}") if finished else sampling.fingerprint(generator)
    given = {"results": results, "left": left, "finished": finished, "fingerprint": digest, "generator": name}
    given |= {"section": section, "picture": picture}
    page = pages.get_template("audit.html").render(given | TABLE, claims=CLAIMS, statements=NOTEBOOKS, shown=FIGURES)
    write_atomic(out / "report.html", page)
