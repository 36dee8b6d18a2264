"""Real file systems, where this machine lets a test mount them: a store on a full disk, one that is read-only.

In a namespace of its own (`unshare`), so that nothing outside sees the mounts. What the store does when a single
write fails is in test_store and test_faults.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNSHARE = shutil.which("unshare")
OWN = [str(UNSHARE), "--map-root-user", "--mount"]
MAY_MOUNT = (
    UNSHARE is not None and subprocess.run([*OWN, "true"], capture_output=True).returncode == 0
)
pytestmark = pytest.mark.skipif(not MAY_MOUNT, reason="unshare may not mount here")

KEEP = """
import os, sys
from medisyn_lib.errors import InputError
from medisyn_lib.runtime import store

def make(folder):
    (folder / "one.bin").write_bytes(os.urandom(int(sys.argv[2])))

try:
    store.preflight_store()
    print("kept", store.cache(sys.argv[1], {}, make).name)
except InputError as error:
    print("refused", error)
"""


def inside(place: Path, *steps: str) -> list[str]:
    """Runs shell steps, `$KEEP NAME BYTES` keeps an entry, with the store in `place` / store; what each printed."""
    (place / "keep.py").write_text(KEEP)
    (place / "store").mkdir(exist_ok=True)
    names = {
        "PLACE": str(place),
        "KEEP": f"{sys.executable} {place / 'keep.py'}",
        "MEDISYN_STORE": f"{place}/store",
    }
    done = subprocess.run(
        [*OWN, "sh", "-ec", "\n".join(steps)],
        env={**names, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_full_disk_is_named_and_with_room_the_run_goes_on(tmp_path: Path) -> None:
    said = inside(
        tmp_path,
        "mount -t tmpfs -o size=1m none $PLACE/store",
        "$KEEP small 100000",
        "$KEEP large 2000000",
        "ls $PLACE/store | grep -v lock",
        "$KEEP small 100000",
        "mount -o remount,size=10m $PLACE/store",
        "$KEEP large 2000000",
    )
    kept, refused, *there, again, large = said
    assert kept == again and large.startswith("kept large-")
    assert (
        refused.startswith("refused") and "no space left" in refused and "MEDISYN_STORE" in refused
    )
    assert [name for name in there if not name.endswith(".tmp")] == [kept.split()[1]]


def test_a_read_only_store_gives_what_it_has_and_refuses_the_rest(tmp_path: Path) -> None:
    said = inside(
        tmp_path,
        "$KEEP small 1000",
        "mount --bind $PLACE/store $PLACE/store",
        "mount -o remount,bind,ro $PLACE/store",
        "$KEEP small 1000",
        "$KEEP other 1000",
    )
    assert said[0] == said[1] and said[0].startswith("kept small-")
    assert (
        said[2].startswith("refused") and "not writable" in said[2] and "MEDISYN_STORE" in said[2]
    )
