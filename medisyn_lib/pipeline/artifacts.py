"""Artifacts: steps whose outcome is cached under what it was made from.

An artifact is a dataclass. Its fields say what it is made from: settings, other artifacts (upstream), sets of
images. Its class says which step it is and which modules' code decides the outcome. From these follows its
key, so an artifact is made once, and made anew where any of them changes. Nothing climbs back up: an artifact
holds its upstream artifacts and asks them for their folders.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import Field, asdict, dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from medisyn_lib.data import pixels, sources
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.runtime import distributed, store
from medisyn_lib.runtime.paths import store_dir
from medisyn_lib.training import batches, loop, schedules

if TYPE_CHECKING:
    import datasets

# What decides the outcome of any training, besides the network and its loss.
TRAINING_CODE: tuple[ModuleType, ...] = (loop, batches, schedules)
# Metadata of a field that changes nothing about the outcome and is left out of the key.
UNKEYED = {"keyed": False}
STREAMED_ROWS = 1024  # of a column that is read block by block


@runtime_checkable
class Keyed(Protocol):
    """A field that says itself how it stands in a key."""

    def key(self) -> dict[str, Any]:
        """Return JSON values: what it is, whatever it is called on this machine."""


@dataclass(frozen=True)
class ImageSet:
    """The images of one role of a data source, of one size, at most `per_modality` of each modality.

    The seed is that of `sources.load`.
    """

    source: str
    role: str
    size: int
    per_modality: int
    seed: int = 0

    def load(self) -> datasets.Dataset:
        """Return the images as a memory-mapped dataset."""
        return sources.load(
            self.source,
            role=self.role,
            size=self.size,
            per_modality=self.per_modality,
            seed=self.seed,
        )

    def pixels(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return those of some rows as uint8 (n, h, w, 3), or all images, decoded once and memory-mapped."""
        return Decoded(self).array() if rows is None else load_pixels(self.load(), rows)

    def stream(self, name: str) -> Iterator[Any]:
        """Yield one column of all images, a block of rows in memory at a time."""
        for block in self.load().select_columns(name).iter(STREAMED_ROWS):
            yield from block[name]

    def column(self, name: str) -> np.ndarray:
        """Return one column of all images, such as `modality`, as an array (n,)."""
        return np.asarray(self.load()[name][:])

    def key(self) -> dict[str, Any]:
        """Return what these images are, whatever the source is called on this machine."""
        return {
            "data": sources.fingerprint(self.source),
            "role": self.role,
            "size": self.size,
            "images": self.per_modality,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Pixels:
    """Images in memory, uint8 (n, h, w, 3), known by their own bytes."""

    array: np.ndarray

    def key(self) -> dict[str, Any]:
        """Return the images' digest and shape."""
        digest = hashlib.sha256(np.ascontiguousarray(self.array).data).hexdigest()
        return {"sha256": digest, "shape": list(self.array.shape)}


@dataclass(frozen=True, eq=False)
class Artifact(ABC):
    """One cached step; subclasses are dataclasses whose fields say what it is made from."""

    step: ClassVar[str]
    code: ClassVar[tuple[ModuleType, ...]]

    @abstractmethod
    def make(self, folder: Path) -> None:
        """Fill a folder; after an interruption it still holds what was there."""

    @cached_property
    def folder(self) -> Path:
        """The finished folder: read from the store if it is there, else made. All processes wait for it."""
        for upstream in self.upstream():
            upstream.ensure()
        return distributed.cache_jointly(self.step, self.settings(), self.make, **self._origin())

    @cached_property
    def name(self) -> str:
        """What its entry is called, from what it is made from; nothing is made."""
        return store.key(self.step, self.settings(), **self._origin())

    def _origin(self) -> dict[str, list[str]]:
        """The names of its inputs, and the modules whose code decides the outcome."""
        return {
            "inputs": [upstream.name for upstream in self.upstream()],
            "code": [module.__name__ for module in self.modules()],
        }

    @property
    def is_stored(self) -> bool:
        """Whether it is in the store, with all that it is made from; nothing is made."""
        return all(one.is_stored for one in self.upstream()) and self._in_store()

    def _in_store(self) -> bool:
        """Whether the store has it, whatever it is made from."""
        return (store_dir() / self.name / store.MANIFEST).is_file()

    def modules(self) -> tuple[ModuleType, ...]:
        """Return the modules whose code decides the outcome."""
        return self.code

    def ensure(self) -> None:
        """Make it now, if it is not in the store."""
        _ = self.folder

    def settings(self) -> dict[str, Any]:
        """Return the fields that are no artifacts, as JSON values."""
        values = ((item.name, getattr(self, item.name)) for item in self._keyed_fields())
        return {name: _as_json(value) for name, value in values if not _artifacts_in(value)}

    def upstream(self) -> list[Artifact]:
        """Return the artifacts among the fields, in their order."""
        values = (getattr(self, item.name) for item in self._keyed_fields())
        return [artifact for value in values for artifact in _artifacts_in(value)]

    def _keyed_fields(self) -> Iterator[Field]:
        return (item for item in fields(self) if item.metadata.get("keyed", True))


@dataclass(frozen=True, eq=False)
class ArrayArtifact(Artifact):
    """An artifact that is one array, `<step>.npy`, made block by block of rows by all processes."""

    @abstractmethod
    def count(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def block(self, rows: np.ndarray) -> np.ndarray:
        """Make the rows of these numbers, int64 (k,): an array (k, ...) of one type and shape of row."""

    def make(self, folder: Path) -> None:
        """Write the array into a folder."""
        distributed.write_array(folder / self.path_name, self.count(), self.block)

    @property
    def path_name(self) -> str:
        """The array's file name in the folder."""
        return f"{self.step}.npy"

    def array(self) -> np.ndarray:
        """Return the array, memory-mapped."""
        return np.load(self.folder / self.path_name, mmap_mode="r")


@dataclass(frozen=True, eq=False)
class Recipe(Artifact):
    """What is made from artifacts whenever it is asked for, and never stored itself; it lends its name to keys."""

    def make(self, folder: Path) -> None:
        """Make nothing."""

    def ensure(self) -> None:
        """Make what it is made from."""
        for upstream in self.upstream():
            upstream.ensure()

    @property
    def is_stored(self) -> bool:
        """Whether all that it is made from is in the store."""
        return all(one.is_stored for one in self.upstream())


@dataclass(frozen=True, eq=False)
class Decoded(ArrayArtifact):
    """The images of a set, uint8 (n, h, w, 3), on the disk: a training reads the pages of a batch alone."""

    step = "pixels"
    code = (pixels,)
    images: ImageSet

    def count(self) -> int:
        """Return the number of images."""
        return len(self.images.load())

    def block(self, rows: np.ndarray) -> np.ndarray:
        """Decode the images of some rows."""
        return self.images.pixels(rows)


def _artifacts_in(value: Any) -> list[Artifact]:
    """An artifact as a list of one, those of a tuple of artifacts; of anything else none."""
    values = value if isinstance(value, tuple) else (value,)
    return [one for one in values if isinstance(one, Artifact)]


def _as_json(value: Any) -> Any:
    """A field's value as it stands in the key."""
    if isinstance(value, Keyed):
        return value.key()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
