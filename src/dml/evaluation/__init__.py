"""Figures of embeddings: arrays in, numbers out."""

from dml.evaluation.calibration import Threshold, threshold_for_far, threshold_for_precision
from dml.evaluation.clustering import Clustering, clustering
from dml.evaluation.identification import Identification, identification
from dml.evaluation.probes import LinearEvaluation, linear_evaluation
from dml.evaluation.retrieval import Retrieval, retrieval
from dml.evaluation.verification import Verification, verification

__all__ = [
    "Clustering",
    "Identification",
    "LinearEvaluation",
    "Retrieval",
    "Threshold",
    "Verification",
    "clustering",
    "identification",
    "linear_evaluation",
    "retrieval",
    "threshold_for_far",
    "threshold_for_precision",
    "verification",
]
