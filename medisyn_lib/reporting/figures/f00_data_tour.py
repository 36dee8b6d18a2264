"""Figures of notebook 00."""

from medisyn_lib.reporting.drawing import classes, contact_sheet
from medisyn_lib.reporting.render import FigureSpec

MODALITIES = FigureSpec(
    "00_modalities",
    contact_sheet,
    shows="Images of the generator's training set, twelve of each modality, each of another patient.",
)
CLASSES = FigureSpec(
    "00_classes",
    classes,
    shows="Training images of each finding, by modality.",
)
