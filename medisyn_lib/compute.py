"""What a computation costs: operations, seconds, memory; and how costs compare. Only operations decide."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medisyn_lib.statistics import Estimate, t_interval


def operations(function: Callable[[], Any]) -> tuple[int, dict[str, int]]:
    """Floating-point operations of one call in torch, a multiply-add as two, by torch's formulas (attention's also
    on a CPU); beside them, uncounted, the elements put out by each operator without a formula, views aside.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_backward_flop_count, sdpa_flop_count

    uncounted, ours, name = Counter[str](), dict[Any, Any](), "_scaled_dot_product_flash_attention_for_cpu"
    ours[getattr(torch.ops.aten, name)] = lambda *shapes, **_: sdpa_flop_count(*shapes[:3])
    ours[getattr(torch.ops.aten, f"{name}_backward")] = lambda *shapes, **_: sdpa_backward_flop_count(*shapes[:4])

    class Rest(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if func.overloadpacket not in flop_registry | ours and not func.is_view:
                uncounted[str(func.overloadpacket)] += sum(x.numel() for x in tree_leaves(out) if torch.is_tensor(x))
            return out

    with Rest(), FlopCounterMode(display=False, custom_mapping=ours) as counter:
        function()
    return int(counter.get_total_flops()), dict(uncounted)


def measured(function: Callable[[], Any]) -> tuple[Any, float, int]:
    """What one call, in a thread, returns; its wall seconds; the process's peak memory (bytes, every 10 ms)."""
    import psutil

    process, peak, start = psutil.Process(), 0, time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(function)
        while not call.done():
            peak = max(peak, process.memory_info().rss)
            wait([call], 0.01)
    return call.result(), time.perf_counter() - start, max(peak, process.memory_info().rss)


def compute_to_reach(*, compute: ArrayLike, distance: ArrayLike, target: float) -> Estimate:
    """Compute at which a falling distance reaches `target`: geometric mean over seeds, t interval of logs.

    `compute` (c,), rising, of checkpoints; `distance` (seeds, c), made to fall (isotonic), joined over log
    compute. At the earliest the first checkpoint; no value if a seed never gets there.
    """
    from sklearn.isotonic import isotonic_regression

    curves = [isotonic_regression(row, increasing=False) for row in np.asarray(distance, dtype=np.float64)]
    if any(curve[-1] > target for curve in curves):
        return Estimate(None, None, None, len(curves))
    logs = np.log(np.asarray(compute, dtype=np.float64))
    ends = [[i := int(np.argmax(curve <= target)), max(i - 1, 0)] for curve in curves]
    return _geometric([np.interp(target, c[i], logs[i]) for c, i in zip(curves, ends, strict=True)])


def break_even(*, generalist: ArrayLike, specialists: ArrayLike) -> Estimate:
    """Modalities from which a generalist, compute (seeds,), costs less than specialists, (seeds, m): mean as above."""
    return _geometric(np.log(np.asarray(generalist) / np.asarray(specialists, dtype=np.float64).mean(1)))


def _geometric(logs: ArrayLike) -> Estimate:
    mean = t_interval(logs)
    value, low, high = (None if x is None else float(np.exp(x)) for x in (mean.value, mean.ci_low, mean.ci_high))
    return Estimate(value, low, high, mean.n)
