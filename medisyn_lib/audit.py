"""Someone else's generator: which claims can be tested on it, what came of them, and the report (`audit.html`)."""

import base64
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medisyn_lib.claims import NOTEBOOKS, Result, in_words
from medisyn_lib.errors import InputError
from medisyn_lib.store import write_atomic

TABLE: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
CLAIMS: dict[str, str] = {row["name"]: notebook for notebook, row in TABLE["notebooks"].items() if "name" in row}


def choose(asked: str | None, given: Sequence[str]) -> dict[str, str]:
    """Of each of CLAIMS why it is not tested, "" if it is: by default all that fit what is `given` are.

    That may be "finished" (images and no model) and a "seed". Raises InputError for a claim that is unknown or unfit.
    """
    rows = {name: TABLE["notebooks"][notebook] for name, notebook in CLAIMS.items()}
    unfit = {name: TABLE["lacking"][what] for what in given for name, row in rows.items() if what not in row}
    named = [name for name in CLAIMS if name not in unfit] if asked is None else asked.replace(" ", "").split(",")
    for name in named:
        if name in unfit or name not in CLAIMS:
            why = unfit.get(name, f"is unknown: choose among {', '.join(CLAIMS)}")
            raise InputError(f"--claims {name!r} {why}")
    return {name: "" if name in named else unfit.get(name, "was not asked for") for name in CLAIMS}


def sentence(result: Result, path: Path) -> str:
    """What a result says of the generator: the claim that its verdict hangs on, and that one's primary measure."""
    row = in_words(next(claim for claim in result.claims if claim.verdict == result.verdict), path)
    numbers = f"{row['measure'].replace('_', ' ')} {row['value']}, 95% interval {row['interval']}, n = {row['n']}"
    return f"{row['claim']}: {TABLE['verdicts'][result.verdict][1]} ({numbers})"


def write_report(
    out: Path, generator: str, finished: bool, results: Mapping[str, Result], left: Mapping[str, str]
) -> Path:
    """Writes `report.html` on results, by claim, to `out`: verdicts, measures, controls, the notebooks' figures.

    `left` says why other claims were not tested. The page fetches nothing and runs no script; pictures that show real
    images are marked.
    """
    import jinja2
    import mistune

    from medisyn_lib import data, figures, sampling

    def section(notebook: str, heading: str) -> str:  # of an executed notebook's text, the heading left out
        cells = json.loads((out / "notebooks" / f"{notebook}.ipynb").read_text("utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        return next((text.partition("\n")[2] for text in texts if text.startswith(heading)), "")

    drawn = {path.stem: base64.b64encode(path.read_bytes()).decode() for path in (out / "figures").glob("*.png")}
    digest = data.fingerprint(f"folder:{generator}") if finished else sampling.fingerprint(generator)
    given = {"results": results, "left": left, "finished": finished, "digest": digest, "claims": CLAIMS, **TABLE}
    given |= {
        "generator": Path(generator).name if Path(generator).is_absolute() else generator,
        "shown": figures.FIGURES,
    }
    given |= {"markdown": mistune.create_markdown(escape=True), "section": section, "drawn": drawn}
    how: dict[str, Any] = {"autoescape": True, "undefined": jinja2.StrictUndefined, "trim_blocks": True}
    page = jinja2.Template(Path(__file__).with_suffix(".html").read_text("utf-8"), **how)
    write_atomic(out / "report.html", page.render(given, statements=NOTEBOOKS, in_words=in_words, out=out))
    return out / "report.html"
