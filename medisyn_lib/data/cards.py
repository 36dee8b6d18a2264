"""A drafted data card of any source: what can be counted is counted, what only its owner knows is left to fill in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medisyn_lib.data import npz, records, sources
from medisyn_lib.data.rows import require

TO_FILL = "**to be filled in**"
SIZES = {
    "n<1K": 1_000,
    "1K<n<10K": 10_000,
    "10K<n<100K": 100_000,
    "100K<n<1M": 1_000_000,
    "n>1M": float("inf"),
}


def draft(source: str) -> str:
    """Markdown with Hugging Face metadata: images, patients and classes by split as `data.check` counts them.

    Licence and citation are those of a `panel.csv` beside npz files. Raises InputError as `check`, and for phantoms.
    """
    require(source != "phantom", "data source 'phantom' has its card: read data_cards/phantom.md")
    counted = sources.check(source)
    known = (npz.panel(records.source_folder(source)) if source.startswith("npz:") else None) or {}
    total = sum(row[split] for row in counted for split in sources.SPLITS)
    sections = [_section(row, known.get(f"{row['modality']}.npz", {})) for row in counted]
    name = Path(source.partition(":")[2] or source).name
    head = {
        "pretty_name": json.dumps(name),
        "size": next(word for word, limit in SIZES.items() if total < limit),
        "unknown": ", ".join(row["modality"] for row in counted if row["identity"] == "unknown")
        or "none",
    }
    template = Path(__file__).with_suffix(".md").read_text("utf-8")
    return template.format(
        name=name, total=total, todo=TO_FILL, sections="\n".join(sections), **head
    )


def _section(row: Mapping[str, Any], known: Mapping[str, str]) -> str:
    """One modality's part of the card."""
    lines = {
        "Images": "/".join(str(row[split]) for split in sources.SPLITS) + " (train/val/test)",
        "Patients": f"{row['patients']}; identity {row['identity']}",
        "Classes": row["classes"],
        "Pairs of look-alikes across splits": row["near_duplicates"],
        "Sizes as stored": row["sizes"],
        "Grey images with marks in colour burnt in": row["marked"],
        "Not testable": row["not_testable"] or "no reason found",
        "Licence": f"{known['licence']} ({known['licence_basis']})" if known else TO_FILL,
        "Source and citation": f"{known['dataset']}: {known['citation']}" if known else TO_FILL,
        "Known weaknesses": known.get("notes") or TO_FILL,
    }
    return f"### `{row['modality']}`\n\n" + "".join(
        f"- **{key}**: {text}\n" for key, text in lines.items()
    )
