"""Figures of notebook 01."""

from medisyn_lib.reporting.drawing import contact_sheet, curves, forest
from medisyn_lib.reporting.render import FigureSpec

LOSSES = FigureSpec(
    "01_losses",
    curves,
    shows="The loss of generalist and specialists while they train.",
    columns={"images_seen": "x", "loss": "y", "model": "group"},
    labels={"xlabel": "images seen in training", "ylabel": "flow-matching loss"},
)
PROGRESS = FigureSpec(
    "01_progress",
    contact_sheet,
    shows="One prompt and seed of each modality after an eighth, a quarter, a half and all of the training.",
)
FIRST_STAGE = FigureSpec(
    "01_first_stage",
    contact_sheet,
    shows="Held-out images, and what is left of each after the first stage: the best that a generator here can do.",
)
PROMPTS = FigureSpec(
    "01_prompts",
    contact_sheet,
    shows="Synthetic images by prompt, eight of each modality, not chosen by eye.",
)
READ_BACK = FigureSpec(
    "01_read_back",
    forest,
    shows="How often modality and finding of the prompt are read back from synthetic images, against real ones.",
    columns={"modality": "label", "share": "value", "images": "group", "what": "panel"},
    labels={"xlabel": "share of images read right"},
)
