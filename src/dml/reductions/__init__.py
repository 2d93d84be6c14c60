"""Reductions, which turn the losses of all anchors into one number."""

from dml.reductions.base import REDUCTIONS, Reduction
from dml.reductions.class_weighted import ClassWeighted
from dml.reductions.non_zero import NonZero
from dml.reductions.per_anchor import PerAnchor

__all__ = ["REDUCTIONS", "ClassWeighted", "NonZero", "PerAnchor", "Reduction"]
