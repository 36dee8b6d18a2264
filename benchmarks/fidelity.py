"""Speed and memory of the fidelity measures beside torch-fidelity and prdc, on the same features.

    python benchmarks/fidelity.py [--n 10000] [--width 1280]

Each arm runs in a process of its own, so that its peak memory is its own; the seconds leave out
imports and the drawing of features. Prints a table and the ratios.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pairs

ARMS = {
    "reference": "torch-fidelity FD and KID, prdc",
    "float64": "ours, float64",
    "float32": "ours, float32 blocks",
}
OVERLAPS = ("precision", "recall", "density", "coverage")
KID_SUBSET = 1000  # torch-fidelity's default

Measures = Callable[..., Mapping[str, float]]


def draw_features(n: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw two sets of positive features of low effective rank, (n, width) each, the second a little wider."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(64, width)) / 8
    sets = [
        scale * rng.normal(size=(n, 64)) @ mixing + 0.3 * rng.normal(size=(n, width))
        for scale in (1.0, 1.05)
    ]
    return np.maximum(sets[0], 0), np.maximum(sets[1], 0)


def by_references(*, real: np.ndarray, synthetic: np.ndarray) -> dict[str, float]:
    """Measure by the reference libraries with their defaults (KID: 100 subsets of 1,000)."""
    import torch
    from prdc import compute_prdc
    from torch_fidelity import metric_fid, metric_kid

    both = [torch.from_numpy(features) for features in (real, synthetic)]
    moments = [metric_fid.fid_features_to_statistics(features) for features in both]
    distance = metric_fid.fid_statistics_to_metric(*moments, verbose=False)
    subset = min(KID_SUBSET, len(real))
    kernel = metric_kid.kid_features_to_metric(*both, verbose=False, kid_subset_size=subset)
    return {
        "FD": distance["frechet_inception_distance"],
        "KID": kernel["kernel_inception_distance_mean"],
        **compute_prdc(real, synthetic, nearest_k=5),
    }


def by_ours(*, real: np.ndarray, synthetic: np.ndarray, dtype: str) -> dict[str, float]:
    """Measure all by the library; KID over all pairs, with its variance."""
    from medisyn_lib.evaluation import fidelity

    distance = fidelity.frechet_distance(real=real, synthetic=synthetic)
    by_block = fidelity.block_measures(real=real, synthetic=synthetic, dtype=dtype)
    return {"FD": distance, **by_block}


def run_arm(name: str, n: int, width: int) -> None:
    """Measure one arm, after a warm-up on a few rows that loads what is imported late; prints JSON."""
    real, synthetic = draw_features(n, width)
    measure: Measures = by_references if name == "reference" else partial(by_ours, dtype=name)
    measure(real=real[:50], synthetic=synthetic[:50])
    wall_clock, processor = time.perf_counter(), time.process_time()
    values = measure(real=real, synthetic=synthetic)
    cost = {
        "seconds": time.perf_counter() - wall_clock,
        "processor": time.process_time() - processor,
        "peak": pairs.peak_memory(),
    }
    plain = {measure_name: float(value) for measure_name, value in values.items()}
    print("\n" + json.dumps(cost | {"values": plain}))


def run_apart(name: str, n: int, width: int) -> dict[str, Any]:
    """Return what `run_arm` prints, in a process of its own."""
    command = [sys.executable, __file__, f"--n={n}", f"--width={width}", f"--side={name}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(json.loads(printed.splitlines()[-1]))


def main() -> None:
    """Run the arms one after the other."""
    options = arguments()
    if options.side:
        run_arm(options.side, options.n, options.width)
        return
    columns = "| seconds | processor seconds | peak memory (GB) |"
    print(f"| n = {options.n}, width {options.width} {columns}\n|---|---|---|---|")
    results = {}
    for name, words in ARMS.items():
        results[name] = one = run_apart(name, options.n, options.width)
        seconds = f"{one['seconds']:.1f} | {one['processor']:.1f}"
        print(f"| {words} | {seconds} | {one['peak']:.2f} |", flush=True)
    report_speed(results)
    report_differences({name: one["values"] for name, one in results.items()})


def report_speed(results: Mapping[str, Mapping[str, float]]) -> None:
    """Print how many times as fast as the reference ours is."""
    for name in ("float64", "float32"):
        wall_clock, processor = (
            results["reference"][unit] / results[name][unit] for unit in ("seconds", "processor")
        )
        times = f"{wall_clock:.1f} times as fast as the reference"
        print(f"\n{name}: {times} ({processor:.1f} in processor seconds)")


def report_differences(values: Mapping[str, Mapping[str, float]]) -> None:
    """Print by how much the values of the arms differ."""

    def largest_difference(name: str) -> float:
        return max(abs(values["float64"][overlap] - values[name][overlap]) for overlap in OVERLAPS)

    distance = abs(values["float64"]["FD"] / values["reference"]["FD"] - 1)
    overlaps = largest_difference("reference")
    print(f"\nfloat64 beside the reference: FD {distance:.1e} relative, overlaps {overlaps:.1e}")
    print(f"float32 beside float64: overlaps {largest_difference('float32'):.1e}")


def arguments() -> Any:
    """Return what the command line asks for."""
    parser = pairs.plain_parser(__doc__)
    parser.add_argument("--n", type=pairs.whole(50), default=10_000, help="rows of each set")
    parser.add_argument("--width", type=pairs.whole(1), default=1280)
    parser.add_argument("--side", choices=ARMS, help="one arm alone, which prints JSON")
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
