"""The store caches entries whole, notices damage, resumes, and says in one line what it cannot do."""

import errno
import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from medisyn_lib.errors import InputError
from medisyn_lib.runtime import store


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


def make(folder: Path) -> None:
    (folder / "inner").mkdir(exist_ok=True)
    (folder / "numbers.bin").write_bytes(bytes(range(256)))
    (folder / "inner" / "note.txt").write_text("kept")
    with (folder.parent / "made").open("a") as log:
        log.write("x")


def times_made(folder: Path) -> int:
    return len((folder / "made").read_text())


def test_cached_once_under_its_key(own_store: Path) -> None:
    entry = store.cache("step", {"a": 1}, make)
    assert entry == own_store / store.key("step", {"a": 1})
    assert store.cache("step", {"a": 1}, make) == entry and times_made(own_store) == 1
    assert not list(own_store.rglob("*.tmp"))
    assert json.loads((entry / "manifest.json").read_text())["files"]["inner/note.txt"]["size"] == 4


def test_key_follows_settings_inputs_and_code() -> None:
    base = store.key("s", {"a": 1, "b": [2]}, ["in-1"], ["medisyn_lib.errors"])
    assert base == store.key("s", {"b": (2,), "a": 1}, ("in-1",), ("medisyn_lib.errors",))
    others = {
        store.key("t", {"a": 1, "b": [2]}, ["in-1"], ["medisyn_lib.errors"]),
        store.key("s", {"a": 2, "b": [2]}, ["in-1"], ["medisyn_lib.errors"]),
        store.key("s", {"a": 1, "b": [2]}, ["in-2"], ["medisyn_lib.errors"]),
        store.key("s", {"a": 1, "b": [2]}, ["in-1"], ["medisyn_lib.runtime.paths"]),
    }
    assert base not in others and len(others) == 4
    assert len(base) == len("s-") + 20


def test_code_hash_sees_code_not_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pack_for_hash"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def hashed(text: str, name: str = "pack_for_hash") -> str:
        (package / "part.py").write_text(text)
        store.code_hash.cache_clear()
        return store.code_hash(name)

    first = hashed('"""Words."""\ndef f():\n    """Words."""\n    return 1\n')
    assert hashed('"""Other words."""\n# why\ndef f():\n    return 1\n') == first
    assert hashed("def f():\n    return 2\n") != first
    assert hashed("x = 1", "pack_for_hash.part") == hashed("x = 1  # why", "pack_for_hash.part")
    with pytest.raises(ValueError, match=r"pack_for_hash\.nothing"):
        hashed("x = 1", "pack_for_hash.nothing")


def test_code_hash_sees_the_table_of_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "pack_with_table"
    package.mkdir()
    (package / "__init__.py").touch()
    for name in ("modalities.py", "modalities.toml"):
        (package / name).write_bytes((Path(store.__file__).parents[1] / name).read_bytes())
    monkeypatch.syspath_prepend(str(tmp_path))
    first = store.code_hash("pack_with_table.modalities")
    table = package / "modalities.toml"
    table.write_text(table.read_text("utf-8").replace("enlarged cardiac silhouette", "large heart"))
    store.code_hash.cache_clear()
    assert store.code_hash("pack_with_table.modalities") != first


def damage_flip(entry: Path) -> None:
    data = bytearray((entry / "numbers.bin").read_bytes())
    data[100] ^= 1
    (entry / "numbers.bin").write_bytes(data)


def damage_schema(entry: Path) -> None:
    manifest = json.loads((entry / "manifest.json").read_text()) | {"schema": 99}
    (entry / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_flip, "numbers.bin was altered"),
        (lambda entry: (entry / "numbers.bin").write_bytes(b"\0"), "numbers.bin was altered"),
        (lambda entry: (entry / "inner" / "note.txt").unlink(), "inner/note.txt is missing"),
        (lambda entry: (entry / "more").write_text(""), "more does not belong"),
        (
            lambda entry: (entry / "manifest.json").write_text("{"),
            "manifest.json is missing or damaged",
        ),
        (damage_schema, "schema version"),
    ],
)
def test_damage_is_named_and_mended(
    own_store: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object], said: str
) -> None:
    entry = store.cache("step", {}, make)
    damage(entry)
    assert store.cache("step", {}, make) == entry and times_made(own_store) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
    assert (entry / "numbers.bin").read_bytes() == bytes(range(256)) and not list(
        own_store.glob("*.tmp")
    )


def test_interrupted_maker_goes_on(own_store: Path) -> None:
    def killed(folder: Path) -> None:
        (folder / "checkpoint").write_text("half")
        (folder / "cut.tmp").write_text("torn")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.cache("step", {}, killed)
    assert not (own_store / store.key("step", {})).exists()

    def goes_on(folder: Path) -> None:
        (folder / "whole").write_text((folder / "checkpoint").read_text() + " and half")
        (folder / "checkpoint").unlink()

    entry = store.cache("step", {}, goes_on)
    assert sorted(path.name for path in entry.iterdir()) == ["manifest.json", "whole"]


def test_full_disk_is_named_and_leaves_no_entry(own_store: Path) -> None:
    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match=r"no space left.*MEDISYN_STORE"):
        store.cache("step", {}, full)
    assert not (own_store / store.key("step", {})).exists()


def test_unwritable_store_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "file" / "store"))
    for call in (store.preflight_store, lambda: store.cache("step", {}, make)):
        with pytest.raises(InputError, match=r"file/store: not writable; set MEDISYN_STORE"):
            call()


def test_a_finished_entry_needs_no_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = store.cache("step", {}, make)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert store.cache("step", {}, make) == entry
    store.preflight_store()
    with pytest.raises(InputError, match="not writable"):
        store.cache("step", {"other": 1}, make)


def test_preflight_creates_nothing(own_store: Path) -> None:
    store.preflight_store()
    assert not own_store.exists()


def cache_in_process(_: int) -> str:
    return store.cache("step", {}, make).name


def test_two_processes_make_once(own_store: Path) -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert len(set(pool.map(cache_in_process, range(4)))) == 1
    assert times_made(own_store) == 1


def test_write_atomic_leaves_old_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "deep" / "x.json"
    store.write_atomic(target, "é")
    assert target.read_bytes() == "é".encode()

    def fails(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(OSError, match="full"):
        store.write_atomic(target, b"new")
    assert target.read_text() == "é" and [p.name for p in target.parent.iterdir()] == ["x.json"]
