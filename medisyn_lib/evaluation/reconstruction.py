"""What an autoencoder keeps of held-out images, by an encoder's eye and by physics that none can flatter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medisyn_lib.evaluation import image_physics
from medisyn_lib.evaluation.nearness import nearness_by_modality
from medisyn_lib.models import encoders
from medisyn_lib.training.autoencoder import peak_signal_to_noise

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["lost_detail", "reconstruction_table"]

LESIONS = "fundus"  # the modality whose small lesions are counted
SPECKLED = ("breast_ultrasound", "retinal_oct")
LINED = ("fundus", "endoscopy")  # with vessels
RINGS = 8  # of spatial frequency


def reconstruction_table(
    *, real: np.ndarray, decoded: np.ndarray, modality: np.ndarray
) -> pd.DataFrame:
    """Tabulate what reconstructions keep, one row per modality.

    Parameters
    ----------
    real, decoded : np.ndarray
        uint8 (n, h, h, 3); image i of both belongs together.
    modality : np.ndarray
        Key of each image, str (n,).

    Returns
    -------
    pd.DataFrame
        By modality: `n`; `KID` and `coverage` (k = 5) by EfficientNet-Lite0; `psnr` in decibels;
        `spectrum`, the farthest ratio of power up to half the Nyquist frequency; of ultrasound and
        OCT `speckle`, the ratio of local contrast; of the fundus `kept`, the proportion of small
        spots that are still seen, and `invented`, the proportion of those in reconstructions that
        the image does not have; of fundus and endoscopy `lines`, how much of the contrast of thin
        vessels is kept. NaN elsewhere.
    """
    table = nearness_by_modality(
        real=encoders.features(real), synthetic=encoders.features(decoded), modality=modality
    )
    for name in table.index:
        chosen = modality == name
        kept = _physics(str(name), real=real[chosen], decoded=decoded[chosen])
        table.loc[name, list(kept)] = list(kept.values())
    return table


def lost_detail(*, real: np.ndarray, decoded: np.ndarray, modality: np.ndarray) -> pd.DataFrame:
    """Tabulate which detail reconstructions lose: the power of the difference over that of the image.

    Parameters
    ----------
    real, decoded : np.ndarray
        uint8 (n, h, h, 3); image i of both belongs together.
    modality : np.ndarray
        Key of each image, str (n,).

    Returns
    -------
    pd.DataFrame
        A row for each modality and ring of spatial frequency: `modality`; `fineness` in % of the finest that
        pixels can show (the Nyquist frequency); `lost`, 0 where all is kept, 1 where as much is wrong as there
        is.
    """
    import pandas as pd

    tables = []
    for name in dict.fromkeys(modality.tolist()):
        chosen = modality == name
        difference = decoded[chosen].astype(np.float64) - real[chosen]
        frequency, power = image_physics.power_spectrum(real[chosen], RINGS)
        _, wrong = image_physics.power_spectrum(difference, RINGS)
        lost = wrong / np.maximum(power, 1e-12)
        fineness = 100 * frequency / image_physics.NYQUIST
        tables.append(pd.DataFrame({"modality": name, "fineness": fineness, "lost": lost}))
    return pd.concat(tables, ignore_index=True)


def _physics(name: str, *, real: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    row = {
        "psnr": float(peak_signal_to_noise(real=real, decoded=decoded).mean()),
        "spectrum": image_physics.spectrum_ratio(real=real, decoded=decoded),
        "speckle": float("nan"),
        "kept": float("nan"),
        "invented": float("nan"),
        "lines": float("nan"),
    }
    if name in SPECKLED:
        contrasts = [np.median(image_physics.local_contrast(images)) for images in (decoded, real)]
        row["speckle"] = float(contrasts[0] / contrasts[1])
    if name == LESIONS:
        match = image_physics.match_blobs(real=real, decoded=decoded)
        row["kept"] = match.kept / max(1, match.real)
        row["invented"] = match.invented / max(1, match.decoded)
    if name in LINED:
        row["lines"] = image_physics.line_contrast_kept(real=real, decoded=decoded)
    return row
