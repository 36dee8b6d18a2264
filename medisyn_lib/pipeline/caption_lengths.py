"""Captions that a text encoder to be trained could not read, found before anything is trained."""

from __future__ import annotations

from medisyn_lib.data import sources
from medisyn_lib.models.networks import CONTEXT
from medisyn_lib.models.tokens import check_lengths, learn_tokenizer
from medisyn_lib.pipeline.artifacts import ImageSet

MARKS = 2  # of the tokens: one begins a text, one ends it


def check_caption_lengths(images: ImageSet) -> None:
    """Check that all texts of a source fit the text encoder that will be trained on some of its images.

    Parameters
    ----------
    images
        The generator's images, whose captions the tokenizer is learnt from.

    Raises
    ------
    InputError
        Where texts are too long: how many, and to how many words they can be cut.
    """
    table = sources.checked_rows(images.source, sources.fingerprint(images.source))
    texts = sorted({row["text"] for row in table})
    if max((len(text.encode()) for text in texts), default=0) <= CONTEXT - MARKS:
        return  # a token holds a byte at least
    captions = sorted(set(images.load()["caption"][:]))
    check_lengths(learn_tokenizer(captions), texts)
