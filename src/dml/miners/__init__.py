"""Miners: which pairs of a batch a loss looks at, as dense boolean masks."""

from dml.miners.base import MINERS
from dml.miners.multi_similarity import MultiSimilarityMiner

__all__ = ["MINERS", "MultiSimilarityMiner"]
