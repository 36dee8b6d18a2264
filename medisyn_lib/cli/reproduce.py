"""`medisyn reproduce`: run the notebooks, write figures and the scorecard."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from medisyn_lib.cli import options, run_notebooks
from medisyn_lib.models import bases
from medisyn_lib.runtime.paths import from_root, resolve_out
from medisyn_lib.runtime.provenance import run_name
from medisyn_lib.runtime.store import preflight_store

BAD_INPUT = 2  # exit codes, as `medisyn_lib.cli.main` lists them
FAILED = 4


def add_verb(verbs: options.Verbs) -> None:
    """Add `reproduce` to the command line."""
    verb = verbs.add_parser(
        "reproduce",
        parents=[options.study_options()],
        help="run the notebooks, write figures and the scorecard",
    )
    verb.set_defaults(run=run)
    verb.add_argument(
        "names",
        nargs="*",
        metavar="NN",
        help="notebook numbers, such as 00 01 99 (default: all)",
    )
    verb.add_argument(
        "--generator",
        default="",
        help="what to judge: flagship, trained (here), a diffusers folder or hub id "
        "(default: flagship with phantoms in quick, else trained)",
    )
    options.add_base(verb)
    options.add_jobs(verb)
    verb.add_argument("--out", help="output folder (default: build/<profile>-<data>)")


def run(arguments: argparse.Namespace) -> int:
    """Check what was given and run the notebooks; return the exit code."""
    chosen = run_notebooks.select_notebooks(arguments.names)
    generator = arguments.generator
    if generator not in ("", options.FLAGSHIP, options.TRAINED):
        generator = options.checked_model(generator, "--generator")
    numbers = [path.name[:2] for path in chosen]
    base = options.checked_base(arguments.base, arguments.profile, numbers)
    if arguments.out is None:
        out = resolve_out(
            f"build/{run_name(arguments.profile, arguments.data, bases.base_label(base))}"
        )
    else:
        out = options.checked_folder(arguments.out)
    arguments.out = str(out)  # where `main` keeps the traceback of an unforeseen error
    code = reproduce(
        arguments.names,
        profile=arguments.profile,
        data=arguments.data,
        generator=generator,
        base=base,
        out=out,
        jobs=arguments.jobs,
    )
    if code != BAD_INPUT:
        from medisyn_lib.reporting.run_page import write_run_page

        print(f"open {write_run_page(out, arguments.profile, arguments.data)}")
    return code


def reproduce(
    names: Sequence[str],
    *,
    profile: str,
    data: str,
    generator: str,
    out: Path,
    jobs: int,
    base: str = "",
    seed: int = 0,
    encoder: str = "",
) -> int:
    """Run notebooks on input that is checked down to its bytes first.

    Parameters
    ----------
    names : sequence of str
        Numbers or names of notebooks; all for none.
    profile, data : str
        The run's size and its data source.
    generator : str
        An absolute folder, a hub id, `flagship` or `trained`; empty for the profile's default.
    out : Path
        Absolute output folder.
    jobs : int
        How many notebooks run at a time.
    base : str
        What generators are fine-tuned from, checked (`options.checked_base`); empty: trained from scratch.
    seed : int
        Of the first image sampled, for notebooks that take one; 0 leaves their own default.
    encoder : str
        Of photographs, for notebooks that take one; empty leaves their own default.

    Returns
    -------
    int
        0; 2 where a notebook found its input to be bad, 4 where one failed.
    """
    from medisyn_lib.data import sources

    if Path(generator).is_absolute():
        generator = from_root(generator)
    preflight_store()
    options.preflight_compiler(profile, base)
    sources.preflight(data)
    own: dict[str, int | str] = {"seed": seed, "encoder": encoder}
    parameters = {name: value for name, value in own.items() if value}
    outcomes = run_notebooks.reproduce(
        names,
        profile=profile,
        data=data,
        generator=generator,
        base=base,
        out=out,
        jobs=jobs,
        **parameters,
    )
    print(f"written to {out}")
    failed = [outcome for outcome in outcomes if outcome.error]
    return max((BAD_INPUT if one.bad_input else FAILED for one in failed), default=0)
