"""The smallest profile under other arithmetic and surroundings: results stay within `medisyn diff`'s tolerances."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_disks import MAY_MOUNT, OWN
from test_foreign_generators import saved
from test_interruptions import damaged, results, strike, weights

ROOT = Path(__file__).resolve().parents[1]
MEDISYN = str(Path(sys.executable).with_name("medisyn"))
# One thread adds in another order than several; AVX2 rounds otherwise than AVX-512.
SETTINGS = {
    "one-thread": {"OMP_NUM_THREADS": "1"},
    "avx2 in a földer": {
        "OMP_NUM_THREADS": "2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "HOME": "/nowhere",
        "LC_ALL": "C",
        "TZ": "Asia/Kathmandu",
    },
}
MORE_THREADS = {"one-thread": {"OMP_NUM_THREADS": "1"}, "four-threads": {"OMP_NUM_THREADS": "4"}}
# In a namespace of its own, in which the checkout cannot be written.
READ_ONLY = [
    *OWN,
    "sh",
    "-ec",
    'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"',
    str(ROOT),
]


@pytest.mark.runs
@pytest.mark.timeout(3000)
def test_other_arithmetic_and_surroundings_agree(tmp_path: Path) -> None:
    """One thread, and two with AVX2 only, no home, a plain C locale, another time zone, and a path with a space and an
    umlaut; where this machine lets it be mounted so, the checkout is read-only."""
    runs_agree(tmp_path, SETTINGS)


@pytest.mark.full
@pytest.mark.timeout(6000)
def test_four_threads_agree_with_one(tmp_path: Path) -> None:
    runs_agree(tmp_path, MORE_THREADS)


def runs_agree(tmp_path: Path, settings: dict[str, dict[str, str]]) -> None:
    """Both run at the same time, each in a store of its own, so that neither reads what the other computed.

    Neither reaches beyond this machine (`offline/sitecustomize.py`).
    """
    running, reached = {}, tmp_path / "reached"
    offline = {"PYTHONPATH": str(Path(__file__).with_name("offline")), "NETWORK_LOG": str(reached)}
    for name, setting in settings.items():
        command = READ_ONLY if MAY_MOUNT and "HOME" in setting else []
        command = [
            *command,
            MEDISYN,
            "reproduce",
            "--profile",
            "tiny",
            "--out",
            str(tmp_path / name),
        ]
        # Up to nine threads on two cores: who waits must not spin.
        own = {"MEDISYN_STORE": str(tmp_path / f"store-{name}"), "OMP_WAIT_POLICY": "PASSIVE"}
        environment = os.environ | offline | setting | own
        with (tmp_path / f"{name}.log").open("w") as log:
            running[name] = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
    codes = {name: process.wait() for name, process in running.items()}
    for name, code in codes.items():
        assert code == 0, (tmp_path / f"{name}.log").read_text()[-3000:]
    assert not reached.exists(), reached.read_text()
    for name in settings:
        page = (tmp_path / name / "index.html").read_text("utf-8")
        assert page.count("The cell that draws it") == page.count("<figure ") > 10
        card = (tmp_path / name / "model_card.md").read_text("utf-8")
        assert (
            "The store keeps it as `generator-" in card
            and "| 01_training | " in card.partition("\n## V")[2]
        )
    diff = [MEDISYN, "diff", *(str(tmp_path / name) for name in settings)]
    compared = subprocess.run(diff, capture_output=True, text=True)
    assert compared.returncode == 0, compared.stdout + compared.stderr


def from_base(place: Path, base: Path, *more: str, threads: str = "1") -> subprocess.Popen:
    """Starts all notebooks, or `more`, on generators fine-tuned from a miniature, away from the network."""
    offline = {"PYTHONPATH": str(Path(__file__).with_name("offline"))}
    own = {"MEDISYN_STORE": str(place / "store"), "OMP_NUM_THREADS": threads}
    network = {"NETWORK_LOG": str(place / "reached")}
    options = ["--profile", "tiny", "--base", str(base), "--out", str(place / "out")]
    with (place / "out.log").open("a") as log:
        return subprocess.Popen(
            [MEDISYN, "reproduce", *more, *options],
            env=os.environ | offline | own | network,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def is_training(place: Path) -> bool:
    """Whether a denoiser's training has left a snapshot in its unfinished entry."""
    return any((place / "store").glob("fine_tuned-*.tmp/step-*.safetensors"))


@pytest.mark.runs
@pytest.mark.timeout(1800)
def test_all_notebooks_run_from_a_base_killed_and_resumed(tmp_path: Path) -> None:
    base = saved(tmp_path / "bases") / "sd15"
    running = from_base(tmp_path, base)
    while running.poll() is None and not is_training(tmp_path):
        time.sleep(0.1)
    assert running.poll() is None, (tmp_path / "out.log").read_text()[-3000:]
    strike(running, signal.SIGKILL)
    assert damaged(tmp_path) == []
    assert from_base(tmp_path, base).wait() == 0, (tmp_path / "out.log").read_text()[-3000:]
    assert not (tmp_path / "reached").exists()
    found = results(tmp_path)
    assert len(found) == 7
    assert {one["provenance"]["base"] for one in found.values()} == {"sd15"}
    said = "all fine-tuned from sd15, which has seen more than any of them"
    for name in ("02_quality.json", "03_compute_efficiency.json"):
        assert all(said in claim["statement"] for claim in found[name]["claims"])
    assert "fine-tuned in its scheduler's own terms" in (tmp_path / "out/model_card.md").read_text()
    assert not list((tmp_path / "store").glob("denoiser-*"))  # nothing was trained from scratch


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_killed_often_from_a_base_it_ends_with_the_same(tmp_path: Path) -> None:
    base = saved(tmp_path / "bases") / "sd15"
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for place in (whole, cut):
        place.mkdir()
    assert from_base(whole, base, "01", "02").wait() == 0, (whole / "out.log").read_text()[-3000:]
    for seconds in (15, 30, 45, 60):
        running = from_base(cut, base, "01", "02")
        time.sleep(seconds)
        if running.poll() is None:
            strike(running, signal.SIGKILL)
    assert from_base(cut, base, "01", "02").wait() == 0, (cut / "out.log").read_text()[-3000:]
    assert weights(cut) == weights(whole) and results(cut) == results(whole)


def test_the_network_is_refused_and_noted(tmp_path: Path) -> None:
    """So that the run above can fail."""
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 1)"
    offline = {
        "PYTHONPATH": str(Path(__file__).with_name("offline")),
        "NETWORK_LOG": str(tmp_path / "reached"),
    }
    tried = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | offline, capture_output=True, text=True
    )
    assert tried.returncode == 1 and "no network here" in tried.stderr
    assert "192.0.2.1" in (tmp_path / "reached").read_text()
