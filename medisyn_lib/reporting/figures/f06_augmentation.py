"""Figures of notebook 06."""

from medisyn_lib.reporting.drawing import contact_sheet, curves, forest
from medisyn_lib.reporting.render import FigureSpec

IMAGES = FigureSpec(
    "06_images",
    contact_sheet,
    shows="A classifier's real images, the same after classical augmentation, and synthetic ones.",
)
LEARNING = FigureSpec(
    "06_learning",
    curves,
    shows="Classifiers by the number of real images, with and without synthetic ones.",
)
RATIO = FigureSpec(
    "06_ratio",
    curves,
    shows="What synthetic images add to n real ones, by how many there are for each real one.",
)
GAIN = FigureSpec(
    "06_gain",
    forest,
    shows="The gain from synthetic images at the smallest n, with its controls.",
)
