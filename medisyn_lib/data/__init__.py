"""Data sources, splits by patient, pixels and data cards."""
