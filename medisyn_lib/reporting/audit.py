"""Someone else's generator: which claims can be tested on it, what came of them, and the report (`audit.html`)."""

import base64
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medisyn_lib.claims.preregistration import rule_committed_before_result
from medisyn_lib.claims.results import Result
from medisyn_lib.claims.scorecard import in_a_line
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.errors import InputError
from medisyn_lib.runtime.store import write_atomic

TABLE: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text("utf-8")
)
CLAIMS: dict[str, str] = {
    row["name"]: notebook for notebook, row in TABLE["notebooks"].items() if "name" in row
}


def choose(asked: str | None, given: Sequence[str]) -> dict[str, str]:
    """Of each of CLAIMS why it is not tested, "" if it is: by default all that fit what is `given` are.

    That may be "finished" (images and no model) and a "seed". Raises InputError for a claim that is unknown or unfit.
    """
    rows = {name: TABLE["notebooks"][notebook] for name, notebook in CLAIMS.items()}
    unfit = {
        name: TABLE["lacking"][what]
        for what in given
        for name, row in rows.items()
        if what not in row
    }
    named = (
        [name for name in CLAIMS if name not in unfit]
        if asked is None
        else asked.replace(" ", "").split(",")
    )
    for name in named:
        if why := unfit.get(
            name, "" if name in CLAIMS else f"is unknown: choose among {', '.join(CLAIMS)}"
        ):
            raise InputError(f"--claims {name!r} {why}")
    return {name: "" if name in named else unfit.get(name, "was not asked for") for name in CLAIMS}


def sentence(result: Result) -> str:
    """What a result says of the generator, in the words of the claim that its verdict hangs on."""
    claim = next(claim for claim in result.claims if claim.verdict == result.verdict)
    return in_a_line(claim, TABLE["verdicts"][claim.verdict][1])


def write_report(
    out: Path,
    generator: str,
    finished: bool,
    results: Mapping[str, Result],
    left: Mapping[str, str],
) -> Path:
    """Writes `report.html` on results, by claim, to `out`; `left` says why other claims were not tested.

    The page fetches nothing and runs no script; its pictures that show real images are marked.
    """
    import jinja2
    import mistune

    from medisyn_lib.data import sources
    from medisyn_lib.reporting.gallery import FIGURES
    from medisyn_lib.sampling.pipeline import model_fingerprint

    def section(
        notebook: str, heading: str
    ) -> str:  # of an executed notebook's text, the heading left out
        cells = json.loads((out / "notebooks" / f"{notebook}.ipynb").read_text("utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        return next((text.partition("\n")[2] for text in texts if text.startswith(heading)), "")

    drawn = {
        path.stem: base64.b64encode(path.read_bytes()).decode()
        for path in (out / "figures").glob("*.png")
    }
    label = Path(generator).name if Path(generator).is_absolute() else generator
    digest = (
        sources.fingerprint(f"folder:{generator}") if finished else model_fingerprint(generator)
    )
    given = {"results": results, "left": left, "finished": finished, "digest": digest, **TABLE}
    given |= {"generator": label, "claims": CLAIMS, "drawn": drawn, "shown": FIGURES}
    markdown = mistune.create_markdown(escape=True)
    how: dict[str, Any] = {
        "autoescape": True,
        "undefined": jinja2.StrictUndefined,
        "trim_blocks": True,
    }
    page = jinja2.Template(Path(__file__).with_suffix(".html").read_text("utf-8"), **how)
    write_atomic(
        out / "report.html",
        page.render(
            given,
            markdown=markdown,
            section=section,
            rule_first=rule_committed_before_result,
            statements=NOTEBOOKS,
            out=out,
        ),
    )
    return out / "report.html"
