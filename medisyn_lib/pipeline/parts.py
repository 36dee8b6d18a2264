"""Parts of a study: measurements of a few numbers each, which a checkout can hold where the store is gone.

A part is an artifact whose content is one JSON value. Where the store has none, it is read from
`results/parts/<run>/<name>.json`, and then nothing that it was measured on is made. Its name is a hash of
settings, inputs and code, so a part of other code is never read.
"""

from __future__ import annotations

import functools
import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from medisyn_lib.errors import InputError
from medisyn_lib.pipeline.artifacts import Artifact
from medisyn_lib.runtime import distributed, store
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.runtime.paths import project_root

FOLDER = Path("results", "parts")  # of a checkout, one folder per run
VALUE = "value.json"
LARGEST = 2_000_000  # bytes of a file that a checkout holds
_copied_to: list[Path] = []  # of `copying_parts`


@dataclass(frozen=True, eq=False)
class Part(Artifact):
    """A measurement of a few numbers."""

    @abstractmethod
    def measure(self) -> Any:
        """Return what is measured, a JSON value."""

    def make(self, folder: Path) -> None:
        """Measure it and write it into a folder."""
        value = json.dumps(self.measure())  # on all processes, as they sample together
        if accelerator().is_main_process:
            store.write_atomic(folder / VALUE, value)

    @cached_property
    def folder(self) -> Path:
        """The finished folder in the store; what it is measured on is made only where it must be measured."""
        if distributed.agreed(self._in_store):
            return distributed.cache_jointly(
                self.step, self.settings(), self.make, **self._origin()
            )
        return super().folder

    @property
    def value(self) -> Any:
        """What was measured: read from the store or the checkout, else measured now."""
        value = self._value
        wanted = _copied_to and self.may_be_published and accelerator().is_main_process
        if wanted and not _checkout_file(self.name):
            self.copy_to(_copied_to[-1], value)
        return value

    @cached_property
    def _value(self) -> Any:
        file = distributed.agreed(lambda: None if self._in_store() else _checkout_file(self.name))
        if file:
            return _read(Path(file))["value"]
        return json.loads((self.folder / VALUE).read_text("utf-8"))

    def ensure(self) -> None:
        """Measure it now, if neither the store nor the checkout has it."""
        _ = self.value

    @property
    def is_stored(self) -> bool:
        """Whether the store or the checkout has it."""
        return self._in_store() or _checkout_file(self.name) is not None

    @property
    def may_be_published(self) -> bool:
        """Whether a checkout may hold it: numbers, or pictures of phantoms."""
        return True

    def copy_to(self, folder: Path, value: Any) -> None:
        """Write it into a folder of a checkout, with the hashes of all code that it follows from."""
        modules = {module: store.code_hash(module) for module in sorted(_modules_behind(self))}
        origin = {"step": self.step, "settings": self.settings(), **self._origin()}
        text = json.dumps({"name": self.name, **origin, "modules": modules, "value": value})
        if len(text) > LARGEST:
            raise ValueError(f"part {self.name}: {len(text)} bytes; a checkout holds {LARGEST}")
        store.write_atomic(folder / f"{self.name}.json", text + "\n")


def parts_folder(run: str) -> Path:
    """Return the folder of a run's parts (`provenance.run_name`) in the checkout."""
    return project_root() / FOLDER / run


def _checkout_file(name: str) -> str | None:
    """The file of a part in the checkout, whatever run it was measured for."""
    return next(map(str, sorted((project_root() / FOLDER).glob(f"*/{name}.json"))), None)


def _read(file: Path) -> dict[str, Any]:
    """A part's file. Raises InputError where it is damaged."""
    try:
        part = json.loads(file.read_text("utf-8"))
        return {"value": part["value"], "modules": dict(part["modules"])}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"part {file}: damaged; check it out anew, or delete it") from error


@contextmanager
def copying_parts(folder: Path) -> Iterator[None]:
    """Copy every part that is read from the store or measured meanwhile into a folder of a checkout."""
    _copied_to.append(folder)
    try:
        yield
    finally:
        _copied_to.pop()


def stale_parts(folder: Path, current: Iterable[Part]) -> dict[str, list[str]]:
    """Find what in a folder no longer belongs to the study.

    Parameters
    ----------
    folder : Path
        Of `parts_folder`.
    current : iterable of Part
        All parts of the study as it is now.

    Returns
    -------
    dict
        By the name of each part that is not among them, the modules that changed since it was measured; none
        where settings or data did.
    """
    names = {part.name for part in current}
    found = {}
    for file in sorted(folder.glob("*.json")):
        if file.stem not in names:
            modules = _read(file)["modules"]
            found[file.stem] = [name for name, then in modules.items() if _code_now(name) != then]
    return found


@functools.cache
def _code_now(module: str) -> str | None:
    """A module's hash; None where there is no such module any more."""
    try:
        return store.code_hash(module)
    except ValueError:
        return None


def _modules_behind(artifact: Artifact) -> set[str]:
    """The modules whose code an artifact and all that it is made from follow from."""
    behind = {module.__name__ for module in artifact.modules()}
    return behind.union(*map(_modules_behind, artifact.upstream()))
