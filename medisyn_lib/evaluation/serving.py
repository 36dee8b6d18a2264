"""What serving takes: parameters and bytes, and on one machine seconds and memory."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from medisyn_lib.pipeline.generators import Generator
from medisyn_lib.pipeline.paired_samples import evaluation_split
from medisyn_lib.pipeline.parts import Part
from medisyn_lib.pipeline.study import Study
from medisyn_lib.sampling.pipeline import load_pipeline, sample_images, sampling_settings

if TYPE_CHECKING:
    import pandas as pd


class MachineCosts(NamedTuple):
    """What the machine took that served it first; no rule uses it."""

    latency: float  # seconds for one image, the generator being loaded
    loading: float  # seconds to load another denoiser
    peak_memory: float  # bytes of the process, all that it did before included


@dataclass(frozen=True, eq=False)
class ServingCosts(Part):
    """The size of each part of a generator's folder, and what one machine took to serve it."""

    step = "serving"
    code = (sys.modules[__name__],)
    generator: Generator
    prompt: str

    def measure(self) -> dict[str, Any]:
        """Weigh the folder, time one image and the loading of a denoiser, and read the peak memory."""
        import resource

        folder = self.generator.folder
        pipeline = load_pipeline(str(folder))
        start = time.perf_counter()
        sample_images(pipeline, [self.prompt], [0], **sampling_settings(str(folder)))
        latency = time.perf_counter() - start
        start = time.perf_counter()
        self.generator.denoiser.load()
        loading = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        costs = MachineCosts(latency, loading, peak)
        return {"bytes": _bytes_by_part(folder), "machine": costs._asdict()}


def serving_costs(study: Study) -> ServingCosts:
    """Return the part about the first training seed's generalist, which is asked for its first held-out caption."""
    prompt = evaluation_split(study, 0).dataset["caption"][0]
    return ServingCosts(study.generator(seed=study.settings.seeds[0]), prompt)


def serving_table(study: Study, costs: ServingCosts, modalities: int) -> pd.DataFrame:
    """Tabulate parameters and bytes of one generalist and of a suite with a denoiser per modality."""
    import pandas as pd

    denoiser = study.denoiser_origin.random(study.settings.seeds[0])
    parameters = sum(tensor.numel() for tensor in denoiser.parameters())
    sizes = costs.value["bytes"]
    shared = sum(sizes.values()) - sizes["unet"]
    columns = {}
    for name, count in (("generalist", 1), ("suite", modalities)):
        columns[name] = [count * parameters / 1e6, (shared + count * sizes["unet"]) / 1e6]
    index = ["denoisers' parameters (millions)", "all weights, on disk and in memory (MB)"]
    return pd.DataFrame(columns, index=index)


def machine_costs(costs: ServingCosts) -> MachineCosts:
    """Return what the machine took that served it first."""
    return MachineCosts(**costs.value["machine"])


def _bytes_by_part(generator: Path) -> dict[str, int]:
    """The size of each part of a generator's folder."""
    sizes = {}
    for part in generator.iterdir():
        if part.is_dir():
            files = [path for path in part.rglob("*") if path.is_file()]
            sizes[part.name] = sum(path.stat().st_size for path in files)
    return sizes
