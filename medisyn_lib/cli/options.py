"""Options that several verbs share, and the checks of what they are given.

Nothing heavy is imported here: bad input is refused before anything is loaded for the work itself.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

from medisyn_lib.errors import InputError
from medisyn_lib.profiles import named_profile
from medisyn_lib.runtime.paths import from_root, from_shell
from medisyn_lib.runtime.store import creatable

__all__ = [
    "FLAGSHIP",
    "SEEDS",
    "TRAINED",
    "OneLineParser",
    "Range",
    "Verbs",
    "add_base",
    "add_generator",
    "add_jobs",
    "add_out",
    "add_profile",
    "add_seed",
    "add_source_options",
    "check_ranges",
    "checked_base",
    "checked_folder",
    "checked_images",
    "checked_model",
    "encoder_name",
    "is_image_folder",
    "judged_generator",
    "preflight_compiler",
    "source_name",
    "study_options",
    "take_source_options",
]

# What `pipeline.judged` calls the project's own generators; importing that would load torch.
FLAGSHIP, TRAINED = "flagship", "trained"
PIPELINE_FILE = "model_index.json"  # lies in the folder of a diffusers pipeline
IMAGES_FILE = "metadata.csv"  # lies in a folder of finished images
HUB_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
JOBS = (1, 2, 3, 4, 6, 8)


class OneLineParser(argparse.ArgumentParser):
    """A parser that refuses bad arguments with one line in place of argparse's usage and exit."""

    def error(self, message: str) -> NoReturn:
        """Raise the parser's message as InputError."""
        raise InputError(f"{message} (see `{self.prog} --help`)")


Verbs: TypeAlias = "argparse._SubParsersAction[OneLineParser]"


class Range(NamedTuple):
    """The values that a number on the command line may take, both ends included."""

    option: str
    lowest: int
    highest: int


SEEDS = Range("--seed", 0, 2**31 - 1)


def check_ranges(options: argparse.Namespace) -> None:
    """Raise InputError for a number outside the ranges that its verb has set as `ranges`."""
    for option, lowest, highest in getattr(options, "ranges", ()):
        value = getattr(options, option.lstrip("-"))
        if value is not None and not lowest <= value <= highest:
            fault = f"{option} is {value}: give a number from {lowest} to {highest}"
            raise InputError(fault)


def study_options() -> OneLineParser:
    """Return the parent of verbs that train: profile and data source."""
    parent = OneLineParser(add_help=False)
    add_profile(parent)
    parent.add_argument(
        "--data",
        type=source_name,
        default="phantom",
        help="phantom, npz:DIR, medmnist:NAME, folder:DIR or hub:OWNER/NAME",
    )
    add_source_options(parent)
    return parent


def judged_generator() -> OneLineParser:
    """Return the parent of verbs that judge a generator, or images that it made."""
    parent = OneLineParser(add_help=False)
    add_generator(parent, required=True)
    return parent


def add_generator(verb: argparse._ActionsContainer, **changed: Any) -> None:
    """Add `--generator`, which is judged, or a folder of images that it made."""
    verb.add_argument(
        "--generator",
        help="a diffusers folder or hub id, or a folder of images with metadata.csv",
        **changed,
    )


def add_profile(verb: argparse.ArgumentParser) -> None:
    """Add `--profile`, one of the names of `profiles.toml`."""
    verb.add_argument(
        "--profile",
        type=profile_name,
        default="quick",
        help="tiny, quick, full, gpu or cluster (default: quick)",
    )


def add_seed(verb: argparse.ArgumentParser, help_text: str) -> None:
    """Add `--seed`, whose values `SEEDS` limits."""
    verb.add_argument("--seed", type=int, default=0, help=help_text)


def add_jobs(
    verb: argparse.ArgumentParser,
    default: int = 3,
    help_text: str = "so many notebooks at a time, which share the cores (default: 3)",
) -> None:
    """Add `--jobs`, how much is done at a time."""
    verb.add_argument("--jobs", type=int, default=default, choices=JOBS, help=help_text)


