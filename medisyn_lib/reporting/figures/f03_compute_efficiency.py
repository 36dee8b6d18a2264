"""Figures of notebook 03."""

from medisyn_lib.reporting.drawing import curves
from medisyn_lib.reporting.render import FigureSpec

FRONTIER = FigureSpec(
    "03_frontier",
    curves,
    shows="Quality against the operations of training: the generalist for all modalities, a specialist for one.",
)
BREAK_EVEN = FigureSpec(
    "03_break_even",
    curves,
    shows="From how many modalities on one generalist is cheaper than a model each.",
)
ELEVENTH = FigureSpec(
    "03_eleventh",
    curves,
    shows="What an eleventh modality costs: the generalist trained on, or a new specialist.",
)
