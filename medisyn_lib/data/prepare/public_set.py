"""A public set: what it is called, whose terms it is under, and the function that reads its official download."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medisyn_lib.data.prepare.pictures import Contents

__all__ = ["PublicSet"]


@dataclass(frozen=True)
class PublicSet:
    """One public set.

    Attributes
    ----------
    title
        Its name and what it holds.
    modality
        Key of the modality.
    licence
        Its terms, as its owners state them; they may have changed.
    where
        Where its owners give it out, and which files are needed.
    citation
        What to cite.
    split
        Where the splits come from, one sentence.
    read
        Finds the pictures of a download, before any pixel is decoded.
    """

    title: str
    modality: str
    licence: str
    where: str
    citation: str
    split: str
    read: Callable[[Path], Contents]
