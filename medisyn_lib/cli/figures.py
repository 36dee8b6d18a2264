"""`medisyn figures`: redraw figures from stored results."""

from __future__ import annotations

import argparse

from medisyn_lib.cli import options
from medisyn_lib.runtime.paths import from_shell, project_root


def add_verb(verbs: options.Verbs) -> None:
    """Add `figures` to the command line."""
    verb = verbs.add_parser("figures", help="redraw figures from stored results, computing nothing")
    verb.set_defaults(run=run)
    verb.add_argument("--results", help="a run's folder (default: the committed figures)")
    verb.add_argument("--pdf", action="store_true", help="as PDF, too, which takes longer")
    options.add_jobs(verb, 2, "so many processes draw (default: 2)")


def run(arguments: argparse.Namespace) -> int:
    """Redraw the figures and print their paths."""
    from medisyn_lib.reporting.gallery import redraw

    folder = from_shell(arguments.results or project_root() / "figures")
    print(*redraw(folder, arguments.jobs, pdf=arguments.pdf), sep="\n")
    return 0
