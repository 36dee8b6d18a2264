"""MediSyn companion: the library behind the notebooks. Importing it loads nothing heavy."""

__version__ = "0.1.0"
