"""Contrastive loss (Hadsell, Chopra, LeCun, CVPR 2006)."""

from dataclasses import dataclass

import keras
from keras import ops

from dml.batch_ops import is_boolean, keep, present, ratio, weights
from dml.losses.base import LOSSES, DistanceLoss, require


@LOSSES.register("contrastive")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class Contrastive(DistanceLoss):
    """Pulls positive pairs within one distance and pushes negative ones beyond another.

    With d the distance of two embeddings, the sum of two means, over the positive and over the
    negative pairs that are not yet where they should be:

        max(0, d - positive_margin)^power        max(0, negative_margin - d)^power

    Positives and negatives are averaged apart, and over active pairs only, as in
    pytorch-metric-learning: in a batch negatives are hundreds to one. The paper sums over all
    pairs, halved. Each pair counts by itself, so a well chosen margin matters more than in losses
    that weigh pairs.

    Args:
        positive_margin: Distance below which a positive pair rests. At least 0; 0 in the paper.
        negative_margin: Distance beyond which a negative pair rests. Above `positive_margin`;
            1 in the paper's experiments. On unit vectors, unrelated ones are sqrt(2) apart.
        power: 2 (paper), or 1, which much code uses.
        distance: `euclidean` (paper), or another of `dml.distances`.

    Call arguments:
        labels: Integers (B,), or a relation (B, B).
        embeddings: Floats (B, D).

    Returns:
        Scalar, at least 0.

    Raises:
        ValueError: An option is out of its range.
    """

    positive_margin: float = 0.0
    negative_margin: float = 1.0
    power: int = 2
    distance: str = "euclidean"

    def __post_init__(self):
        super().__post_init__()
        require(self.power in (1, 2), "power must be 1 or 2", self.power)
        require(
            self.negative_margin > self.positive_margin,
            "negative_margin must be above positive_margin",
            self.negative_margin,
            self.positive_margin,
        )

    def hinges(self, d, positive, negative):
        """Returns, of positives and negatives, how far (B, R) each pair is off, and its mask.

        0 where the mask has no pair.
        """
        pull, push = ops.relu(d - self.positive_margin), ops.relu(self.negative_margin - d)
        return (keep(pull, present(positive)), positive), (keep(push, present(negative)), negative)

    def pair_loss(self, d, positive, negative):
        return sum(
            ratio(total(ops.square(off) if self.power == 2 else off, mask), total(off > 0, mask))
            for off, mask in self.hinges(d, positive, negative)
        )

    def pair_share(self, d, positive, negative):
        hinges = self.hinges(d, positive, negative)
        active = sum(total(off > 0, mask) for off, mask in hinges)
        return ratio(active, sum(ops.sum(weights(mask)) for _, mask in hinges))


def total(values, mask):
    """Returns the sum of values (B, R) by a mask's weights; they are 0 where it has no pair."""
    values = ops.cast(values, "float32")
    return ops.sum(values if is_boolean(mask) else values * mask)
