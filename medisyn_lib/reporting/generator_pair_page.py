"""Two generators side by side: `compare.html`, which shows no real image, and the same numbers in `compare.json`.

The latter has the form that `compare.schema.json` publishes.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medisyn_lib.evaluation.generator_differences import MEAN, Compared
from medisyn_lib.evaluation.generator_pair import FOUND, NEARER, GeneratorPair, Measured
from medisyn_lib.pipeline.features import ENCODER
from medisyn_lib.reporting import web_pages
from medisyn_lib.runtime.provenance import data_label
from medisyn_lib.runtime.store import write_atomic
from medisyn_lib.statistics.estimates import Estimate

PAGE, RECORD = "compare.html", "compare.json"
SCHEMA = Path(__file__).with_name("compare.schema.json")
SCHEMA_ID = "urn:medisyn-companion:compare:1"  # a change that breaks readers gets another number
NO_VERDICT = (
    "No rule was fixed before this comparison, so that it has no verdict: it says how far apart the two are, not "
    "whether that matters. Each 95% interval stands for itself; about one in twenty excludes equality by chance."
)
MEANINGS = {
    "KID": "Kernel distance from held-out real images; lower is nearer.",
    "coverage": "Proportion of held-out real images with a generated one nearby; higher is better.",
    NEARER: "Proportion of images that lie nearer to a training than to a held-out real image, by pixels: about half "
    "if nothing is copied, more where training images come back.",
    FOUND: "Proportion of images in which a classifier sees the finding that the prompt names; higher is better.",
}
SHOWN = 24  # pairs on the contact sheet, at the most
WHOLE, MIDDLE = 100.0, 50.0  # width of an interval's drawing, and where equality is


class Drawn(NamedTuple):
    """An interval as it is drawn: places of its limits and of the estimate, from 0 to 100; equality is at 50."""

    low: float
    high: float
    value: float


class PictureOfPair(NamedTuple):
    """A pair of images, each a PNG in base64, and what they were made from."""

    a: str
    b: str
    caption: str
    modality: str
    name: str


def write_pair(out: Path, pair: GeneratorPair, measured: Measured) -> Path:
    """Write page and record into a folder.

    Parameters
    ----------
    out : Path
        The folder; made if it is not there.
    pair : GeneratorPair
        Its images are generated ones, of which some are shown.
    measured : Measured
        As of `generator_pair.measure`.

    Returns
    -------
    Path
        The page.
    """
    record = _record(pair, measured)
    names = list(dict.fromkeys(row.measure for row in measured.compared))
    page = web_pages.render(
        "compare.html",
        "medisyn audit",
        record=record,
        no_verdict=NO_VERDICT,
        sentences=sentences(measured),
        measures={name: _rows_of(name, measured.compared) for name in names},
        meanings=MEANINGS,
        pictures=_pictures(pair),
    )
    write_atomic(out / PAGE, page)
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(out / RECORD, text + "\n")
    return out / PAGE


def sentences(measured: Measured) -> list[str]:
    """Say what the means over modalities show, a sentence for each measure."""
    return [_sentence(row) for row in measured.compared if row.modality == MEAN]


def _sentence(row: Compared) -> str:
    begin = row.measure[0].upper() + row.measure[1:]
    both = f"A {_number(row.a.value)}, B {_number(row.b.value)}"
    if row.effect.value is None:
        return f"{begin}: {both}; no ratio, as a distance is not above zero in some modality."
    if row.measure == "KID":
        ratio = _ratio(row.effect)
        said = f"A's is {ratio.value:.3g} times B's in the geometric mean over modalities"
        return f"{begin}: {both}; {said}{_limits(ratio)}."
    return f"{begin}: {both}; A less B {_number(row.effect.value)}{_limits(row.effect)}."


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _limits(found: Estimate) -> str:
    if found.ci_low is None or found.ci_high is None:
        return ", without an interval"
    return f" (95% interval {found.ci_low:.3g} to {found.ci_high:.3g})"


def _ratio(effect: Estimate) -> Estimate:
    """The ratio whose logarithm is given."""
    value, low, high = (
        None if x is None else math.exp(x) for x in (effect.value, effect.ci_low, effect.ci_high)
    )
    return Estimate(value, low, high, effect.n)


def _rows_of(measure: str, compared: Sequence[Compared]) -> list[dict[str, Any]]:
    """The table of one measure: its estimates as they are shown, and the drawing of the effect; the mean first."""
    rows = [row for row in compared if row.measure == measure]
    rows = [row for row in rows if row.modality == MEAN] + [
        row for row in rows if row.modality != MEAN
    ]
    limits = [(row.effect.value, row.effect.ci_low, row.effect.ci_high) for row in rows]
    reach = max((abs(x) for of_row in limits for x in of_row if x is not None), default=0.0)
    is_ratio = measure == "KID"
    return [
        {
            "modality": row.modality,
            "n": row.effect.n,
            "a": row.a,
            "b": row.b,
            "effect": _ratio(row.effect) if is_ratio else row.effect,
            "drawn": _drawn(row.effect, reach),
        }
        for row in rows
    ]


def _drawn(effect: Estimate, reach: float) -> Drawn | None:
    """An effect on the scale on which equality is in the middle; None where there is none."""
    if effect.value is None:
        return None
    low = effect.value if effect.ci_low is None else effect.ci_low
    high = effect.value if effect.ci_high is None else effect.ci_high
    unit = (MIDDLE - 3) / reach if reach else 0.0
    return Drawn(*(round(MIDDLE + unit * x, 2) for x in (low, high, effect.value)))


def _pictures(pair: GeneratorPair) -> list[PictureOfPair]:
    """The first pairs of each modality, as many of each."""
    names = list(dict.fromkeys(pair.modality.tolist()))
    each = max(1, SHOWN // len(names))
    rows = [np.flatnonzero(pair.modality == name)[:each] for name in names]
    return [
        PictureOfPair(
            _png(pair.a[row]),
            _png(pair.b[row]),
            str(pair.caption[row]),
            str(pair.modality[row]),
            str(pair.name[row]),
        )
        for row in np.concatenate(rows)[:SHOWN].tolist()
    ]


def _png(pixels: np.ndarray) -> str:
    import PIL.Image

    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _record(pair: GeneratorPair, measured: Measured) -> dict[str, Any]:
    """What `compare.json` holds: no image and no folder of this machine."""
    study = pair.generators[0].study
    kind = "images" if pair.finding is None else "pipeline"
    generators = [
        {"name": Path(one.name).name if Path(one.name).is_absolute() else one.name}
        | {"kind": kind, "fingerprint": fingerprint}
        for one, fingerprint in zip(pair.generators, pair.fingerprints, strict=True)
    ]
    return {
        "schema": SCHEMA_ID,
        "clinical_use": False,
        "verdict": None,
        "data": data_label(study.source),
        "profile": study.profile,
        "pixels": study.settings.size,
        "encoder": ENCODER,
        "pairs": len(pair.caption),
        "first": str(pair.name[0]),
        "last": str(pair.name[-1]),
        "generators": dict(zip("ab", generators, strict=True)),
        "compared": [_compared(row) for row in measured.compared],
        "not_measured": measured.left_out,
        "notes": pair.notes,
    }


def _compared(row: Compared) -> dict[str, Any]:
    scale = "log of the ratio a / b" if row.measure == "KID" else "difference a - b"
    estimates = {name: asdict(getattr(row, name)) for name in ("a", "b", "effect")}
    return {"measure": row.measure, "modality": row.modality, "scale": scale} | estimates
