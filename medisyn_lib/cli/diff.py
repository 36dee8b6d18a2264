"""`medisyn diff`: compare two runs within tolerances."""

from __future__ import annotations

import argparse

from medisyn_lib.cli import options
from medisyn_lib.reporting import compare
from medisyn_lib.runtime.paths import from_shell


def add_verb(verbs: options.Verbs) -> None:
    """Add `diff` to the command line."""
    verb = verbs.add_parser(
        "diff", help="compare two runs within tolerances; exit code 1 if they differ"
    )
    verb.set_defaults(run=run)
    verb.add_argument("a", metavar="A", type=from_shell)
    verb.add_argument("b", metavar="B", type=from_shell)


def run(arguments: argparse.Namespace) -> int:
    """Print what differs, a line each; return 1 where anything does."""
    lines = compare.compare(arguments.a, arguments.b)
    print("\n".join(lines) or "the same within tolerances")
    return 1 if lines else 0
