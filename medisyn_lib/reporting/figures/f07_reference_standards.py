"""Figures of notebook 07."""

from medisyn_lib.reporting.drawing import curves, forest
from medisyn_lib.reporting.render import FigureSpec

MODES = FigureSpec(
    "07_modes",
    forest,
    shows="Which errors make majority and adjudication differ (simulated graders).",
)
KAPPAS = FigureSpec(
    "07_kappas",
    forest,
    shows="Graders and algorithm judged by three references.",
)
ROC = FigureSpec(
    "07_roc",
    curves,
    shows="The same algorithm and the same graders under two references.",
)
TUNING = FigureSpec(
    "07_tuning",
    curves,
    shows="Algorithms by the grades that tuned them, and what adjudicated grades gain at equal cost.",
)
CORRELATION = FigureSpec(
    "07_correlation",
    curves,
    shows="What adjudication gains as graders' errors become alike.",
)
SYNTHETIC = FigureSpec(
    "07_synthetic",
    forest,
    shows="What synthetic images beside phantoms do to the algorithm, by the reference that tuned it.",
)
