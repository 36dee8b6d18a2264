"""`medisyn generate`: write synthetic images of a prompt."""

from __future__ import annotations

import argparse

from medisyn_lib.cli import options
from medisyn_lib.errors import InputError

PROMPT_LIMIT = 2000  # characters


def add_verb(verbs: options.Verbs) -> None:
    """Add `generate` to the command line."""
    verb = verbs.add_parser("generate", help="write synthetic images of a prompt")
    verb.set_defaults(run=run, ranges=[options.Range("-n", 1, 10000), options.SEEDS])
    verb.add_argument(
        "--model",
        default=options.FLAGSHIP,
        help="a diffusers pipeline: folder or hub id (default: the flagship, which draws phantoms)",
    )
    verb.add_argument("--prompt", required=True)
    verb.add_argument("-n", type=int, default=4, help="how many images (default: 4)")
    options.add_seed(verb, "of the first image; the next ones count on (default: 0)")
    options.add_out(verb)


def run(arguments: argparse.Namespace) -> int:
    """Check what was given and write the images."""
    check_prompt(arguments.prompt)
    model = arguments.model
    if model != options.FLAGSHIP:
        model = options.checked_model(model, "--model", or_images=False)
    out = options.checked_folder(arguments.out)
    from medisyn_lib.pipeline import flagship
    from medisyn_lib.sampling.pipeline import generate

    if model == options.FLAGSHIP:
        model = str(flagship.folder())
    written = generate(model, arguments.prompt, arguments.n, arguments.seed, out)
    print(f"{len(written.paths)} synthetic images written to {out}")
    for count, reason in (
        (written.flagged, "flagged by the model's safety checker"),
        (written.blank, "of one colour"),
    ):
        if count:
            print(f"{count} of {arguments.n} images left out: {reason}")
    return 0


def check_prompt(prompt: str) -> None:
    """Raise InputError for a prompt that is empty, too long or would do harm where it is shown."""
    from medisyn_lib.data.rows import check_text

    check_text(prompt, "--prompt")  # metadata.csv, which holds it, may be opened in a spreadsheet
    if not prompt.isprintable():  # nor may it turn the direction of what is written after it
        raise InputError("--prompt holds control characters: write plain text on one line")
    if len(prompt) > PROMPT_LIMIT:
        fault = f"has {len(prompt)} characters: shorten it to {PROMPT_LIMIT}"
        raise InputError(f"--prompt {fault}")
