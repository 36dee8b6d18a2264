"""What serving takes: parameters and bytes, and on this machine seconds and memory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from medisyn_lib.pipeline.study import Study
from medisyn_lib.sampling.pipeline import load_pipeline, sample_images, sampling_settings

if TYPE_CHECKING:
    import pandas as pd


class MachineCosts(NamedTuple):
    """What this machine took; no rule uses it."""

    latency: float  # seconds for one image, the generator being loaded
    loading: float  # seconds to load another denoiser
    peak_memory: float  # bytes of this process, all that it did before included


def serving_table(study: Study, generator: Path, modalities: int) -> pd.DataFrame:
    """Tabulate parameters and bytes of one generalist and of a suite with a denoiser per modality."""
    import pandas as pd

    denoiser = study.denoiser_origin.random(study.settings.seeds[0])
    parameters = sum(tensor.numel() for tensor in denoiser.parameters())
    sizes = _bytes_by_part(generator)
    shared = sum(sizes.values()) - sizes["unet"]
    columns = {}
    for name, count in (("generalist", 1), ("suite", modalities)):
        columns[name] = [count * parameters / 1e6, (shared + count * sizes["unet"]) / 1e6]
    index = ["denoisers' parameters (millions)", "all weights, on disk and in memory (MB)"]
    return pd.DataFrame(columns, index=index)


def _bytes_by_part(generator: Path) -> dict[str, int]:
    """The size of each part of a generator's folder."""
    sizes = {}
    for part in generator.iterdir():
        if part.is_dir():
            files = [path for path in part.rglob("*") if path.is_file()]
            sizes[part.name] = sum(path.stat().st_size for path in files)
    return sizes


def machine_costs(study: Study, generator: Path, prompt: str) -> MachineCosts:
    """Time one image of a generator and the loading of a denoiser, and read the peak memory."""
    import resource

    denoiser = study.denoiser(seed=study.settings.seeds[0])
    denoiser.ensure()
    pipeline = load_pipeline(str(generator))
    start = time.perf_counter()
    sample_images(pipeline, [prompt], [0], **sampling_settings(str(generator)))
    latency = time.perf_counter() - start
    start = time.perf_counter()
    denoiser.load()
    loading = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return MachineCosts(latency, loading, peak)
