"""What a result came from: versions, machine, seeds and cost, without naming anyone's folders or hosts."""

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

__all__ = ["PACKAGES", "collect", "data_label", "git", "run_name"]

PACKAGES = (
    "medisyn-lib",
    "numpy",
    "scipy",
    "scikit-learn",
    "statsmodels",
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "datasets",
    "timm",
    "tokenizers",
    "safetensors",
    "pillow",
)
KINDS_WITH_FOLDER = ("npz", "folder")  # of data source: their names would tell where they lie
GIT_TIMEOUT = 60  # seconds


def data_label(source: str) -> str:
    """Name a data source without the folders that lead to it: `npz:/home/me/panel` is `npz:panel`."""
    kind, colon, place = source.partition(":")
    if colon and kind in KINDS_WITH_FOLDER:
        return f"{kind}:{Path(place).name}"
    return source


def run_name(profile: str, data: str, base: str = "") -> str:
    """Name the folder of a run under build/, results/ and figures/, such as `full-npz-real-panel`.

    `base` is the name of what its generators are fine-tuned from, if anything: it comes last.
    """
    names = [data_label(data), *([base] if base else [])]
    words = (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") for name in names)
    return "-".join([profile, *words])


def collect(
    profile: str,
    data: str,
    seeds: Sequence[int],
    fingerprint: str,
    seconds: float,
    flops: float | None,
) -> dict[str, Any]:
    """Collect the `provenance` of a result.

    Torch is asked only where it is imported already.

    Parameters
    ----------
    profile
        Name of the run's profile.
    data
        The data source; its folders are left out.
    seeds
        Of training.
    fingerprint
        Of the data source.
    seconds, flops
        Of this run, little where the store held its parts; what all of it takes, None where not counted.

    Returns
    -------
    dict
        JSON values. `commit` ends in `+` where tracked files differ from it; it is None without git.
    """
    torch = sys.modules.get("torch")
    has_gpu = torch is not None and torch.cuda.is_available()
    return {
        "profile": profile,
        "data": data_label(data),
        "data_fingerprint": fingerprint,
        "seeds": [int(seed) for seed in seeds],
        "seconds": round(float(seconds), 1),
        "flops": None if flops is None else float(flops),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "versions": _versions(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads() if torch else os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability() if torch else None,
        "gpu": torch.cuda.get_device_name() if torch and has_gpu else None,
    }


def _commit() -> str | None:
    """The commit of the checkout; None without one."""
    root = project_root()
    if not (root / ".git").exists():
        return None
    try:
        return git(root, "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+").strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _versions() -> dict[str, str]:
    """Versions of Python and of those packages that are installed."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git(folder: Path, *arguments: str) -> str:
    """Return the output of one git command in a folder. Raises OSError or SubprocessError where it fails."""
    command = ["git", "-C", str(folder), *arguments]  # git lies where the user's PATH has it
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=True, timeout=GIT_TIMEOUT
    )
    return done.stdout
