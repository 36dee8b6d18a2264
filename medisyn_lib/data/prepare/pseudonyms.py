"""Names for patients, studies and files that say nothing without the user's secret.

A plain hash of a patient number can be undone by hashing all numbers. So each name is an HMAC with a
secret ("salt") that only the user has: the same secret gives the same names, no other does.
"""

import hashlib
import hmac
from pathlib import Path

from medisyn_lib.errors import InputError

__all__ = ["MIN_SALT", "pseudonym", "read_salt"]

MIN_SALT = 16  # bytes
LENGTH = 16  # hex digits of a name


def read_salt(path: Path | None) -> bytes:
    """Read the user's secret, a file of 16 bytes or more; blanks at its ends do not count.

    Raises
    ------
    InputError
        Where there is no file, or too few bytes in it.
    """
    make_one = (
        "make one with `openssl rand -hex 32 > FILE`, and keep it from those who get the images"
    )
    if path is None:
        raise InputError(f"--salt is missing: name a file with your secret; {make_one}")
    try:
        salt = path.read_bytes().strip()
    except OSError as error:
        fault = f"--salt {str(path)!r} cannot be read ({error.strerror})"
        raise InputError(f"{fault}: {make_one}") from error
    if len(salt) < MIN_SALT:
        fault = f"--salt {str(path)!r} holds {len(salt)} bytes, at least {MIN_SALT} are needed"
        raise InputError(f"{fault}: {make_one}")
    return salt


def pseudonym(salt: bytes, kind: str, name: str) -> str:
    """Return 16 hex digits for a name; those of another kind ("patient", "study", "image") differ.

    References
    ----------
    RFC 2104: HMAC, here with SHA-256.
    """
    return hmac.new(salt, f"{kind}\0{name}".encode(), hashlib.sha256).hexdigest()[:LENGTH]
