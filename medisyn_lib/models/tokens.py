"""Prompts as token numbers: a tokenizer learnt from captions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from medisyn_lib.errors import InputError
from medisyn_lib.models.networks import CONTEXT

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
# Setting of a tokenizer whose model was trained on captions cut to its context, and reads prompts so.
CUTS = "cuts_long_prompts"


class Captions(NamedTuple):
    """The different captions of images, sorted, and the number among them of each image's, int64 (n,)."""

    unique: list[str]
    number: np.ndarray


def distinct(captions: Iterable[str]) -> Captions:
    """Return the different captions, and which one each image has; each is in memory once."""
    places: dict[str, int] = {}
    appeared = np.fromiter((places.setdefault(text, len(places)) for text in captions), np.int64)
    unique = sorted(places)
    sorted_place = np.empty(len(unique), np.int64)
    sorted_place[[places[text] for text in unique]] = np.arange(len(unique))
    return Captions(unique, sorted_place[appeared])


def learn_tokenizer(captions: Iterable[str], vocabulary: int = 2048) -> CLIPTokenizer:
    """Learn a CLIP byte-pair tokenizer from captions; every byte is in it, so any text has tokens.

    Parameters
    ----------
    captions : iterable of str
        The same captions give the same tokenizer.
    vocabulary : int
        Number of tokens at most.
    """
    from tokenizers.pre_tokenizers import ByteLevel

    symbols = sorted(ByteLevel.alphabet())
    # Word endings are listed beforehand: pairs of equal counts are merged in the order of their
    # numbers, which otherwise depends on the memory's addresses.
    word_endings = [f"{symbol}</w>" for symbol in symbols]
    learnt = _clip_tokenizer({START: 0, END: 1}, []).train_new_from_iterator(
        captions, vocabulary, new_special_tokens=word_endings, show_progress=False
    )
    model = json.loads(learnt.backend_tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    merged = ["".join(pair) for pair in merges]
    tokens = [*dict.fromkeys([*symbols, *word_endings, *merged]), START, END]
    numbers = {token: number for number, token in enumerate(tokens)}
    return _clip_tokenizer(numbers, merges)


def _clip_tokenizer(numbers: dict[str, int], merges: list[tuple[str, str]]) -> CLIPTokenizer:
    """Make CLIP's tokenizer of these tables, which transformers 4 takes as files only."""
    import transformers

    if int(transformers.__version__.split(".")[0]) > 4:
        return transformers.CLIPTokenizer(numbers, merges, model_max_length=CONTEXT)
    with TemporaryDirectory() as folder:
        files = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        files[0].write_text(json.dumps(numbers))
        files[1].write_text("\n".join(["#version: 0.2", *map(" ".join, merges)]), "utf-8")
        return transformers.CLIPTokenizerFast(*map(str, files), model_max_length=CONTEXT)


def token_numbers(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> torch.Tensor:
    """Return token numbers, int64 (n, context), padded to the tokenizer's context.

    A tokenizer of the setting `CUTS` cuts longer prompts.

    Raises
    ------
    InputError
        As `check_lengths`.
    """
    cuts = bool(tokenizer.init_kwargs.get(CUTS))
    if not cuts:
        check_lengths(tokenizer, prompts)
    written = tokenizer(list(prompts), padding="max_length", truncation=cuts, return_tensors="pt")
    return written["input_ids"]


def check_lengths(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> None:
    """Raise InputError where prompts are longer than the model reads: how many, and what would fit."""
    long = too_long(tokenizer, prompts)
    if not long:
        return
    fits = _words_that_fit(tokenizer, long)
    raise InputError(
        f"{len(long)} of {len(prompts)} prompts are longer than the model's "
        f"{tokenizer.model_max_length} tokens, the first of them {long[0][:40]!r}...: "
        f"shorten to {fits} words (captions of a data source: with --caption-words {fits})"
    )


def too_long(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> list[str]:
    """Return the prompts that have more tokens than the tokenizer's context."""
    if not prompts:
        return []
    numbers = tokenizer(list(prompts), verbose=False)["input_ids"]  # else it warns by itself
    is_long = (len(row) > tokenizer.model_max_length for row in numbers)
    return [prompt for prompt, long in zip(prompts, is_long, strict=True) if long]


def _words_that_fit(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> int:
    """The most words, at least one, to which all prompts can be cut so that they fit."""
    fits, too_many = 1, max(len(prompt.split()) for prompt in prompts) + 1
    while too_many - fits > 1:
        tried = (fits + too_many) // 2
        cut = [" ".join(prompt.split()[:tried]) for prompt in prompts]
        fits, too_many = (fits, tried) if too_long(tokenizer, cut) else (tried, too_many)
    return fits
