"""`medisyn readers`: make a blinded reader study, or analyse its answers."""

from __future__ import annotations

import argparse

from medisyn_lib.cli import options
from medisyn_lib.errors import InputError
from medisyn_lib.reader_study.texts import DEFAULTS, read_texts
from medisyn_lib.runtime.paths import from_shell
from medisyn_lib.runtime.store import preflight_store

FEWEST_PAIRS = 12
READERS = options.Range("--readers", 1, 100)
MARGINS = options.Range("--margin", 1, 40)  # percentage points
PAIRS = options.Range("--pairs", FEWEST_PAIRS, 1000)


def add_verb(verbs: options.Verbs) -> None:
    """Add `readers new` and `readers analyse` to the command line."""
    group = verbs.add_parser("readers", help="make a blinded reader study, or analyse its answers")
    inner = group.add_subparsers(required=True, metavar="new|analyse")
    _add_new(inner)
    analyse = inner.add_parser(
        "analyse", help="check the answer files in DIR/answers and say what they show"
    )
    analyse.set_defaults(run=run_analyse)
    analyse.add_argument("folder", metavar="DIR", type=from_shell)


def _add_new(inner: options.Verbs) -> None:
    new = inner.add_parser(
        "new",
        parents=[options.judged_generator()],
        help="one page a reader, the key that unblinds it, and the protocol",
    )
    new.set_defaults(run=run_new, ranges=[READERS, MARGINS, PAIRS, options.SEEDS])
    new.add_argument(
        "--data",
        type=options.source_name,
        default="phantom",
        help="of the real images: as for reproduce (default: phantom)",
    )
    options.add_source_options(new)
    new.add_argument("--readers", type=int, default=4, help="how many (default: 4)")
    new.add_argument(
        "--margin",
        type=float,
        default=10,
        help="of equivalence to 50%%, in points (default: 10)",
    )
    new.add_argument(
        "--pairs",
        type=int,
        help="of a real and a synthetic image (default: what the margin needs)",
    )
    new.add_argument(
        "--texts",
        metavar="DIR",
        type=from_shell,
        help="folder of consent.txt and instructions.txt (default: those that ship)",
    )
    options.add_seed(new, "of the order and the sides (default: 0)")
    options.add_out(new)


def run_new(arguments: argparse.Namespace) -> int:
    """Write a study to a folder that holds none yet, and print its power calculation."""
    model = options.checked_model(arguments.generator, "--generator")
    out = options.checked_folder(arguments.out)
    if (out / "key.json").exists():
        fault = "holds a reader study already; give another folder"
        raise InputError(f"--out {arguments.out!r}: {fault}")
    texts = arguments.texts or DEFAULTS
    read_texts(texts)
    preflight_store()
    from medisyn_lib.data import sources
    from medisyn_lib.reader_study import kit

    sources.preflight(arguments.data)
    if options.is_image_folder(model):
        sources.preflight_finished(model)
    margin = arguments.margin / 100
    table = kit.new(
        model,
        arguments.data,
        out,
        readers=arguments.readers,
        pairs=max(_pairs(arguments, margin), FEWEST_PAIRS),
        margin=margin,
        seed=arguments.seed,
        texts=texts,
    )
    print(table)
    print(
        f"one page a reader in {out / 'pages'}; keep key.json to yourself; "
        "how to go on stands in PROTOCOL.md"
    )
    return 0


def _pairs(arguments: argparse.Namespace, margin: float) -> int:
    """Return the number of pairs: as arguments, else what the margin needs."""
    from medisyn_lib.reader_study import power

    pairs = arguments.pairs or power.pairs_needed(margin, arguments.readers)
    if not pairs:
        fault = f"too small for {arguments.readers} readers; take more or give --pairs"
        raise InputError(f"--margin {arguments.margin:g}: {fault}")
    return int(pairs)


def run_analyse(arguments: argparse.Namespace) -> int:
    """Print what the answers show; table and figures come to the folder's `analysis/`."""
    from medisyn_lib.reader_study import report

    options.checked_folder(str(arguments.folder / "analysis"), "folder")
    print(report.report(arguments.folder))
    return 0
