"""`medisyn data`: list the kinds of source, check one, draft its card, prepare one, unify real and synthetic images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from medisyn_lib.cli import options
from medisyn_lib.cli.prepare import add_prepare

COPIES_FOUND = 1  # exit code of `data check --strict`, for whatever it warns of
SIZES = options.Range("--size", 16, 1024)
QUALITIES = options.Range("--quality", 1, 95)


def add_verb(verbs: options.Verbs) -> None:
    """Add `data list`, `check`, `card`, `prepare` and `unify` to the command line."""
    group = verbs.add_parser(
        "data",
        help="list the kinds of data source, check one, draft its card, prepare one, unify images",
    )
    inner = group.add_subparsers(required=True, metavar="list|check|card|prepare|unify")
    kinds = inner.add_parser("list", help="the kinds of source")
    kinds.set_defaults(run=list_kinds)
    check = inner.add_parser("check", help="splits, classes, patients and leaks of a source")
    check.set_defaults(run=check_source)
    check.add_argument("source", type=options.source_name)
    options.add_source_options(check)
    check.add_argument(
        "--synthetic",
        metavar="DIR",
        help="finished images of a generator; say where they differ from the source in file format, "
        "size or sharpness",
    )
    check.add_argument(
        "--strict",
        action="store_true",
        help="exit code 1 where there is a warning: copies across splits or roles, or such a difference",
    )
    card = inner.add_parser(
        "card", help="a data card of a source in Markdown, as far as it can be counted"
    )
    card.set_defaults(run=draft_card)
    card.add_argument("source", type=options.source_name)
    options.add_source_options(card)
    add_prepare(inner)
    _add_unify(inner)


def _add_unify(inner: options.Verbs) -> None:
    unify = inner.add_parser(
        "unify", help="write real and synthetic images anew, in one size and one file format"
    )
    unify.set_defaults(run=unify_images, ranges=[SIZES, QUALITIES])
    unify.add_argument("source", type=options.source_name, help="the real images")
    unify.add_argument("synthetic", metavar="DIR", help="finished images of a generator")
    options.add_source_options(unify)
    unify.add_argument("--size", type=int, default=64, help="side in pixels (default: 64)")
    unify.add_argument("--quality", type=int, default=75, help="of JPEG (default: 75)")
    options.add_out(unify)


def list_kinds(_: argparse.Namespace) -> int:
    """Print a line on each kind of source, then what `data prepare` makes a source of."""
    from medisyn_lib.data.kinds import KINDS
    from medisyn_lib.data.prepare.catalogue import FORMATS, PUBLIC_SETS

    _print_table([{"kind": name, "help": kind.help} for name, kind in KINDS.items()])
    print("\nmedisyn data prepare NAME DIR --out OUT makes a folder: of these")
    formats = [{"name": name, "what": one.help} for name, one in FORMATS.items()]
    sets = [
        {"name": name, "what": one.title, "licence": one.licence, "where": one.where}
        for name, one in PUBLIC_SETS.items()
    ]
    _print_table(formats)
    print()
    _print_table(sets)
    return 0


def check_source(arguments: argparse.Namespace) -> int:
    """Print what a source holds, a line each modality, and warn of copies and of what tells images apart."""
    from medisyn_lib.data import check, copies

    warnings = []
    if arguments.synthetic:
        warnings = _storage_warnings(arguments.source, arguments.synthetic)
    rows = check.check_source(arguments.source)
    for row in rows:
        warnings += copies.warnings_of(row)
    _print_table(rows)
    for warning in warnings:
        print(f"medisyn: warning: {warning}", file=sys.stderr)
    return COPIES_FOUND if warnings and arguments.strict else 0


def _storage_warnings(source: str, text: str) -> list[str]:
    """Where a source's images and finished ones differ in how they are stored, and what to do about it."""
    from medisyn_lib.data import storage

    folder = options.checked_images(text, "--synthetic")
    return storage.advice(real=storage.of_source(source), synthetic=storage.of_finished(folder))


def unify_images(arguments: argparse.Namespace) -> int:
    """Write both groups of images anew, alike."""
    out = options.checked_folder(arguments.out)
    folder = options.checked_images(arguments.synthetic, "DIR")
    from medisyn_lib.data import sources
    from medisyn_lib.data.unify import unify

    sources.preflight(arguments.source)
    sources.preflight_finished(folder)
    for written in unify(
        arguments.source, folder, out, side=arguments.size, quality=arguments.quality
    ):
        print(f"written to {written}")
    return 0


def draft_card(arguments: argparse.Namespace) -> int:
    """Print a data card in Markdown, to be completed by hand."""
    from medisyn_lib.data import cards

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
