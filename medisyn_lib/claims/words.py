"""Numbers and names as the sentences of claims say them."""

from __future__ import annotations

from collections.abc import Sequence

SPELT = {"ct": "CT", "mri": "MRI", "oct": "OCT", "xray": "X-ray"}


def how_often(difference: float | None) -> str:
    """Say a difference of proportions: `1.2 points less often`."""
    points = 100 * (difference or 0.0)
    return f"{abs(points):.1f} points {'less' if points < 0 else 'more'} often"


def plain_name(name: str) -> str:
    """Write a name of data or results as people do: `chest_xray` is chest X-ray."""
    return " ".join(SPELT.get(word, word) for word in name.split("_"))


def listed(names: Sequence[str]) -> str:
    """Join names: `CT, fundus and brain MRI`; `none` without any."""
    words = [plain_name(name) for name in names]
    if len(words) < 2:
        return words[0] if words else "none"
    return f"{', '.join(words[:-1])} and {words[-1]}"


def from_base(base: str) -> str:
    """Say behind a claim's statement that its models were fine-tuned from a base; nothing where there is none."""
    return f" (all fine-tuned from {base}, which has seen more than any of them)" if base else ""
