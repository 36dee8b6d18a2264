"""The processes that `accelerate launch` started, or this one alone: kept together, work dealt out, batches as one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.runtime import store
from medisyn_lib.runtime.store import Names

if TYPE_CHECKING:
    import torch
from medisyn_lib.runtime.device import accelerator


def end() -> None:
    """To be called last: wrapped models hold on to the processes' connection, which may abort a process as it ends."""
    accelerator().free_memory()
    accelerator().end_training()


def keep_together(
    step: str,
    settings: Mapping[str, Any],
    make: Callable[[Path], None],
    *,
    inputs: Names = (),
    code: Names = (),
) -> Path:
    """`store.keep` under `accelerate launch`: the first process keeps, all make, and none goes on before it is kept."""
    from accelerate.utils import broadcast_object_list

    accel = accelerator()  # unlike a bare PartialState it sees processes on CPUs, too

    def make_with_all(directory: Path) -> None:
        broadcast_object_list([str(directory), None])
        make(directory)
        accel.wait_for_everyone()  # else the entry might be closed while a slower process still writes

    if accel.is_main_process:
        entry = store.keep(step, settings, make_with_all, inputs=inputs, code=code)
        broadcast_object_list([None, entry.name])
        return entry
    told = [None, None]
    while broadcast_object_list(told)[0]:
        make(Path(str(told[0])))
        accel.wait_for_everyone()
    return store.store_dir() / str(told[1])


def keep_array(
    step: str, settings: Mapping[str, Any], count: Callable[[], int], part: Callable[[np.ndarray], np.ndarray], *,
    inputs: Names = (), code: Names = (),
) -> Path:  # fmt: skip
    """The file `<step>.npy` of an entry: what `part` makes of row numbers, int64 (k,), from 0 to `count()` - 1.

    Processes take at most 1,024 rows at a time in turn; each part is (k, ...), of one type and shape of row.
    """

    def make(directory: Path) -> None:
        accel, n, path = accelerator(), count(), directory / f"{step}.npy"
        block = min(1024, -(-n // accel.num_processes))
        own = np.split(np.arange(n), range(block, n, block))[
            accel.process_index :: accel.num_processes
        ]
        made = map(part, own)
        if (first := next(made, None)) is not None and accel.is_main_process:
            np.lib.format.open_memmap(path, "w+", first.dtype, (n, *first.shape[1:]))
        accel.wait_for_everyone()
        with path.open("r+b") as file:  # not mapped, so that a full disk is an error and no crash
            for rows, values in zip(
                own, itertools.chain([] if first is None else [first], made), strict=True
            ):
                file.seek((int(rows[0]) - n) * values[0].nbytes, os.SEEK_END)
                file.write(values.tobytes())

    return keep_together(step, settings, make, inputs=inputs, code=code) / f"{step}.npy"


def all_gather(rows: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes, in the processes' order; gradients flow back to each."""
    from torch import cat, distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return rows
    from torch.distributed.nn.functional import all_gather

    return cat(all_gather(rows))
