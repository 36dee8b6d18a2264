"""Figures of the benchmarks."""

from medisyn_lib.reporting.drawing import curves
from medisyn_lib.reporting.render import FigureSpec

GROWTH = FigureSpec(
    "growth",
    curves,
    shows="Memory and time of training, and time of evaluation, by the number of images (BENCHMARKS.md).",
)
