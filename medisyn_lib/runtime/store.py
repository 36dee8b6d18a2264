"""A content-addressed store: what was computed from what, cached whole or not at all.

An entry is the folder `<store>/<key>/` with a `manifest.json` that lists every file's size and
SHA-256. It is made in `<key>.tmp/` under a lock and renamed, so a reader never sees half of one.
"""

import ast
import errno
import functools
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from medisyn_lib.errors import InputError
from medisyn_lib.runtime.paths import store_dir

SCHEMA = 1
MANIFEST = "manifest.json"
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
Names = Sequence[str]


def _sources(module: str) -> list[Path]:
    """The source files of a module, or of all modules of a package, found without importing it."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)  # of a top-level name this imports nothing
    place = Path(str(spec and spec.origin)).parent.joinpath(*rest)
    file = place.with_suffix(".py")
    sources = [file] if file.is_file() else sorted(place.rglob("*.py"))
    if not sources:
        raise ValueError(f"no source of module {module!r}: name an importable module")
    return sources


@functools.cache
def code_hash(*module_names: str) -> str:
    """Return the SHA-256 (hex) of what modules do: their syntax trees without docstrings and comments.

    A package's name covers all its modules; a table (`.toml`) beside a module counts with it. Nothing
    is imported. Raises ValueError for a module without source.
    """
    digest = hashlib.sha256()
    for name in sorted(set(module_names)):
        for path in _sources(name):
            digest.update(f"{name}/{path.name}\n{_syntax(path)}\n".encode())
            if (table := path.with_suffix(".toml")).is_file():
                digest.update(table.read_bytes())
    return digest.hexdigest()


def _syntax(path: Path) -> str:
    """A source file's syntax tree as text, without docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.dump(tree)


def _named(
    step: str, settings: Mapping[str, Any], inputs: Names, code: Names
) -> tuple[str, dict[str, Any]]:
    """The name of an entry and what its manifest says it was made from."""
    origin = {
        "step": step,
        "settings": dict(settings),
        "inputs": list(inputs),
        "code": code_hash(*code),
    }
    text = json.dumps(origin, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{step}-{hashlib.sha256(text.encode()).hexdigest()[:20]}", json.loads(text)


def key(step: str, settings: Mapping[str, Any], inputs: Names = (), code: Names = ()) -> str:
    """Return the name of an entry, `step-<20 hex>`, a hash of what it is made from (see `cache`)."""
    return _named(step, settings, inputs, code)[0]


def cache(
    step: str,
    settings: Mapping[str, Any],
    make: Callable[[Path], None],
    *,
    inputs: Names = (),
    code: Names = (),
) -> Path:
    """Return the folder of an entry: read if it is whole, else made.

    One process makes an entry, others wait for it. An entry with a missing, extra, truncated or altered
    file is named on stderr and made anew.

    Parameters
    ----------
    step : str
        What is made, in a word.
    settings : mapping
        JSON values that decide the outcome.
    make : callable
        Fills the folder `<key>.tmp/`. After an interruption that folder still holds what was there, so it
        goes on from its own checkpoints.
    inputs : sequence of str
        Names of the entries that it is made from.
    code : sequence of str
        Modules whose code decides the outcome.

    Raises
    ------
    InputError
        Where the store cannot be written or is full.
    """
    name, origin = _named(step, settings, inputs, code)
    final = store_dir() / name
    if _fault(final, origin) is None:
        return final
    with _locked(final):
        fault = _fault(final, origin)
        if fault is None:  # made by another process while this one waited
            return final
        if final.exists():
            print(f"medisyn: store entry {name}: {fault}; making it anew", file=sys.stderr)
        try:
            _make(final, origin, make)
        except Exception as error:
            if _is_full(error):
                raise _refusal(error) from error
            raise
    return final


def _locked(final: Path) -> AbstractContextManager[Any]:
    """The lock of an entry, acquired."""
    from filelock import FileLock

    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(final.parent / f"{final.name}.lock").acquire()
    except (OSError, NotImplementedError) as error:
        raise _refusal(error) from error


def _make(final: Path, origin: Mapping[str, Any], make: Callable[[Path], None]) -> None:
    folder = final.with_name(f"{final.name}.tmp")
    folder.mkdir(exist_ok=True)
    make(folder)
    for leftover in folder.rglob("*.tmp"):  # of a write that a kill cut short
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    manifest = {"schema": SCHEMA, **origin, "files": _stamps(folder)}
    write_atomic(folder / MANIFEST, json.dumps(manifest, indent=1))
    for path in (*folder.rglob("*"), folder):
        _flush(path)
    replace_folder(folder, final)


def replace_folder(fresh: Path, target: Path) -> None:
    """Rename a finished folder to its final name; what lay there goes aside first, so the two never mix."""
    old = target.with_name(f"{target.name}.old.tmp")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    _flush(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _fault(folder: Path, origin: Mapping[str, Any]) -> str | None:
    """What is wrong with an entry, in one line; None if every byte is as it was written."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        listed, present = dict(manifest.pop("files")), _stamps(folder)
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is missing or damaged"
    if manifest != {"schema": SCHEMA, **origin}:
        return f"{MANIFEST} is of another step or schema version"
    for name, stamp in listed.items():
        if present.pop(name, None) != stamp:
            return f"{name} was altered" if (folder / name).exists() else f"{name} is missing"
    return f"{next(iter(present))} does not belong to it" if present else None


def _stamps(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of what a folder holds besides its manifest, by relative name."""
    stamps = {}
    for path in sorted(folder.rglob("*")):
        if path != folder / MANIFEST and (path.is_file() or path.is_symlink()):
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            stamps[str(path.relative_to(folder))] = {"size": path.stat().st_size, "sha256": digest}
    return stamps


def _flush(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_full(error: BaseException | None) -> bool:
    # Rust and C++ writers (safetensors, Arrow) lose the number and keep the words.
    code = getattr(error, "errno", None)
    return code in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)


def _refusal(error: BaseException | None = None) -> InputError:
    if _is_full(error):
        return InputError(
            f"store {store_dir()}: no space left; free some or set MEDISYN_STORE to another folder"
        )
    return InputError(f"store {store_dir()}: not writable; set MEDISYN_STORE to a folder that is")


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file (text as UTF-8) and its folder, whole or not at all: a .tmp sibling, flushed, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        part.write_bytes(data.encode() if isinstance(data, str) else data)
        _flush(part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def creatable(folder: Path) -> bool:
    """Say whether a folder can be written, or made where it does not exist yet; leave nothing there."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return False
    try:  # some file systems, such as /proc, allow it and then refuse
        os.rmdir(tempfile.mkdtemp(prefix=".medisyn-", suffix=".tmp", dir=place))
    except OSError:
        return False
    return True


def preflight_store() -> None:
    """Raise InputError where the store can neither be written nor holds anything. Create nothing."""
    # A finished store on a read-only disk serves what it has.
    if not creatable(store_dir()) and not any(store_dir().glob(f"*/{MANIFEST}")):
        raise _refusal()
