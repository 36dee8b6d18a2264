"""Numbers and names as the sentences of claims say them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medisyn_lib.claims.claim import Measure

Limits = tuple[float | None, float | None]
SPELT = {"ct": "CT", "mri": "MRI", "oct": "OCT", "xray": "X-ray"}


def how_often(difference: Measure) -> str:
    """Say a difference of proportions with its interval: `1.2 points less often (0.4 to 2.0)`."""
    points = 100 * (difference.value or 0.0)
    limits = _turned(difference) if points < 0 else (difference.ci_low, difference.ci_high)
    said = f"{abs(points):.1f} points {'less' if points < 0 else 'more'} often"
    return said + _in_brackets(limits, lambda limit: f"{100 * limit:.1f}")


def with_interval(one: Measure, form: str = ".2f") -> str:
    """Say a number with its interval: `+0.044 (+0.029 to +0.059)`, or as `.0%` 84% (81% to 87%)."""
    limits = one.ci_low, one.ci_high
    return f"{one.value or 0:{form}}" + _in_brackets(limits, lambda limit: f"{limit:{form}}")


def _turned(one: Measure) -> Limits:
    """The limits of minus a measure."""
    low, high = one.ci_low, one.ci_high
    return None if high is None else -high, None if low is None else -low


def _in_brackets(limits: Limits, say: Callable[[float], str]) -> str:
    low, high = limits
    return "" if low is None or high is None else f" ({say(low)} to {say(high)})"


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
