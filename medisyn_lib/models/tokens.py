"""Prompts as token numbers: a tokenizer learnt from captions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer
from medisyn_lib.models.networks import CONTEXT


def learn_tokenizer(captions: Iterable[str], vocabulary: int = 2048) -> CLIPTokenizer:
    """A CLIP byte-pair tokenizer learnt from captions; every byte is in it, so any text has tokens."""
    import json

    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    symbols = sorted(ByteLevel.alphabet())
    # Ends of words are told beforehand: pairs of equal counts are merged in the order of their numbers, else by luck.
    symbols += [f"{symbol}</w>" for symbol in symbols]
    settings = {"new_special_tokens": symbols[256:], "show_progress": False}
    learnt = CLIPTokenizer().train_new_from_iterator(captions, vocabulary, **settings)
    merges = [
        tuple(pair) for pair in json.loads(learnt.backend_tokenizer.to_str())["model"]["merges"]
    ]
    token_numbers = [*symbols, *("".join(pair) for pair in merges)]
    token_numbers = [*dict.fromkeys(token_numbers), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(token_numbers)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CONTEXT)


def token_numbers(learn_tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> torch.Tensor:
    """Token numbers (n, CONTEXT) int64. Raises InputError for a prompt that does not fit."""
    most = learn_tokenizer.model_max_length
    for prompt in prompts:
        if len(learn_tokenizer(prompt)["input_ids"]) > most:
            raise InputError(
                f"prompt {prompt[:40]!r}...: longer than the model's {most} tokens; shorten it"
            )
    return learn_tokenizer(list(prompts), padding="max_length", return_tensors="pt")["input_ids"]
