"""Metrics of embeddings: arrays in, numbers out."""

from dml.evaluation.clustering import (
    Clustering,
    clustering,
    threshold_clustering,
    threshold_clusters,
)
from dml.evaluation.embedding_statistics import embedding_statistics
from dml.evaluation.few_shot import FewShot, few_shot
from dml.evaluation.identification import Identification, identification
from dml.evaluation.intervals import class_interval
from dml.evaluation.label_issues import (
    Confusion,
    Duplicate,
    LabelIssues,
    Mislabelled,
    find_label_issues,
)
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
    "Confusion",
    "Duplicate",
    "FewShot",
    "Identification",
    "LabelIssues",
    "LinearEvaluation",
    "Mislabelled",
    "Retrieval",
    "ThresholdKind",
    "Verification",
    "augment_gallery",
    "class_interval",
    "clustering",
    "embedding_statistics",
    "expand_queries",
    "few_shot",
    "find_label_issues",
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
