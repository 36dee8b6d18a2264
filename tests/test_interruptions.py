"""Whole `medisyn` runs that are killed at random moments, or share a store: the same weights, the same results."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from medisyn_lib.runtime import store

MEDISYN = str(Path(sys.executable).with_name("medisyn"))
# What two runs of the same code may differ in: how long it took, and where.
OF_THE_RUN = ("seconds", "time")
NOTEBOOKS = ["00", "01", "02", "99"]


def start(place: Path, out: str = "out") -> subprocess.Popen:
    command = [MEDISYN, "reproduce", *NOTEBOOKS, "--profile", "tiny", "--out", str(place / out)]
    environment = os.environ | {"MEDISYN_STORE": str(place / "store"), "OMP_NUM_THREADS": "1"}
    with (place / f"{out}.log").open("a") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)


def strike(running: subprocess.Popen, how: signal.Signals) -> None:
    """Kills the whole tree, kernels included; or asks the command alone to end, which must take its kernels along."""
    tree = [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]
    for process in tree if how == signal.SIGKILL else tree[:1]:
        process.send_signal(how)
    running.wait(60)
    _, alive = psutil.wait_procs(tree, timeout=60)
    assert alive == [], f"left running after {how.name}: {[process.cmdline() for process in alive]}"


def damaged(place: Path) -> list[str]:
    """Store entries and results that stand under their final name and are not whole."""
    wrong = []
    for manifest in (place / "store").glob("*/manifest.json"):
        if ".tmp" in manifest.parent.name:
            continue
        listed = json.loads(manifest.read_text())["files"]
        if store._stamps(manifest.parent) != listed:
            wrong.append(manifest.parent.name)
    for result in (place / "out").rglob("results/*.json"):
        json.loads(result.read_text())
    return wrong


def weights(place: Path) -> dict[str, str]:
    """Hashes of all weights in the store, by entry and name."""
    found = sorted((place / "store").glob("*/**/*.safetensors"))
    return {str(p.relative_to(place)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def results(place: Path, out: str = "out") -> dict[str, Any]:
    """The results, less what belongs to the run: times, and measures of kind machine."""
    found = {}
    for path in sorted((place / out / "results").glob("*.json")):
        content = json.loads(path.read_text())
        for name in OF_THE_RUN:
            content["provenance"].pop(name, None)
        for claim in content["claims"]:
            claim["measures"] = [m for m in claim["measures"] if m["kind"] != "machine"]
        found[path.name] = content
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("undisturbed")
    assert start(place).wait() == 0, (place / "out.log").read_text()[-3000:]
    return place


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_killed_at_random_moments_it_ends_with_the_same(undisturbed: Path, tmp_path: Path) -> None:
    chance = random.Random(0)  # noqa: S311
    for how in [signal.SIGKILL] * 10 + [signal.SIGINT, signal.SIGTERM]:
        running = start(tmp_path)
        time.sleep(chance.uniform(4, 30))
        if running.poll() is None:
            strike(running, how)
        assert damaged(tmp_path) == []
    assert start(tmp_path).wait() == 0, (tmp_path / "out.log").read_text()[-3000:]
    assert weights(tmp_path) == weights(undisturbed)
    assert results(tmp_path) == results(undisturbed)
    assert not list((tmp_path / "store").glob("*.tmp"))


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_two_runs_share_a_store(undisturbed: Path, tmp_path: Path) -> None:
    both = [start(tmp_path, out) for out in ("out", "other")]
    assert [running.wait() for running in both] == [0, 0]
    assert weights(tmp_path) == weights(undisturbed)
    assert results(tmp_path) == results(tmp_path, "other") == results(undisturbed)
