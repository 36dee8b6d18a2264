"""The kinds of data source: which module of this folder reads each, and how one is written."""

from dataclasses import dataclass

__all__ = ["KINDS", "SourceKind"]


@dataclass(frozen=True)
class SourceKind:
    """One kind of data source.

    Attributes
    ----------
    module
        Name of the module of `medisyn_lib.data` that reads it.
    help
        How a source of this kind is written, one line.
    """

    module: str
    help: str


KINDS: dict[str, SourceKind] = {
    "phantom": SourceKind(
        module="phantom",
        help="digital phantoms of all ten modalities, drawn here: any number, every attribute known"
        " (the default)",
    ),
    "npz": SourceKind(
        module="npz",
        help="npz:DIR - every top-level *.npz of a folder in MedMNIST layout, file stem = modality",
    ),
    "medmnist": SourceKind(
        module="npz",
        help="medmnist:NAME[,NAME...][@28|64|128|224] - MedMNIST through its official package"
        " (downloads once)",
    ),
    "folder": SourceKind(
        module="tables",
        help="folder:DIR - image files beside metadata.csv or metadata.jsonl with"
        " file_name,text[,modality,finding,...]; folder:DIR@MODALITY makes captions of labels or of class"
        " folders; options behind it: ?map=OTHER:test&words=40",
    ),
    "hub": SourceKind(
        module="tables",
        help="hub:OWNER/NAME - a Hugging Face dataset with columns image and text or caption"
        " (downloads once); hub:OWNER/NAME@MODALITY makes captions of its labels; options as of folder, and"
        " ?config=NAME",
    ),
}
