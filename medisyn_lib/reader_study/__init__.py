"""A reader study that anyone can run: blinded pages, checked answers, analysis, simulated readers."""
