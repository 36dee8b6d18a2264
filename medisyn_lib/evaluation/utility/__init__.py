"""Utility: do synthetic images improve a classifier? Many small classifiers, at equal optimiser steps.

Two families: softmax regressions on frozen features, of which hundreds of trainings average out luck, and
small networks that learn their features, each trained by itself.
"""
