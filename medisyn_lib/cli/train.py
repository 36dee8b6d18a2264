"""`medisyn train`: train what notebook 02 compares, on one process or on many."""

from __future__ import annotations

import argparse

from medisyn_lib.cli import options
from medisyn_lib.runtime.store import preflight_store


def add_verb(verbs: options.Verbs) -> None:
    """Add `train` to the command line."""
    verb = verbs.add_parser(
        "train",
        parents=[options.study_options()],
        help="train generalist and specialists, draw and describe their images; also on many processes or machines",
    )
    verb.set_defaults(run=run)
    options.add_base(verb)


def run(arguments: argparse.Namespace) -> int:
    """Train on all processes of `accelerate launch -m medisyn_lib.cli train`; the first prints the folders."""
    from medisyn_lib.data import sources
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.pipeline.suite import suite
    from medisyn_lib.runtime import distributed
    from medisyn_lib.runtime.device import accelerator

    preflight_store()
    options.preflight_compiler(arguments.profile, arguments.base)
    sources.preflight(arguments.data)
    base = options.checked_base(arguments.base, arguments.profile, ["train"])
    folders = suite(Study(arguments.profile, arguments.data, base=base))
    accelerator().print(*folders, sep="\n")
    distributed.close_processes()
    return 0
