"""`medisyn audit --compare`: two generators side by side, paired by prompt and seed, without a verdict."""

from __future__ import annotations

import argparse

from medisyn_lib.cli import options
from medisyn_lib.errors import InputError
from medisyn_lib.runtime.store import preflight_store

LEFT_TO_CLAIMS = ("claims", "encoder")  # options of an audit of one generator


def compare(arguments: argparse.Namespace) -> int:
    """Compare two generators, write `compare.html` and `compare.json`, and return 0."""
    names = [_checked_generator(text) for text in arguments.compare]
    finished_images = _are_image_folders(names)
    for name in LEFT_TO_CLAIMS:
        if getattr(arguments, name):
            raise InputError(f"--{name}: is of an audit's claims; leave it out beside --compare")
    if arguments.seed and finished_images:
        raise InputError("--seed: finished images are not sampled; leave it out")
    out = options.checked_folder(arguments.out)
    preflight_store()

    from medisyn_lib.data import sources
    from medisyn_lib.evaluation import generator_pair
    from medisyn_lib.pipeline.judged import judged_generator
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.reporting import generator_pair_page

    sources.preflight(arguments.data)
    study = Study(arguments.profile, arguments.data)
    a, b = (judged_generator(study, name) for name in names)
    if finished_images:
        pair = generator_pair.finished_pair(a, b)
    else:
        pair = generator_pair.sampled_pair(a, b, arguments.seed)
    measured = generator_pair.measure(pair)
    for sentence in generator_pair_page.sentences(measured):
        print(sentence)
    page = generator_pair_page.write_pair(out, pair, measured)
    print(f"no rule was fixed, so that there is no verdict; page in {page}")
    return 0


def _checked_generator(text: str) -> str:
    """The flagship's name, an absolute folder or a hub id. Raises InputError as `options.checked_model`."""
    return text if text == options.FLAGSHIP else options.checked_model(text, "--compare")


def _are_image_folders(names: list[str]) -> bool:
    """Say whether both are folders of finished images. Raises InputError where one is and one is not."""
    kinds = {options.is_image_folder(name) for name in names}
    if len(kinds) > 1:
        raise InputError(
            "--compare: one is a folder of images, the other a pipeline; give two of a kind, such as images "
            "that the pipeline has drawn of the same captions"
        )
    return kinds.pop()
