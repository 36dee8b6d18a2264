"""What a result came from: versions, machine, seeds and cost, without naming anyone's folders or hosts."""

import contextlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from medisyn_lib.runtime.paths import project_root

PACKAGES = (
    "medisyn-lib numpy scipy scikit-learn statsmodels torch diffusers transformers accelerate datasets timm "
    "tokenizers safetensors pillow"
).split()


def data_label(source: str) -> str:
    """A data source without the folders that lead to it: `npz:/home/me/panel` is `npz:panel`."""
    kind, colon, place = source.partition(":")
    return f"{kind}:{Path(place).name}" if colon and kind in ("npz", "folder") else source


def run_name(profile: str, data: str) -> str:
    """The folder name of a run under build/, results/ and figures/, such as `full-npz-real-panel`."""
    return f"{profile}-{re.sub(r'[^a-z0-9]+', '-', data_label(data).lower()).strip('-')}"


def collect(
    profile: str,
    data: str,
    seeds: Sequence[int],
    fingerprint: str,
    seconds: float,
    flops: float | None,
) -> dict[str, Any]:
    """The `provenance` of a result: `seconds` and `flops` are what its computation took, cold.

    Torch is asked only where it is imported already. `commit` has a `+` where tracked files differ; None without git.
    """
    torch, root, commit = sys.modules.get("torch"), project_root(), None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if (root / ".git").exists():
            commit = git(
                root, "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"
            ).strip()
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "profile": profile, "data": data_label(data), "data_fingerprint": fingerprint, "seeds": [int(s) for s in seeds],
        "seconds": round(float(seconds), 1), "flops": None if flops is None else float(flops),
        "time": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit,
        "versions": versions, "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads() if torch else os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability() if torch else None,
        "gpu": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None,
    }  # fmt: skip


def git(folder: Path, *arguments: str) -> str:
    """The output of one git command in a folder. Raises OSError or SubprocessError where it fails."""
    command = ["git", "-C", str(folder), *arguments]  # git lies where the user's PATH has it
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=True, timeout=60
    ).stdout
