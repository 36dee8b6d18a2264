"""`README.md` of a prepared folder: what it holds, by which rules, under which licence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources

from medisyn_lib.data.prepare.pictures import Contents
from medisyn_lib.data.rows import Row
from medisyn_lib.data.splits import SPLITS

__all__ = ["page", "summary"]


def page(title: str, facts: Mapping[str, str], contents: Contents, rows: Sequence[Row]) -> str:
    """Return the page's text in Markdown.

    Parameters
    ----------
    title
        Of the set.
    facts
        Licence, citation and the like, by name.
    contents
        What was found, with what was left out.
    rows
        What was written.
    """
    template = resources.files(__package__).joinpath("page.md").read_text("utf-8")
    return template.format(
        title=title,
        facts="\n".join(f"- **{name}**: {text}" for name, text in facts.items()),
        lines="\n".join(f"- {line}" for line in summary(contents, rows)),
    )


def summary(contents: Contents, rows: Sequence[Row]) -> list[str]:
    """Say in lines what was written and what was left out."""
    splits = Counter(row["split"] for row in rows)
    patients = len({row["patient_id"] for row in rows})
    known = sum(row["identity_known"] for row in rows)
    whose = {len(rows): "patients", 0: "groups, whose patients are unknown"}.get(
        known, "patients and groups"
    )
    counts = "/".join(str(splits[split]) for split in SPLITS)
    lines = [f"{len(rows)} images ({counts} train/val/test) of {patients} {whose}"]
    lines += [f"left out: {number} {reason}" for reason, number in contents.left_out.items()]
    return lines + contents.notes
