"""Contrastive loss."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_at_least, check_finite, check_known
from dml.errors import OptionError
from dml.losses.base import LOSSES, DistanceLoss
from dml.ops import as_weights, custom_gradient, keep, ratio


@LOSSES.register("contrastive")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class Contrastive(DistanceLoss):
    """Pulls positive pairs within one distance and pushes negative ones beyond another.

    With d the distance of two embeddings, the sum of two means, over the positive and over the
    negative pairs that are not yet where they should be:

        max(0, d - positive_margin)^power        max(0, negative_margin - d)^power

    Positives and negatives are averaged separately, and over active pairs only, as in
    pytorch-metric-learning: in a batch negatives are hundreds to one. The paper sums over all
    pairs, halved. Pairs are not weighted, so the choice of the margin matters more than in losses
    that weight pairs.

    Args:
        positive_margin: Distance below which a positive pair has no loss. At least 0, except
            with `dot`, whose distances are negative; 0 in the paper.
        negative_margin: Distance beyond which a negative pair has no loss. Above `positive_margin`;
            1 in the paper's experiments. On unit vectors, unrelated ones are sqrt(2) apart.
        power: 2 (paper), or 1, as in many implementations.
        distance: `euclidean` (paper), or another of `dml.ops.distances`.

    Call arguments:
        labels: Integers (B,), or a relation (B, B).
        embeddings: Floats (B, D).

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> round(float(dml.losses.Contrastive()(labels, x)), 3)
        0.579

    References:
        - [Hadsell et al., CVPR 2006](https://doi.org/10.1109/CVPR.2006.100)
    """

    positive_margin: float = 0.0
    negative_margin: float = 1.0
    power: int = 2
    distance: str = "euclidean"

    def __post_init__(self):
        super().__post_init__()
        low, high = self.positive_margin, self.negative_margin
        if self.distance != "dot":  # whose distances are negative
            check_at_least(0, positive_margin=low)
        check_finite(positive_margin=low, negative_margin=high)
        if not high > low:
            raise OptionError(
                "negative_margin", f"must be above positive_margin, {low}; got {high}"
            )
        check_known((1, 2), power=self.power)

    def sides(self, d, positive, negative):
        """Returns for positives and negatives the excess (B, R) over the margin, and the mask."""
        return (d - self.positive_margin, positive), (self.negative_margin - d, negative)

    def pair_loss(self, d, positive, negative):
        sides = self.sides(d, positive, negative)
        return sum(_active_mean(off, mask, self.power) for off, mask in sides)

    def pair_share(self, d, positive, negative):
        sides = self.sides(d, positive, negative)
        active = sum(ops.sum(as_weights(keep(mask, off > 0))) for off, mask in sides)
        return ratio(active, sum(ops.sum(as_weights(mask)) for _, mask in sides))


def _active_mean(off, mask, power):
    """Returns the mean of off^power by a mask's weights, over pairs (B, R) where it is above 0.

    0 if there is none. `power` is 1 or 2; its own gradient keeps one array (B, R).
    """

    @custom_gradient
    def result_of(off):
        active = as_weights(keep(mask, off > 0))
        count = ops.sum(active)
        slope = active * off if power == 2 else active

        def gradient(upstream):
            return power * ratio(upstream, count) * slope

        return ratio(ops.sum(slope * off), count), gradient

    return result_of(off)
