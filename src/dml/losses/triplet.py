"""Triplet loss (Schroff et al., CVPR 2015, https://arxiv.org/abs/1503.03832)."""

from dataclasses import dataclass

import keras
from keras import ops

from dml.batch_ops import distances, pair_masks, squared_distances
from dml.losses.base import LOSSES, MetricLoss
from dml.miners.triplets import MINING, triplet_counts

DISTANCES = {"squared": squared_distances, "euclidean": distances}


@LOSSES.register("triplet")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class Triplet(MetricLoss):
    """Wants each anchor nearer to its positives than to its negatives, by a margin.

    With d the distance of two embeddings, the mean over the selected triplets of

        max(0, d(anchor, positive) - d(anchor, negative) + margin)

    No triplet is listed: sorting gives the exact sums over all B^3 of them in O(B^2 log B) time
    and O(B^2) memory. Wants at least 2 images of each class in a batch. `hard` from the start can
    collapse to one point, at a loss of `margin`: begin with `semi_hard`, or use `soft_margin`.

    Args:
        margin: In units of the distance; at least 0. 0.2 in the paper. Unused with `soft_margin`.
        mining: `semi_hard` (paper): triplets with a hinge whose negative is farther than the
            positive; `all`: every triplet with a hinge (the mean is over those); `hard`: each
            anchor's farthest positive and nearest negative (Hermans et al., 2017).
        distance: `squared` Euclidean (paper) or plain `euclidean` (Hermans et al.).
        soft_margin: log(1 + exp(d(anchor, positive) - d(anchor, negative))) in place of the
            hinge (Hermans et al.), with `mining="hard"` only. False in the paper.

    Call arguments:
        labels: Integers (B,).
        embeddings: Floats (B, D).

    Returns:
        Scalar, at least 0; 0 when no triplet is selected.

    Raises:
        ValueError: An option is out of its range, or `soft_margin` without `hard`.
    """

    margin: float = 0.2
    mining: str = "semi_hard"
    distance: str = "squared"
    soft_margin: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.margin < 0:
            raise ValueError(f"margin must be at least 0; got {self.margin}")
        if self.mining not in MINING:
            raise ValueError(f"mining must be one of {', '.join(MINING)}; got {self.mining!r}")
        if self.distance not in DISTANCES:
            raise ValueError(
                f"distance must be one of {', '.join(DISTANCES)}; got {self.distance!r}"
            )
        if self.soft_margin and self.mining != "hard":
            raise ValueError(f"soft_margin needs mining 'hard'; got {self.mining!r}")

    def batch_loss(self, labels, embeddings):
        d = DISTANCES[self.distance](embeddings)
        return mean_hinge(d, *triplet_counts(labels, d, self.margin, self.mining), self)

    def active_share(self, labels, embeddings):
        d = DISTANCES[self.distance](embeddings)
        as_positive, as_negative = triplet_counts(labels, d, self.margin, self.mining)
        if self.mining == "hard":
            gaps, valid = anchor_gaps(d, as_positive, as_negative)
            active = ops.cast(self.soft_margin or gaps + self.margin > 0, "float32") * valid
            return ops.sum(active) / ops.maximum(ops.sum(valid), 1.0)
        positives, negatives = (
            ops.sum(ops.cast(mask, "float32"), axis=1) for mask in pair_masks(labels)
        )
        return ops.sum(as_positive) / ops.maximum(ops.sum(positives * negatives), 1.0)


def anchor_gaps(d, as_positive, as_negative):
    """Returns d(anchor, positive) - d(anchor, negative) (B,) of hard triplets, and which exist."""
    return ops.sum((as_positive - as_negative) * d, axis=1), ops.sum(as_positive, axis=1)


def mean_hinge(d, as_positive, as_negative, options):
    """Returns the mean loss of the triplets that these counts stand for."""
    if options.mining == "hard":
        gaps, valid = anchor_gaps(d, as_positive, as_negative)
        hinge = ops.softplus(gaps) if options.soft_margin else ops.relu(gaps + options.margin)
        return ops.sum(hinge * valid) / ops.maximum(ops.sum(valid), 1.0)
    triplets = ops.sum(as_positive)
    # The hinges of all selected triplets, summed pair by pair: each is linear in its distances.
    total = ops.sum((as_positive - as_negative) * d) + options.margin * triplets
    return total / ops.maximum(triplets, 1.0)
