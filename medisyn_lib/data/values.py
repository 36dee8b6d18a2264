"""Values of metadata as people write them: what is missing, what is a number, what is a text.

None, NaN and empty text are missing; 0 is a value; blanks around a text do not count; an integral float
is an integer, so that `1.0`, which a table with gaps makes of 1, is the same patient as `1`.
"""

import math
import re

from medisyn_lib.errors import InputError

__all__ = ["as_text", "as_whole_number", "check_single", "is_missing"]

MISSING_WORDS = ("", "nan", "<na>")  # what Python and pandas write for a missing value
INTEGRAL = re.compile(r"([+-]?\d+)\.0+")
WHOLE = re.compile(r"-1|\+?[0-9]{1,10}")
NOT_STATED = -1  # of a count or a grade
LARGEST = 2**31 - 1


def is_missing(value: object) -> bool:
    """Say whether a value of metadata is missing: None, NaN, or text that is empty or says so."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or str(value).strip().lower() in MISSING_WORDS


def check_single(value: object, where: str) -> None:
    """Raise InputError for what is not one value, such as a list of findings; `where` names it."""
    if isinstance(value, bool | list | tuple | dict):
        raise InputError(f"{where} is {value!r}: write one word or one number")


def as_text(value: object) -> str:
    """Return a value of metadata as text without blanks around it, an integral float as an integer.

    A missing value is "".
    """
    if is_missing(value):
        return ""
    text = str(value).strip()
    integral = INTEGRAL.fullmatch(text)
    return integral[1] if integral else text


def as_whole_number(value: object, where: str) -> int:
    """Return a count or a grade; -1 where it is missing.

    Raises
    ------
    InputError
        For anything but a whole number from 0, or -1, which means the same as nothing; `where` names the value.
    """
    text = as_text(value)
    if not text:
        return NOT_STATED
    is_whole = WHOLE.fullmatch(text) and int(text) <= LARGEST
    if not is_whole:
        fault = f"{where} is {value!r}: write a whole number or leave it empty"
        raise InputError(fault)
    return int(text)
