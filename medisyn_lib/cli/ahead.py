"""What an audit's notebook 05 will need, made ahead in processes of their own, so that no core idles meanwhile.

A notebook does one thing after another, on one thread where there are two cores. Its copier and the second encoder
depend on the data alone. The store has a lock for each: the notebook waits for what is being made, and makes what is
not, so that whatever is wrong with the data is said there.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from medisyn_lib.cli.kernels import threads_each

if TYPE_CHECKING:
    from medisyn_lib.pipeline.study import Study

NOTEBOOK = "05_memorization"


@contextlib.contextmanager
def made_ahead(
    notebooks: Sequence[str], *, profile: str, data: str, jobs: int
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """While this lasts, make ahead what notebook 05 needs of any generator made elsewhere, if it is to run.

    Parameters
    ----------
    notebooks : sequence of str
        Names of those that run meanwhile.
    profile, data : str
        As of the notebooks.
    jobs : int
        How many processes there may be, notebooks included; no more are started than there are cores.

    Yields
    ------
    list of Popen
        The processes. They end with the block.
    """
    spare = min(jobs - len(notebooks), os.cpu_count() or 1)
    names = list(MAKERS)[: max(0, spare)] if NOTEBOOK in notebooks else []
    settings = {"OMP_NUM_THREADS": threads_each(jobs)}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", __name__, name, profile, data],
            env=os.environ | settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in names
    ]
    try:
        yield running
    finally:
        for process in running:
            process.terminate()
            process.wait()


def _make_second_encoder(study: Study) -> None:
    study.transformer_encoder().ensure()


def _make_copier(study: Study) -> None:
    from medisyn_lib.pipeline.overfitted import overfitted_rows, small_overfitted_denoiser

    images = study.image_set("generator")
    small_overfitted_denoiser(study, images, overfitted_rows(images.load())).ensure()


MAKERS: dict[str, Callable[[Study], None]] = {  # the longest first
    "copier": _make_copier,
    "second_encoder": _make_second_encoder,
}


def main(name: str, profile: str, data: str) -> None:
    """Make one of `MAKERS`."""
    from medisyn_lib.pipeline.study import Study

    MAKERS[name](Study(profile, data))


if __name__ == "__main__":
    main(*sys.argv[1:])
