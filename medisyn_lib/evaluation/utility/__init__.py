"""Utility: do synthetic images improve a classifier? Many small classifiers, at equal optimiser steps.

A classifier is a softmax regression on frozen features, so that hundreds of trainings average out luck.
"""
