"""What all rules share: a rule's fingerprint, and an estimate held against a bound."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # statistics brings numpy, which the command line need not wait for
    from medisyn_lib.statistics.estimates import Estimate


def letters(text: str) -> str:
    """Return a text's letters and digits, so that neither wrapping nor quotes nor comment signs count."""
    return re.sub(r"[\W_]+", "", text)


def rule_sha(rule: str) -> str:
    """Return the first 16 hex digits of SHA-256 of a rule's letters and digits."""
    return hashlib.sha256(letters(rule).encode()).hexdigest()[:16]


def compare_to_bound(estimate: Estimate, bound: float) -> bool | None:
    """Say whether the whole interval lies at or above a bound (True), below it (False), or across it (None).

    An estimate without an interval decides nothing.
    """
    if estimate.ci_low is None or estimate.ci_high is None:
        return None
    if estimate.ci_low >= bound:
        return True
    return False if estimate.ci_high < bound else None
