"""The `medisyn` command. It checks what it is given before it imports anything heavy.

Exit codes: 0 done; 1 two runs differ, an audited claim is contradicted, or `data check --strict`
warns; 2 bad input; 3 an audited claim could not be told; 4 a notebook or something internal failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Sequence

from medisyn_lib.cli import (
    audit,
    data,
    diff,
    figures,
    generate,
    keep,
    options,
    plan,
    readers,
    reproduce,
    site,
    train,
)
from medisyn_lib.errors import InputError
from medisyn_lib.runtime.paths import from_shell
from medisyn_lib.runtime.store import write_atomic

VERBS = (reproduce, plan, keep, audit, train, generate, figures, site, data, diff, readers)
LONGEST_MESSAGE = 300  # characters of an unforeseen error on its line


def parser() -> argparse.ArgumentParser:
    """Return the command line: one sub-command per verb, each of which sets the function `run`."""
    top = options.OneLineParser(
        prog="medisyn",
        description="Reproduce, use and check the MediSyn companion. Not for clinical use.",
    )
    verbs = top.add_subparsers(required=True, metavar="COMMAND")
    for module in VERBS:
        module.add_verb(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; what went wrong is one line on stderr."""
    arguments = argparse.Namespace()
    try:
        arguments = parser().parse_args(argv)
        options.check_ranges(arguments)
        options.take_source_options(arguments)
        return int(arguments.run(arguments))
    except InputError as error:
        code, message = 2, _one_line(error)
    except KeyboardInterrupt:
        code, message = 130, "interrupted; the same command goes on from what is stored"
    except Exception as error:
        code, message = 4, _unforeseen(error, arguments)
    print(f"medisyn: {message}", file=sys.stderr)
    return code


def _one_line(words: object) -> str:
    """Return words without control characters, on one line."""
    printable = "".join(letter if letter.isprintable() else " " for letter in str(words))
    return " ".join(printable.split())


def _unforeseen(error: Exception, arguments: argparse.Namespace) -> str:
    """Return the line of an unforeseen error; its traceback is kept where there is a folder."""
    line = f"{type(error).__name__} {_one_line(error)[:LONGEST_MESSAGE]}"
    if os.environ.get("MEDISYN_DEBUG") == "1":
        traceback.print_exception(error)
        return line
    if getattr(arguments, "out", None):
        log = from_shell(arguments.out) / "error.log"
        with contextlib.suppress(OSError):  # the disk may be what failed
            write_atomic(log, "".join(traceback.format_exception(error)))
            return f"{line} (traceback in {log})"
    return f"{line} (set MEDISYN_DEBUG=1 for the traceback)"


if __name__ == "__main__":
    sys.exit(main())
