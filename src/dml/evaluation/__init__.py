"""Figures of embeddings: arrays in, numbers out."""

from dml.evaluation.clustering import Clustering, clustering
from dml.evaluation.probes import LinearEvaluation, linear_evaluation
from dml.evaluation.retrieval import Retrieval, retrieval

__all__ = [
    "Clustering",
    "LinearEvaluation",
    "Retrieval",
    "clustering",
    "linear_evaluation",
    "retrieval",
]
