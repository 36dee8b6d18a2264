"""The smallest profile under other arithmetic: the results stay within `medisyn diff`'s tolerances."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MEDISYN = str(Path(sys.executable).with_name("medisyn"))
# One thread adds in another order than several; AVX2 rounds otherwise than AVX-512.
SETTINGS = {
    "one-thread": {"OMP_NUM_THREADS": "1"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
}


@pytest.mark.runs
@pytest.mark.timeout(1500)
def test_one_thread_and_avx2_agree(tmp_path: Path) -> None:
    """Both run at the same time, each in a store of its own, so that neither reads what the other computed."""
    running = {}
    for name, setting in SETTINGS.items():
        command = [MEDISYN, "reproduce", "--profile", "tiny", "--out", str(tmp_path / name)]
        environment = os.environ | setting | {"MEDISYN_STORE": str(tmp_path / f"store-{name}")}
        with (tmp_path / f"{name}.log").open("w") as log:
            running[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    codes = {name: process.wait() for name, process in running.items()}
    for name, code in codes.items():
        assert code == 0, (tmp_path / f"{name}.log").read_text()[-3000:]
    diff = [MEDISYN, "diff", *(str(tmp_path / name) for name in SETTINGS)]
    compared = subprocess.run(diff, capture_output=True, text=True)
    assert compared.returncode == 0, compared.stdout + compared.stderr
