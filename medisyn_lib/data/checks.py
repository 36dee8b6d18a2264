"""What a source holds and what can be tested on it: `medisyn data check` and the notebooks' `testable`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from medisyn_lib.data.duplicates import near_duplicates
from medisyn_lib.data.samples import SPLITS, Row
from medisyn_lib.modalities import MODALITIES

if TYPE_CHECKING:
    import datasets

MIN_TEST_PATIENTS = 20
PHANTOMS_CHECKED = 150  # a split and modality: phantoms have no end


def testable(source: str | datasets.Dataset) -> dict[str, str]:
    """Whether each modality can be tested: "" or the reason why not.

    A modality is not testable with fewer than 20 test patients or with a class that has no test
    image. `source` is a data source or a dataset that holds test images; of a dataset only the
    classes that occur in it are known.
    """
    if source == "phantom":  # as many patients as one asks for
        return dict.fromkeys(MODALITIES, "")
    entries = _entries(source)
    return {name: _reason([e for e in entries if e.modality == name]) for name in _modalities(entries)}


def check(source: str) -> list[dict[str, Any]]:
    """One row a modality: images, patients and classes by split, empty classes, identity, leaks, why not testable.

    `classes` and `patients` are written train/val/test; `near_duplicates` counts pairs of images in
    different splits. Of phantoms 150 images a split and modality are looked at. Raises InputError
    as `preflight` and `load` do.
    """
    import datasets

    from medisyn_lib.data import load

    phantom = source == "phantom"
    there = set(SPLITS) if phantom else {entry.split for entry in _entries(source)}
    cap = PHANTOMS_CHECKED if phantom else None
    whole = datasets.concatenate_datasets([load(source, split, per_modality=cap) for split in SPLITS if split in there])
    entries, reasons = _entries(whole), testable(source)
    home = {entry.image_id: entry.modality for entry in entries}
    leaks = Counter(home[first] for first, _, _ in near_duplicates(whole))
    return [
        _summary([e for e in entries if e.modality == name])
        | {"near_duplicates": leaks[name], "not_testable": reasons[name]}
        for name in _modalities(entries)
    ]


def _modalities(entries: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(entry.modality for entry in entries))


def _entries(source: str | datasets.Dataset) -> list[Row]:
    if isinstance(source, str):
        from medisyn_lib.data import source_module

        module, rest = source_module(source)
        return list(module.rows(rest))
    names = ("image_id", "patient_id", "split", "modality", "finding", "identity_known")
    columns = [source[name] for name in names]
    return [Row(**dict(zip(names, values, strict=True)), place="") for values in zip(*columns, strict=True)]


def _reason(own: Sequence[Row]) -> str:
    test = [entry for entry in own if entry.split == "test"]
    patients = len({entry.patient_id for entry in test})
    reasons = [f"{patients} test patients, at least {MIN_TEST_PATIENTS} are needed"] * (patients < MIN_TEST_PATIENTS)
    empty = sorted({entry.finding for entry in own} - {entry.finding for entry in test})
    reasons += [f"no test image of {', '.join(empty)}"] * bool(empty)
    return "; ".join(reasons)


def _summary(own: Sequence[Row]) -> dict[str, Any]:
    """Numbers of one modality."""
    images = Counter(entry.split for entry in own)
    patients = Counter(split for split, _ in {(entry.split, entry.patient_id) for entry in own})
    cells = Counter((entry.finding, entry.split) for entry in own)
    findings = sorted({entry.finding for entry in own})
    empty = [f"{finding} in {split}" for split in ("val", "test") for finding in findings if not cells[finding, split]]
    return {
        "modality": own[0].modality,
        **{split: images[split] for split in SPLITS},
        "patients": "/".join(str(patients[split]) for split in SPLITS),
        "classes": ", ".join(f"{f} {'/'.join(str(cells[f, split]) for split in SPLITS)}" for f in findings),
        "empty": ", ".join(empty),
        "identity": "known" if all(entry.identity_known for entry in own) else "unknown",
    }
