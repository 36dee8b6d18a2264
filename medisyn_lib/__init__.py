"""MediSyn companion: the library behind the notebooks. Importing it loads nothing heavy."""

import os

__version__ = "0.1.0"

# Transformers draws a bar for each file; in a notebook it is a widget, whose state no stored output should hold.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
