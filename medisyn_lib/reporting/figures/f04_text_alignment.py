"""Figures of notebook 04."""

from medisyn_lib.reporting.drawing import contact_sheet, curves, forest
from medisyn_lib.reporting.render import FigureSpec

READ_BACK = FigureSpec(
    "04_read_back",
    forest,
    shows="Each attribute of the prompt read back, from real images (the ceiling) to deranged captions (chance).",
)
BY_MODALITY = FigureSpec(
    "04_by_modality",
    forest,
    shows="Findings and other attributes read back, by modality.",
)
WORD_BY_WORD = FigureSpec(
    "04_word_by_word",
    forest,
    shows="Prompts that differ in one word or part, same seed: what is seen before and after the change.",
)
GUIDANCE = FigureSpec(
    "04_guidance",
    curves,
    shows="Stronger guidance: how surely the prompt is followed, and what that costs in diversity.",
)
PAIRS = FigureSpec(
    "04_pairs",
    contact_sheet,
    shows="The first pairs of one reader's study: which is synthetic, A or B?",
)
TOLD_APART = FigureSpec(
    "04_told_apart",
    forest,
    shows="How often readers tell synthetic from real images, with the margin of equivalence. Simulated unless said.",
)
RATINGS = FigureSpec(
    "04_ratings",
    forest,
    shows="How real images look to readers, and how well captions fit. Simulated readers unless said.",
)
AGREEMENT = FigureSpec(
    "04_agreement",
    forest,
    shows="How far readers agree, with each other and with themselves. Simulated readers unless said.",
)
RECOVERED = FigureSpec(
    "04_recovered",
    forest,
    shows="How often the analysis of a reader study covers the skill that was planted in simulated readers.",
)
