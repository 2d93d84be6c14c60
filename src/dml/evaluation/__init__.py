"""Figures of embeddings: arrays in, numbers out."""

from dml.evaluation.clustering import (
    Clustering,
    clustering,
    threshold_clustering,
    threshold_clusters,
)
from dml.evaluation.doctor import Findings, doctor
from dml.evaluation.few_shot import FewShot, few_shot
from dml.evaluation.health import health
from dml.evaluation.identification import Identification, identification
from dml.evaluation.probes import LinearEvaluation, knn_evaluation, linear_evaluation
from dml.evaluation.rerank import augment_gallery, expand_queries, k_reciprocal
from dml.evaluation.retrieval import Retrieval, retrieval
from dml.evaluation.thresholds import (
    CalibratedThreshold,
    ThresholdKind,
    threshold_for_far,
    threshold_for_precision,
    thresholds_from_json,
)
from dml.evaluation.verification import Verification, verification

__all__ = [
    "CalibratedThreshold",
    "Clustering",
    "FewShot",
    "Findings",
    "Identification",
    "LinearEvaluation",
    "Retrieval",
    "ThresholdKind",
    "Verification",
    "augment_gallery",
    "clustering",
    "doctor",
    "expand_queries",
    "few_shot",
    "health",
    "identification",
    "k_reciprocal",
    "knn_evaluation",
    "linear_evaluation",
    "retrieval",
    "threshold_clustering",
    "threshold_clusters",
    "threshold_for_far",
    "threshold_for_precision",
    "thresholds_from_json",
    "verification",
]
