"""Triplet loss."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_at_least, check_known
from dml.errors import OptionError
from dml.losses.base import LOSSES, DistanceLoss
from dml.miners._triplets import MINING, triplet_counts
from dml.ops import as_weights, ratio, weighted_sum


@LOSSES.register("triplet")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class Triplet(DistanceLoss):
    """Pulls each anchor nearer to its positives than to its negatives, by a margin.

    With d the distance of two embeddings, the mean over the selected triplets of

        max(0, d(anchor, positive) - d(anchor, negative) + margin)

    No triplet is listed: sorting gives the exact sums over all B^3 of them in O(B^2 log B) time
    and O(B^2) memory. Needs at least 2 images of each class in a batch. Training with `hard` from
    the start can collapse to one point, at a loss of `margin`: start with `semi_hard`, or use
    `soft_margin`.

    Args:
        margin: Margin, in units of the distance; at least 0. 0.2 in the paper. Unused with
            `soft_margin`.
        mining: `semi_hard` (paper): triplets with a hinge whose negative is farther than the
            positive; `all`: every triplet with a hinge (the mean is over those); `hard`: each
            anchor's farthest positive and nearest negative (Hermans et al., 2017).
        distance: `squared` Euclidean (paper), plain `euclidean` (Hermans et al.), or another of
            `dml.ops.distances`.
        soft_margin: log(1 + exp(d(anchor, positive) - d(anchor, negative))) in place of the
            hinge (Hermans et al.), with `mining="hard"` only. False in the paper.

    Call arguments:
        labels: Integers (B,), or a relation (B, B).
        embeddings: Floats (B, D).

    Returns:
        Scalar, at least 0; 0 when no triplet is selected.

    Raises:
        OptionError: An option is out of its range, or `soft_margin` without `hard`.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> round(float(dml.losses.Triplet(mining="hard")(labels, x)), 3)
        0.26

    References:
        - [Schroff et al., CVPR 2015](https://arxiv.org/abs/1503.03832)
        - [Hermans et al., 2017](https://arxiv.org/abs/1703.07737)
    """

    margin: float = 0.2
    mining: str = "semi_hard"
    distance: str = "squared"
    soft_margin: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_at_least(0, margin=self.margin)
        check_known(MINING, mining=self.mining)
        if self.soft_margin and self.mining != "hard":
            raise OptionError("soft_margin", f"needs mining 'hard'; got {self.mining!r}")

    def counts(self, d, positive, negative):
        return triplet_counts(d, positive, negative, self.margin, self.mining)

    def pair_loss(self, d, positive, negative):
        return self.mean_hinge(d, *self.counts(d, positive, negative))

    def mean_hinge(self, d, as_positive, as_negative):
        """Returns the mean loss of the triplets with these counts."""
        if self.mining == "hard":
            gaps, valid = _anchor_gaps(d, as_positive, as_negative)
            hinge = ops.softplus(gaps) if self.soft_margin else ops.relu(gaps + self.margin)
            return ratio(ops.sum(hinge * valid), ops.sum(valid))
        triplets = ops.sum(as_positive)
        # The hinges of all selected triplets, summed pair by pair: each is linear in its distances.
        total = weighted_sum(d, as_positive - as_negative) + self.margin * triplets
        return ratio(total, triplets)

    def pair_share(self, d, positive, negative):
        as_positive, as_negative = self.counts(d, positive, negative)
        if self.mining == "hard":
            gaps, valid = _anchor_gaps(d, as_positive, as_negative)
            active = ops.cast(self.soft_margin or gaps + self.margin > 0, "float32") * valid
            return ratio(ops.sum(active), ops.sum(valid))
        positives, negatives = (ops.sum(as_weights(m), axis=1) for m in (positive, negative))
        return ratio(ops.sum(as_positive), ops.sum(positives * negatives))


def _anchor_gaps(d, as_positive, as_negative):
    """Returns d(anchor, positive) - d(anchor, negative) (B,) of hard triplets, and which exist."""
    return ops.sum((as_positive - as_negative) * d, axis=1), ops.sum(as_positive, axis=1)
