"""Figures of notebook 05."""

from medisyn_lib.reporting.drawing import contact_sheet, curves
from medisyn_lib.reporting.render import FigureSpec

DISTANCES = FigureSpec(
    "05_distances",
    curves,
    shows="How near images lie to a training image: held-out real ones, synthetic ones, planted copies, by three looks.",
    columns={"reference": "upright"},
    labels={"drawstyle": "steps-post"},
)
DETECTION = FigureSpec(
    "05_detection",
    curves,
    shows="How small a share of planted copies in a set is noticed.",
)
PAIRS = FigureSpec(
    "05_pairs",
    contact_sheet,
    shows="The most suspicious matches of the generator and of a model that was over-trained to copy.",
)
LENGTH = FigureSpec(
    "05_length",
    curves,
    shows="Share of images flagged as copies against how often a model saw its training images.",
)