def add_base(verb: argparse.ArgumentParser) -> None:
    """Add `--base`, what generators are fine-tuned from."""
    verb.add_argument(
        "--base",
        default="",
        help="fine-tune all generators from this pipeline, a folder or hub id, of the Stable Diffusion 1.5 or 2.1 "
        "kind, by adapters; with ?whole behind it the whole denoiser (default: train from scratch)",
    )


def preflight_compiler(profile: str, base: str) -> None:
    """Refuse a profile whose denoisers are compiled where there is no compiler; fine-tuned ones are not.

    Raises
    ------
    InputError
        Where neither `g++` nor what the variable CXX names is found.
    """
    compiler = os.environ.get("CXX") or "g++"
    if named_profile(profile).compiled and not base and not shutil.which(compiler):
        fault = f"compiles its networks, and {compiler!r} is not found"
        raise InputError(
            f"profile {profile!r}: {fault}; install a C++ compiler, or name one by CXX"
        )


def checked_base(text: str, profile: str, parts: Sequence[str]) -> str:
    """Return a base as notebooks take it, found, checked and with room for what follows from it.

    A base of another image size than the profile's is said to be so, on stderr.

    Parameters
    ----------
    text : str
        What was typed; empty stays empty.
    profile : str
        Name of the run's profile.
    parts : sequence of str
        What will be run, as of `disk_space.check_room`.

    Raises
    ------
    InputError
        As `bases.find_base` and `disk_space.check_room`.
    """
    if not text:
        return ""
    from medisyn_lib.models import bases
    from medisyn_lib.pipeline.disk_space import check_room
    from medisyn_lib.profiles import named_profile

    model, whole = bases.split_base(text)
    model = checked_model(model, "--base", or_images=False)
    suffix, size = bases.WHOLE if whole else "", named_profile(profile).size
    base = bases.find_base(model + suffix, size)
    check_room(base, profile, parts)
    if base.shape.pixels not in (0, size):
        fault = f"was made for images of {base.shape.pixels} pixels"
        print(
            f"medisyn: base {base.label}: {fault}; trained on, and sampled, at {size}",
            file=sys.stderr,
        )
    return (from_root(model) if Path(model).is_absolute() else model) + suffix


def add_source_options(verb: argparse.ArgumentParser) -> None:
    """Add how a source `folder:` or `hub:` is read: `--split-map` and `--caption-words`."""
    verb.add_argument(
        "--split-map",
        action="append",
        default=[],
        metavar="OTHER=SPLIT",
        help="which of train, val and test a folder's or hub set's own name of a split means; "
        "give it once for each name",
    )
    verb.add_argument(
        "--caption-words",
        type=int,
        metavar="N",
        help="cut captions to so many words (default: whole)",
    )


def take_source_options(arguments: argparse.Namespace) -> None:
    """Write `--split-map` and `--caption-words` behind the source, whose name they are part of from here.

    Raises InputError for a source of a kind that takes none, and for a map that is not OTHER=SPLIT.
    """
    maps, words = getattr(arguments, "split_map", []), getattr(arguments, "caption_words", None)
    if not maps and words is None:
        return
    from medisyn_lib.data import source_options

    name = "source" if hasattr(arguments, "source") else "data"
    source = getattr(arguments, name)
    if source.partition(":")[0] not in ("folder", "hub"):
        raise InputError(
            f"--split-map, --caption-words: data source {source!r} takes none of these"
        )
    meaning = {}
    for text in maps:
        other, _, split = text.rpartition("=")
        if not other:
            raise InputError(f"--split-map {text!r}: write OTHER=train, OTHER=val or OTHER=test")
        meaning[other] = split
    source = source_options.with_options(source, split_map=meaning, words=words)
    source_options.parse(source)
    setattr(arguments, name, source)


