"""The simulated study of grading (notebook 07), and tables of real grades."""
