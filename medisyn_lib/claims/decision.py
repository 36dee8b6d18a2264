"""What a rule decides before its controls are looked at."""

from typing import NamedTuple


class Decision(NamedTuple):
    """The outcome of a rule: passed or not, None where it cannot be decided, and whether it is met in part."""

    passed: bool | None
    partly: bool
