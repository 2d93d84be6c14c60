"""CDF-based dynamic soft margin."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_integer, check_interval
from dml.heads import DifferenceHead
from dml.heads._hard_differences import hard_differences
from dml.losses.base import LOSSES, MetricLoss
from dml.ops import mean_over


@LOSSES.register("dynamic_soft_margin")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class DynamicSoftMargin(MetricLoss):
    """A triplet loss without a margin: a triplet's weight is its rank among recent ones.

    With t = d(anchor, positive) - d(nearest negative), by Euclidean distance, and F the running
    distribution of t over the training, the mean over the positive pairs of

        F(t) t

    where F is held constant. The negative is the nearest to anchor or positive, as in the paper,
    whose classes have two images; in larger classes every positive pair has its own negative. A
    triplet whose t is among the largest has nearly full weight, an easy one hardly any.
    (pytorch-metric-learning takes all B^3 triplets and 10 bins.)

    Args:
        bins: Points of the distribution; at least 2. 512 in the authors' code.
        momentum: Weight of the newest batch in it; in (0, 1]. 0.01 in the authors' code.

    Call arguments:
        labels: Integers (B,), or a relation (B, B).
        x: Floats (B, D + bins) from `dml.heads.DifferenceHead`: embeddings, F.

    Returns:
        Scalar in [-2, 2]; 0 without a triplet.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> loss = dml.losses.DynamicSoftMargin()
        >>> head = loss.head(classes=2, embedding_dim=4)
        >>> x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
        >>> labels = np.array([0, 1, 0, 1])
        >>> float(loss(labels, head(x / keras.ops.norm(x, axis=1, keepdims=True), labels))) > 0
        True

    References:
        - [Zhang and Rusinkiewicz, ICCV 2019](https://doi.org/10.1109/ICCV.2019.00306)
    """

    bins: int = 512
    momentum: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        check_integer(2, bins=self.bins)
        check_interval("(0, 1]", momentum=self.momentum)

    def head(self, classes, embedding_dim):
        return DifferenceHead(self.bins, self.momentum)

    def batch_loss(self, labels, x):
        embeddings, distribution = x[:, : -self.bins], ops.stop_gradient(x[0, -self.bins :])
        differences, mask = hard_differences(embeddings, labels)
        place = ops.stop_gradient((differences + 2.0) * ((self.bins - 1) / 4.0))
        place = ops.clip(ops.cast(ops.round(place), "int32"), 0, self.bins - 1)
        return mean_over(ops.take(distribution, place) * differences, mask)