def add_out(verb: argparse.ArgumentParser) -> None:
    """Add `--out`, a folder that must be given."""
    verb.add_argument("--out", required=True, help="output folder")


def profile_name(text: str) -> str:
    """Return the name of a profile. Raises ArgumentTypeError for an unknown one."""
    from medisyn_lib.profiles import PROFILES

    if text not in PROFILES:
        choice = ", ".join(PROFILES)
        raise argparse.ArgumentTypeError(f"{text!r} is unknown: choose one of {choice}")
    return text


def encoder_name(text: str) -> str:
    """Return an encoder's name with its file or folder, typed where the shell stands, from the project's root.

    Raises InputError for one that has a name of its own, and no weights on this machine.
    """
    from medisyn_lib.models.encoder_weights import NAMED, local_folder

    kind, _, place = text.partition(":")
    if text in NAMED:
        local_folder(NAMED[text])
    elif kind == "hf" and place:
        return f"hf:{from_root(place)}"
    elif kind == "timm" and "@" in place:
        architecture, _, file = place.rpartition("@")
        return f"timm:{architecture}@{from_root(file)}"
    elif text != "efflite0":
        choice = ", ".join(["efflite0", *NAMED])
        raise InputError(
            f"--encoder {text!r} is unknown: choose {choice}, timm:NAME@FILE.safetensors or hf:FOLDER"
        )
    return text


def source_name(text: str) -> str:
    """Return a data source with its folder, typed where the shell stands, from the project's root."""
    kind, _, folder = text.partition(":")
    if kind in ("npz", "folder") and folder:
        return f"{kind}:{from_root(folder)}"
    return text


def is_image_folder(generator: str) -> bool:
    """Say whether a generator is a folder of finished images, which has no model."""
    return Path(generator).is_dir() and not Path(generator, PIPELINE_FILE).is_file()


def checked_images(text: str, option: str) -> str:
    """Return the absolute folder of finished images. Raises InputError where it holds no metadata.csv."""
    folder = from_shell(text)
    if not text or not (folder / IMAGES_FILE).is_file():
        raise InputError(
            f"{option} {text!r}: no folder with {IMAGES_FILE} there; give finished images"
        )
    return str(folder)


def checked_model(text: str, option: str, *, or_images: bool = True) -> str:
    """Return the absolute folder of a generator, or its hub id as it is.

    Parameters
    ----------
    text : str
        What was typed.
    option : str
        The option that it was typed for, which a refusal names.
    or_images : bool
        Whether a folder of finished images will do as well as a diffusers pipeline.

    Raises
    ------
    InputError
        For neither a folder nor a hub id, a folder without its index, or a pipeline without text.
    """
    folder = from_shell(text)
    if not text or not folder.is_dir():
        if not re.fullmatch(HUB_ID, text):
            raise InputError(f"{option} {text!r}: no such folder, nor a hub id such as OWNER/NAME")
        return text
    expected = [PIPELINE_FILE, IMAGES_FILE] if or_images else [PIPELINE_FILE]
    if not any((folder / name).is_file() for name in expected):
        fault = f"has no {' or '.join(expected)}; name a diffusers pipeline folder"
        raise InputError(f"{option} {text!r}: {fault}")
    settings = folder / "sampling.json"
    if _has_no_tokenizer(folder / PIPELINE_FILE) and not settings.is_file():
        fault = f"takes no text; say in {settings.name} which `captions` mean a class"
        raise InputError(f"{option} {text!r}: {fault}")
    return str(folder)


def _has_no_tokenizer(index: Path) -> bool:
    """Say whether the index of a pipeline, if there is one, names no tokenizer."""
    return index.is_file() and "tokenizer" not in index.read_text("utf-8", "replace")


def checked_folder(text: str, option: str = "--out") -> Path:
    """Return an output folder as an absolute path. Raises InputError where it cannot be written."""
    if not text or not creatable(from_shell(text)):
        raise InputError(f"{option} {text!r}: cannot be written; give a folder that can")
    return from_shell(text)
