"""`medisyn site`: the committed runs as web pages for a static host."""

from __future__ import annotations

import argparse

from medisyn_lib.cli import options
from medisyn_lib.runtime.paths import resolve_out


def add_verb(verbs: options.Verbs) -> None:
    """Add `site` to the command line."""
    verb = verbs.add_parser(
        "site", help="write committed results, figures and notebooks as web pages for a static host"
    )
    verb.set_defaults(run=run)
    verb.add_argument("--out", help="output folder (default: build/site)")


def run(arguments: argparse.Namespace) -> int:
    """Write the site and print the path of its first page."""
    out = (
        resolve_out("build/site")
        if arguments.out is None
        else options.checked_folder(arguments.out)
    )
    from medisyn_lib.reporting.site import write_site

    print(f"open {write_site(out)}")
    return 0
