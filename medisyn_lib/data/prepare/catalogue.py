"""What `medisyn data prepare` can read, by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from medisyn_lib.data.prepare.busi import BUSI
from medisyn_lib.data.prepare.ham10000 import HAM10000
from medisyn_lib.data.prepare.nct_crc_he import NCT_CRC_HE
from medisyn_lib.data.prepare.nih_chest_xray14 import NIH_CHEST_XRAY14
from medisyn_lib.data.prepare.oct2017 import OCT2017
from medisyn_lib.data.prepare.public_set import PublicSet

__all__ = ["FORMATS", "PUBLIC_SETS", "FileFormat"]


@dataclass(frozen=True)
class FileFormat:
    """A format of files that any hospital or lab has.

    Attributes
    ----------
    module
        Name of the module of this folder that reads it.
    help
        What is read, one line.
    """

    module: str
    help: str


FORMATS: Mapping[str, FileFormat] = MappingProxyType(
    {
        "dicom": FileFormat(
            "dicom", "your own DICOM: single frames, ids hashed, nothing else of the headers kept"
        ),
        "nifti": FileFormat(
            "nifti", "your own NIfTI volumes: axial slices, each volume by itself, ids hashed"
        ),
    }
)
PUBLIC_SETS: dict[str, PublicSet] = {
    "ham10000": HAM10000,
    "nih-chest-xray14": NIH_CHEST_XRAY14,
    "oct2017": OCT2017,
    "nct-crc-he": NCT_CRC_HE,
    "busi": BUSI,
}
