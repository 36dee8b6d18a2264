"""`medisyn data prepare`: from files as their owners ship them to a checked `folder:`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medisyn_lib.cli import options
from medisyn_lib.errors import InputError
from medisyn_lib.runtime.paths import from_shell

if TYPE_CHECKING:
    from medisyn_lib.data.prepare.steps import FormatOptions

MAX_SLICES = 1000  # of a volume
FORMAT_OPTIONS = ("salt", "modality", "window", "labels", "slices")


def add_prepare(inner: options.Verbs) -> None:
    """Add `data prepare` to the command line."""
    verb = inner.add_parser(
        "prepare",
        help="make a checked folder: of a public set's download, or of DICOM or NIfTI files",
    )
    verb.set_defaults(run=run, ranges=[options.Range("--slices", 1, MAX_SLICES)])
    verb.add_argument(
        "name", help="a name that `medisyn data list` shows, such as ham10000 or dicom"
    )
    verb.add_argument("dir", help="the unpacked download, or the folder of your files")
    options.add_out(verb)
    own = verb.add_argument_group("only for dicom and nifti")
    own.add_argument("--salt", help="file with a secret of yours, which names are hashed with")
    own.add_argument("--modality", help="what captions call the images, such as ct or brain_mri")
    own.add_argument(
        "--window",
        help="soft_tissue, lung, brain, bone or CENTRE,WIDTH"
        " (default: soft_tissue for CT in DICOM, else 1st to 99th percentile)",
    )
    own.add_argument(
        "--labels", help="table: file_name and, as known, finding, text, split, sex, ..."
    )
    own.add_argument("--slices", type=int, help="axial slices of each NIfTI volume (default: 5)")


def run(arguments: argparse.Namespace) -> int:
    """Make the folder and say what is in it and what to do next."""
    from medisyn_lib.data.prepare import steps
    from medisyn_lib.data.prepare.catalogue import FORMATS, PUBLIC_SETS

    name, folder, out = arguments.name, from_shell(arguments.dir), from_shell(arguments.out)
    if name not in (*PUBLIC_SETS, *FORMATS):
        choice = ", ".join((*PUBLIC_SETS, *FORMATS))
        raise InputError(f"{name!r} is unknown: choose one of {choice}")
    options.checked_folder(arguments.out)
    typed = [option for option in FORMAT_OPTIONS if getattr(arguments, option) is not None]
    if name in FORMATS:
        lines = steps.prepare_files(name, folder, out, _format_options(arguments))
    elif typed:
        raise InputError(f"--{typed[0]} is only for dicom and nifti: leave it out for {name}")
    else:
        lines = steps.prepare_set(name, folder, out)
    print("\n".join([*lines, f"written to {out}; next: medisyn data check folder:{arguments.out}"]))
    return 0


def _format_options(arguments: argparse.Namespace) -> FormatOptions:
    """What was typed for DICOM or NIfTI, with absolute paths."""
    from medisyn_lib.data.prepare.steps import SLICES, FormatOptions

    return FormatOptions(
        salt=from_shell(arguments.salt) if arguments.salt else None,
        modality=arguments.modality or "",
        window=arguments.window or "",
        labels=from_shell(arguments.labels) if arguments.labels else None,
        slices=arguments.slices or SLICES,
    )
