"""Figures, comparisons of runs and audit reports."""
