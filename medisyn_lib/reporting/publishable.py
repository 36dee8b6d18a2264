"""Which figures of a run may be shown to others."""

from __future__ import annotations

from pathlib import Path

from medisyn_lib.reporting.drawing import contact_sheet
from medisyn_lib.reporting.gallery import FIGURES

KINDS = (".png", ".svg", ".csv")


def publishable_figures(folder: Path, source: str) -> list[Path]:
    """Return the files of figures that may be published.

    Files named `*.real.*` show real images and stay behind, as do, of other sources than phantoms,
    all contact sheets: not every licence allows what was learnt from its images to be shown.

    Parameters
    ----------
    folder : Path
        A run's figures.
    source : str
        Its data source.
    """
    paths = []
    for path in sorted(folder.glob("*")):
        spec = FIGURES.get(path.name.split(".")[0])
        is_sheet = spec is not None and spec.draw is contact_sheet
        is_shown = ".real." not in path.name and (source == "phantom" or not is_sheet)
        if path.suffix in KINDS and is_shown:
            paths.append(path)
    return paths
