"""A drafted data card of any source: what can be counted is counted, what only its owner knows is left open."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medisyn_lib.data import npz, records
from medisyn_lib.data.check import check_source
from medisyn_lib.data.rows import require
from medisyn_lib.data.source_options import parse
from medisyn_lib.data.splits import SPLITS

__all__ = ["SIZES", "TO_FILL", "draft"]

TO_FILL = "**to be filled in**"
SIZES = {  # the size categories of the Hugging Face hub, each below a number of images
    "n<1K": 1_000,
    "1K<n<10K": 10_000,
    "10K<n<100K": 100_000,
    "100K<n<1M": 1_000_000,
    "n>1M": float("inf"),
}


def draft(source: str) -> str:
    """Draft the data card of a source.

    Parameters
    ----------
    source
        A data source other than phantoms.

    Returns
    -------
    str
        Markdown with Hugging Face metadata: images, patients and classes by split as `check_source`
        counts them. Licence and citation are those of a `panel.csv` beside npz files.

    Raises
    ------
    InputError
        As `check_source`, and for phantoms, whose card is written.
    """
    require(source != "phantom", "data source 'phantom' has its card: read data_cards/phantom.md")
    counts = check_source(source)
    panel = _panel(source)
    sections = [_section(row, panel.get(f"{row['modality']}.npz", {})) for row in counts]
    total = sum(row[split] for row in counts for split in SPLITS)
    name = Path(parse(source).source.partition(":")[2] or source).name
    template = Path(__file__).with_suffix(".md").read_text("utf-8")
    return template.format(
        name=name,
        pretty_name=json.dumps(name),
        size=_size_category(total),
        total=total,
        todo=TO_FILL,
        unknown=_modalities_without_patients(counts),
        sections="\n".join(sections),
    )


def _panel(source: str) -> Mapping[str, Mapping[str, str]]:
    """What the `panel.csv` beside npz files states, by file name."""
    if not source.startswith("npz:"):
        return {}
    return npz.panel(records.source_folder(source)) or {}


def _size_category(total: int) -> str:
    return next(category for category, limit in SIZES.items() if total < limit)


def _modalities_without_patients(counts: Sequence[Mapping[str, Any]]) -> str:
    names = [row["modality"] for row in counts if row["identity"] == "unknown"]
    return ", ".join(names) or "none"


def _section(row: Mapping[str, Any], stated: Mapping[str, str]) -> str:
    """One modality's part of the card; `stated` is its row of the panel."""
    licence = citation = TO_FILL
    if stated:
        licence = f"{stated['licence']} ({stated['licence_basis']})"
        citation = f"{stated['dataset']}: {stated['citation']}"
    entries = {
        "Images": "/".join(str(row[split]) for split in SPLITS) + " (train/val/test)",
        "Patients": f"{row['patients']}; identity {row['identity']}",
        "Classes": row["classes"],
        "Patients by subgroup": row.get("subgroups", "none stated"),
        "Pairs of look-alikes across splits": row["near_duplicates"],
        "Copies across splits": row["copies_across_splits"],
        "Copies between generator's and evaluators' patients": row["copies_across_roles"],
        "Sizes as stored": row["sizes"],
        "File formats": row["formats"],
        "Grey images with marks in colour burnt in": row["marked"],
        "Images with transparent parts": row["transparent"],
        "Images of one colour": row["blank"],
        "Not testable": row["not_testable"] or "no reason found",
        "Licence": licence,
        "Source and citation": citation,
        "Known weaknesses": stated.get("notes") or TO_FILL,
    }
    lines = [f"- **{name}**: {text}\n" for name, text in entries.items()]
    return f"### `{row['modality']}`\n\n" + "".join(lines)
