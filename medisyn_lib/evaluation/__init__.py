"""Measures of generators, images and graders."""
