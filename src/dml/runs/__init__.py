"""Runs: training, evaluating, exporting and comparing what a recipe describes."""
