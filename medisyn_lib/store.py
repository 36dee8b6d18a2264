"""A content-addressed store: what was computed from what, kept whole or not at all.

An entry is the folder `<store>/<key>/` with a `manifest.json` that lists every file's size and
SHA-256. It is made in `<key>.tmp/` under a lock and renamed, so a reader never sees half of one.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import functools
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medisyn_lib.errors import InputError
from medisyn_lib.paths import store_dir

SCHEMA = 1
MANIFEST = "manifest.json"


def _sources(module: str) -> list[Path]:
    """The source files of a module, or of all modules of a package, found without importing it."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is not None:
        if not rest and not spec.submodule_search_locations:
            return [Path(str(spec.origin))]
        for folder in spec.submodule_search_locations or ():
            place = Path(folder).joinpath(*rest)
            if place.with_suffix(".py").is_file():
                return [place.with_suffix(".py")]
            if found := sorted(place.rglob("*.py")):
                return found
    raise ValueError(f"no source of module {module!r}: name an importable module")


def _without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return ast.dump(tree)


@functools.cache
def code_hash(*module_names: str) -> str:
    """SHA-256 (hex) of what the modules do: their syntax trees without docstrings and comments.

    A package's name covers all its modules. Nothing is imported. Raises ValueError for a module
    without source.
    """
    digest = hashlib.sha256()
    for name in sorted(set(module_names)):
        for path in _sources(name):
            digest.update(f"{name}/{path.name}\n{_without_docstrings(path.read_text('utf-8'))}\n".encode())
    return digest.hexdigest()


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _head(step: str, settings: Mapping[str, Any], inputs: Sequence[str], code: Sequence[str]) -> dict[str, Any]:
    head = {"step": step, "settings": dict(settings), "inputs": list(inputs), "code": code_hash(*code)}
    return dict(json.loads(_canonical(head)))


def _key_of(head: Mapping[str, Any]) -> str:
    return f"{head['step']}-{hashlib.sha256(_canonical(head).encode()).hexdigest()[:20]}"


def key(step: str, settings: Mapping[str, Any], inputs: Sequence[str] = (), code: Sequence[str] = ()) -> str:
    """The name of an entry, `step-<20 hex>`: a hash of settings, keys of inputs and the step's code.

    `settings` hold plain JSON values; `code` names the modules that make the entry.
    """
    return _key_of(_head(step, settings, inputs, code))


def keep(
    step: str,
    settings: Mapping[str, Any],
    make: Callable[[Path], None],
    *,
    inputs: Sequence[str] = (),
    code: Sequence[str] = (),
) -> Path:
    """The folder that `make` fills for these settings, inputs and code: read if kept, else made.

    `make` is handed `<key>.tmp/`; after an interruption that folder still holds what was there, so
    a maker goes on from its own checkpoints. A kept entry with a missing, extra, truncated or
    altered file is named on stderr and made anew. One process makes an entry, others wait for it.
    Raises InputError where the store cannot be written or is full.
    """
    head = _head(step, settings, inputs, code)
    final = store_dir() / _key_of(head)
    if final.is_dir() and not _fault(final, head):
        return final
    with _locked(final):
        fault = _fault(final, head) if final.is_dir() else "absent"
        if fault is None:  # made by another process while this one waited
            return final
        if fault != "absent":
            print(f"medisyn: store entry {final.name}: {fault}; making it anew", file=sys.stderr)
        try:
            _make(final, head, make)
        except Exception as error:
            if _is_full(error):
                raise _full(final.parent) from error
            raise
    return final


@contextlib.contextmanager
def _locked(final: Path) -> Iterator[None]:
    from filelock import FileLock

    lock = FileLock(final.parent / f"{final.name}.lock")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise (_full(final.parent) if _is_full(error) else _unwritable(final.parent)) from error
    try:
        yield
    finally:
        lock.release()


def _make(final: Path, head: Mapping[str, Any], make: Callable[[Path], None]) -> None:
    folder = final.with_name(f"{final.name}.tmp")
    folder.mkdir(exist_ok=True)
    make(folder)
    for leftover in folder.rglob("*.tmp"):  # of a write that a kill cut short
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    (folder / MANIFEST).unlink(missing_ok=True)
    files = {str(path.relative_to(folder)): _stamp(path, sync=True) for path in _files(folder)}
    write_atomic(folder / MANIFEST, json.dumps({"schema": SCHEMA, **head, "files": files}, indent=1))
    for inner in {path.parent for path in _files(folder)}:
        _sync_folder(inner)
    if final.exists():
        broken = final.with_name(f"{final.name}.broken.tmp")
        shutil.rmtree(broken, ignore_errors=True)
        final.rename(broken)
        shutil.rmtree(broken, ignore_errors=True)
    folder.rename(final)
    _sync_folder(final.parent)


def _fault(folder: Path, head: Mapping[str, Any]) -> str | None:
    """What is wrong with an entry, in one line; None if every byte is as it was written."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        listed = dict(manifest.pop("files"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is missing or damaged"
    if manifest.pop("schema", None) != SCHEMA:
        return f"{MANIFEST} is of another schema version than {SCHEMA}"
    if manifest != head:
        return f"{MANIFEST} describes another step"
    present = {str(path.relative_to(folder)) for path in _files(folder)} - {MANIFEST}
    if missing := sorted(set(listed) - present):
        return f"{missing[0]} is missing"
    if extra := sorted(present - set(listed)):
        return f"{extra[0]} does not belong to it"
    for name in sorted(listed):
        try:
            if _stamp(folder / name) != listed[name]:
                return f"{name} was altered"
        except OSError:
            return f"{name} cannot be read"
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())


def _stamp(path: Path, sync: bool = False) -> dict[str, Any]:
    with path.open("rb") as stream:
        if sync:
            os.fsync(stream.fileno())
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_full(error: BaseException) -> bool:
    # Rust and C++ writers (safetensors, Arrow) lose the number and keep the words.
    code = getattr(error, "errno", None)
    return code in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)


def _full(store: Path) -> InputError:
    return InputError(f"store {store}: no space left; free some or set MEDISYN_STORE to another folder")


def _unwritable(store: Path) -> InputError:
    return InputError(f"store {store}: not writable; set MEDISYN_STORE to a folder that is")


def write_atomic(path: Path, data: bytes | str) -> None:
    """Writes a file whole or not at all: a sibling ending in .tmp, flushed to disk, then renamed.

    Text is UTF-8. Missing parent folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with part.open("wb") as stream:
            stream.write(data.encode() if isinstance(data, str) else data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def creatable(folder: Path) -> bool:
    """Whether a folder can be written, or made where it does not exist yet. Leaves nothing behind."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            return True
    except OSError:
        return False


def preflight_store() -> None:
    """Raises InputError where the store can neither be written nor holds anything. Creates nothing."""
    store = store_dir()
    # A finished store on a read-only disk serves what it has.
    if not creatable(store) and not (store.is_dir() and any(store.glob(f"*/{MANIFEST}"))):
        raise _unwritable(store)
