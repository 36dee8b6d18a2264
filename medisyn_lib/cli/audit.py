"""`medisyn audit`: judge someone's generator by the claims' notebooks, with one code and one report."""

from __future__ import annotations

import argparse
from pathlib import Path

from medisyn_lib.claims.results import Result, read_result
from medisyn_lib.cli import audit_pair, options, run_notebooks
from medisyn_lib.cli.ahead import made_ahead
from medisyn_lib.cli.reproduce import reproduce
from medisyn_lib.errors import InputError
from medisyn_lib.reporting import audit, audit_report
from medisyn_lib.sampling.native_size import native_side


def add_verb(verbs: options.Verbs) -> None:
    """Add `audit` to the command line."""
    verb = verbs.add_parser(
        "audit",
        help="judge a generator, with a report; exit code 0: claims supported, 1: one contradicted, 3: could not tell",
    )
    verb.set_defaults(run=run, ranges=[options.SEEDS])
    judged = verb.add_mutually_exclusive_group(required=True)
    options.add_generator(judged)
    judged.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="two of these (or flagship) side by side, paired by prompt and seed; no claim, no verdict",
    )
    verb.add_argument(
        "--data",
        required=True,
        type=options.source_name,
        help="what it was trained on: phantom, npz:DIR, ...",
    )
    verb.add_argument(
        "--claims",
        help="by commas: training, alignment, memorization, augmentation (default: all that apply)",
    )
    options.add_source_options(verb)
    verb.add_argument(
        "--encoder",
        help="that looks for copies; memorization alone takes one: efflite0 (default), dinov2, rad-dino, biomedclip, "
        "timm:NAME@FILE.safetensors or hf:FOLDER",
    )
    options.add_profile(verb)
    options.add_seed(verb, "of the first image drawn; memorization alone takes one (default: 0)")
    options.add_jobs(verb)
    options.add_out(verb)


def run(arguments: argparse.Namespace) -> int:
    """Run the notebooks that can judge the generator, say what came of each, write the report; or compare two."""
    if arguments.compare:
        return audit_pair.compare(arguments)
    generator = options.checked_model(arguments.generator, "--generator")
    finished_images = options.is_image_folder(generator)
    untested = audit.choose_claims(
        arguments.claims,
        finished_images=finished_images,
        seed=bool(arguments.seed),
        encoder=bool(arguments.encoder),
    )
    encoder = options.encoder_name(arguments.encoder) if arguments.encoder else ""
    notebooks = [audit.CLAIMS[name] for name, reason in untested.items() if not reason]
    run_notebooks.select_notebooks(notebooks)
    out = options.checked_folder(arguments.out)
    arguments.out = str(out)
    notes = _storage_notes(arguments.data, generator, finished_images)
    shared = {"profile": arguments.profile, "data": arguments.data, "jobs": arguments.jobs}
    with made_ahead(notebooks, **shared):
        failed = reproduce(
            notebooks,
            **shared,
            generator=generator,
            out=out,
            seed=arguments.seed,
            encoder=encoder,
        )
    results = _report_results(out, untested)
    notes += audit_report.notes(out, notebooks)
    for note in notes:
        print(f"note: {note}")
    if results:
        page = audit_report.write_report(out, generator, finished_images, results, untested, notes)
        print(f"report in {page}, as JSON in {page.with_suffix('.json').name}")
        if (out / audit_report.REAL_REPORT).is_file():
            print(f"with real images, for yourself alone: {audit_report.REAL_REPORT}")
    return failed or audit.exit_code(results.values())


def _storage_notes(data: str, generator: str, finished_images: bool) -> list[str]:
    """Say where real and synthetic images differ in how they are stored.

    Raises InputError for finished images that cannot be read, or of which none shows anything.
    """
    from medisyn_lib.data import sources, storage

    if finished_images:
        synthetic = storage.of_finished(generator)
        if not synthetic.sharpness:
            fault = f"all of its {synthetic.blank} images are of one colour"
            raise InputError(f"--generator {generator!r}: {fault}; give images that show something")
    else:
        synthetic = storage.of_sampled(native_side(generator))
    if data == "phantom" and not finished_images:
        return []  # neither of them is stored
    sources.preflight(data)
    return storage.advice(real=storage.of_source(data), synthetic=synthetic)


def _report_results(out: Path, untested: dict[str, str]) -> dict[str, Result]:
    """Print a sentence on each claim and return the results; name in `untested` those that failed."""
    results = {}
    for name, notebook in audit.CLAIMS.items():
        path = out / "results" / f"{notebook}.json"
        if not untested[name] and not path.is_file():
            untested[name] = f"failed, see notebooks/{notebook}.failed.log"
        if untested[name]:
            print(f"{name}: not tested: {untested[name]}")
        else:
            results[name] = read_result(path)
            for sentence in audit.sentences(results[name]):
                print(f"{name}: {sentence}")
    return results
