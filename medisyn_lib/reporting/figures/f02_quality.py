"""Figures of notebook 02."""

from medisyn_lib.reporting.drawing import contact_sheet, forest
from medisyn_lib.reporting.render import FigureSpec

SIDE_BY_SIDE = FigureSpec(
    "02_side_by_side",
    contact_sheet,
    shows="Real images, and the same prompts and seeds drawn by the generalist and by a specialist.",
)
MEASURES = FigureSpec(
    "02_measures",
    forest,
    shows="Distance from, and overlap with, held-out real images: generalist, specialists, controls and floors.",
)
LOG_RATIOS = FigureSpec(
    "02_log_ratios",
    forest,
    shows="How far generalist and specialist are from real images, as a log-ratio, with the margin of non-inferiority.",
)
