"""Operations of a batch's losses: labels, masks of pairs, stable sums, distances, gradients."""

from dml.ops.distances import (
    DISTANCES,
    check_distance,
    cosine,
    dot,
    euclidean,
    poincare,
    snr,
    squared,
)
from dml.ops.gradients import custom_gradient
from dml.ops.histograms import soft_histogram
from dml.ops.labels import (
    has_column,
    is_relation,
    memberships,
    own_column,
    relation_of,
    relation_of_distinct,
    relation_of_memberships,
    same_label,
)
from dml.ops.masks import (
    as_weights,
    class_sizes,
    complement,
    is_boolean,
    keep,
    pair_masks,
    present,
    relation_masks,
)
from dml.ops.rounding import round_at_random
from dml.ops.rows import set_rows, take_rows
from dml.ops.sums import (
    log1p_sum_exp,
    log_sum_exp,
    mean_over,
    ratio,
    row_shares,
    share_kept,
    weighted_sum,
)
from dml.ops.targets import Targets, check_targets
from dml.ops.vectors import cosines_to, products, spread_within_classes, unit_length

__all__ = [
    "DISTANCES",
    "Targets",
    "as_weights",
    "check_distance",
    "check_targets",
    "class_sizes",
    "complement",
    "cosine",
    "cosines_to",
    "custom_gradient",
    "dot",
    "euclidean",
    "has_column",
    "is_boolean",
    "is_relation",
    "keep",
    "log1p_sum_exp",
    "log_sum_exp",
    "mean_over",
    "memberships",
    "own_column",
    "pair_masks",
    "poincare",
    "present",
    "products",
    "ratio",
    "relation_masks",
    "relation_of",
    "relation_of_distinct",
    "relation_of_memberships",
    "round_at_random",
    "row_shares",
    "same_label",
    "set_rows",
    "share_kept",
    "snr",
    "soft_histogram",
    "spread_within_classes",
    "squared",
    "take_rows",
    "unit_length",
    "weighted_sum",
]
