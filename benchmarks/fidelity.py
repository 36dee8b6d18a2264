"""Speed and memory of the fidelity measures beside torch-fidelity and prdc, on the same features.

    python benchmarks/fidelity.py [--n 10000] [--width 1280]

Each side runs in a process of its own, so that its peak memory is its own; the seconds leave out
imports and the drawing of features. Prints a table and the ratios.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

SIDES = {
    "reference": "torch-fidelity FD and KID, prdc",
    "float64": "ours, float64",
    "float32": "ours, float32 blocks",
}
OVERLAPS = ("precision", "recall", "density", "coverage")


def features(n: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of positive features of low effective rank, the second a little wider."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(64, width)) / 8
    sets = [
        scale * rng.normal(size=(n, 64)) @ mixing + 0.3 * rng.normal(size=(n, width))
        for scale in (1.0, 1.05)
    ]
    return np.maximum(sets[0], 0), np.maximum(sets[1], 0)


def reference(real: np.ndarray, synthetic: np.ndarray) -> dict[str, float]:
    """The reference libraries with their defaults (KID: 100 subsets of 1,000)."""
    import torch
    from prdc import compute_prdc
    from torch_fidelity import metric_fid, metric_kid

    both = [torch.from_numpy(rows) for rows in (real, synthetic)]
    moments = [metric_fid.fid_features_to_statistics(rows) for rows in both]
    found = {
        "FD": metric_fid.fid_statistics_to_metric(*moments, verbose=False)[
            "frechet_inception_distance"
        ]
    }
    kid = metric_kid.kid_features_to_metric(
        *both, verbose=False, kid_subset_size=min(1000, len(real))
    )
    found["KID"] = kid["kernel_inception_distance_mean"]
    return found | compute_prdc(real, synthetic, nearest_k=5)


def ours(real: np.ndarray, synthetic: np.ndarray, dtype: str) -> dict[str, float]:
    """All measures of the library; KID over all pairs, with its variance."""
    from medisyn_lib.evaluation import fidelity

    found = fidelity.block_measures(real=real, synthetic=synthetic, dtype=dtype)
    return {"FD": fidelity.frechet_distance(real=real, synthetic=synthetic)} | found


def run_side(side: str, n: int, width: int) -> None:
    """Measures one side, after a warm-up on a few rows that loads what is imported late; prints JSON."""
    real, synthetic = features(n, width)
    work = reference if side == "reference" else lambda a, b: ours(a, b, side)
    work(real[:50], synthetic[:50])
    wall, processor = time.perf_counter(), time.process_time()
    values = work(real, synthetic)
    spent = {"seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(
        "\n"
        + json.dumps(spent | {"peak": peak, "values": {k: float(v) for k, v in values.items()}})
    )


def main() -> None:
    """Runs the sides one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--side", choices=SIDES)
    options = parser.parse_args()
    if options.side:
        run_side(options.side, options.n, options.width)
        return
    found = {}
    print(
        f"| n = {options.n}, width {options.width} "
        "| seconds | processor seconds | peak memory (GB) |\n|---|---|---|---|"
    )
    for side, words in SIDES.items():
        command = [
            sys.executable,
            __file__,
            "--side",
            side,
            "--n",
            str(options.n),
            "--width",
            str(options.width),
        ]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found[side] = row = json.loads(out.splitlines()[-1])
        print(
            f"| {words} | {row['seconds']:.1f} | {row['processor']:.1f} | {row['peak']:.2f} |",
            flush=True,
        )
    for side in ("float64", "float32"):
        times = [found["reference"][unit] / found[side][unit] for unit in ("seconds", "processor")]
        print(
            f"\n{side}: {times[0]:.1f} times as fast as the reference ({times[1]:.1f} in processor seconds)"
        )
    values = {side: found[side]["values"] for side in SIDES}
    apart = [
        max(abs(values["float64"][o] - values[s][o]) for o in OVERLAPS)
        for s in ("reference", "float32")
    ]
    distance = abs(values["float64"]["FD"] / values["reference"]["FD"] - 1)
    print(f"\nfloat64 beside the reference: FD {distance:.1e} relative, overlaps {apart[0]:.1e}")
    print(f"float32 beside float64: overlaps {apart[1]:.1e}")


if __name__ == "__main__":
    main()
