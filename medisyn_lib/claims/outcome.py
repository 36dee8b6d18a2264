"""What a rule says before its controls are looked at."""

from typing import NamedTuple


class RuleOutcome(NamedTuple):
    """Whether a rule is passed, None where that cannot be decided, and whether it is met in part."""

    passed: bool | None
    partly: bool
