"""`medisyn data`: list the kinds of data source, check one, or draft its data card."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from medisyn_lib.cli import options


def add_verb(verbs: options.Verbs) -> None:
    """Add `data list`, `data check` and `data card` to the command line."""
    group = verbs.add_parser(
        "data", help="list the kinds of data source, check one, or draft its data card"
    )
    inner = group.add_subparsers(required=True, metavar="list|check|card")
    kinds = inner.add_parser("list", help="the kinds of source")
    kinds.set_defaults(run=list_kinds)
    check = inner.add_parser("check", help="splits, classes, patients and leaks of a source")
    check.set_defaults(run=check_source)
    check.add_argument("source", type=options.source_name)
    card = inner.add_parser(
        "card", help="a data card of a source in Markdown, as far as it can be counted"
    )
    card.set_defaults(run=draft_card)
    card.add_argument("source", type=options.source_name)


def list_kinds(_: argparse.Namespace) -> int:
    """Print a line on each kind of source."""
    from medisyn_lib.data.kinds import KINDS

    _print_table([{"kind": name, "help": kind.help} for name, kind in KINDS.items()])
    return 0


def check_source(arguments: argparse.Namespace) -> int:
    """Print what a source holds, a line each modality and split."""
    from medisyn_lib.data import check, sources

    sources.preflight(arguments.source)
    _print_table(check.check_source(arguments.source))
    return 0


def draft_card(arguments: argparse.Namespace) -> int:
    """Print a data card in Markdown, to be completed by hand."""
    from medisyn_lib.data import cards, sources

    sources.preflight(arguments.source)
    print(cards.draft(arguments.source), end="")
    return 0


def _print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows in aligned columns, in the order in which columns first appear."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns]
    for row in rows:
        lines.append([str(row.get(column, "")) for column in columns])
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())
