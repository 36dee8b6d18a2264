"""The processes that `accelerate launch` started, or this one alone: cached jointly, work dealt out, batches as one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib.runtime import store
from medisyn_lib.runtime.device import accelerator, alone, is_alone
from medisyn_lib.runtime.store import Names

if TYPE_CHECKING:
    import torch

BLOCK_ROWS = 1024  # of an array that is written block by block


def close_processes() -> None:
    """Close the processes' connection; to be called last.

    Wrapped models hold on to the connection, which may abort a process as it ends.
    """
    accelerator().free_memory()
    accelerator().end_training()


def cache_jointly(
    step: str,
    settings: Mapping[str, Any],
    make: Callable[[Path], None],
    *,
    inputs: Names = (),
    code: Names = (),
) -> Path:
    """Return a cached folder as `store.cache` does, made by all processes together.

    The first process looks it up; if it is absent all make it, and none goes on before it is finished.
    Within `device.alone` this process makes it by itself, or waits for another that does.
    """
    if is_alone():
        return store.cache(step, settings, make, inputs=inputs, code=code)

    from accelerate.utils import broadcast_object_list

    accel = accelerator()  # unlike a bare PartialState it sees processes on CPUs, too

    def make_with_all(folder: Path) -> None:
        broadcast_object_list([str(folder), None])
        make(folder)
        accel.wait_for_everyone()  # else the entry might be closed while a slower process writes

    if accel.is_main_process:
        entry = store.cache(step, settings, make_with_all, inputs=inputs, code=code)
        broadcast_object_list([None, entry.name])
        return entry
    message: list[str | None] = [None, None]  # the folder to fill, or the name of the finished one
    while broadcast_object_list(message)[0]:
        make(Path(str(message[0])))
        accel.wait_for_everyone()
    return store.store_dir() / str(message[1])


def agreed(look: Callable[[], Any]) -> Any:
    """Return what the first process finds, to all: they must not see a store differently that others write to."""
    from accelerate.utils import broadcast_object_list

    accel = accelerator()
    message = [look() if accel.is_main_process else None]
    if accel.num_processes > 1:
        broadcast_object_list(message)
    return message[0]


def deal(tasks: Sequence[Callable[[], object]]) -> None:
    """Run cached tasks that do not depend on one another, each whole, by one process.

    They are dealt to the processes in turn. A process that has done its own asks for those of the others, the last
    first: the store's lock then makes it wait, or it takes over what nobody has begun. Nobody waits within a
    collective operation, which would give up after some minutes. Fewer tasks than processes are done by all
    processes together, one after the other.

    Parameters
    ----------
    tasks : sequence of callable
        Each caches one entry of the store, of which all that it is made from is cached; the same on all processes.
    """
    accel = accelerator()
    processes, mine = accel.num_processes, accel.process_index
    if processes == 1 or len(tasks) < processes:
        for task in tasks:
            task()
        return
    others = [task for place, task in enumerate(tasks) if place % processes != mine]
    with alone():
        for task in (*tasks[mine::processes], *reversed(others)):
            task()
    accel.wait_for_everyone()


def write_array(path: Path, n: int, block: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write an array of n rows to a `.npy` file; processes take blocks of rows in turn.

    Parameters
    ----------
    path : Path
        The file, on a disk that all processes share.
    n : int
        Number of rows.
    block : callable
        Makes the rows of these numbers, int64 (k,), at most 1,024 at a time: an array (k, ...), always of
        one type and shape of row.
    """
    accel = accelerator()
    size = min(BLOCK_ROWS, -(-n // accel.num_processes))
    blocks = np.split(np.arange(n), range(size, n, size))
    mine = blocks[accel.process_index :: accel.num_processes]
    first = block(mine[0]) if mine else None
    if accel.is_main_process and first is not None:
        np.lib.format.open_memmap(path, "w+", first.dtype, (n, *first.shape[1:]))
    accel.wait_for_everyone()
    for number, rows in enumerate(mine):
        values = first if number == 0 and first is not None else block(rows)
        _write_rows(path, n, int(rows[0]), values)


def _write_rows(path: Path, n: int, start: int, values: np.ndarray) -> None:
    """Write rows into their place; not mapped, so that a full disk is an error and no crash."""
    with path.open("r+b") as file:
        file.seek((start - n) * values[0].nbytes, os.SEEK_END)
        file.write(values.tobytes())


def all_gather(rows: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes, in the processes' order; gradients flow back to each."""
    from torch import cat, distributed

    if is_alone() or not (distributed.is_available() and distributed.is_initialized()):
        return rows
    from torch.distributed.nn.functional import all_gather

    return cat(all_gather(rows))
