"""FastAP."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_integer
from dml.losses.base import LOSSES, PairLoss
from dml.ops import as_weights, mean_over, present, ratio, soft_histogram, squared


@LOSSES.register("fast_ap")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class FastAP(PairLoss):
    """Raises each anchor's average precision, computed from soft histograms of its distances.

    Squared distances, in [0, 4], fall between `bins` + 1 bin centres, each into its two nearest in
    proportion. With h+ and h the histograms of an anchor's positives and of all others, and H+ and
    H their cumulated sums, the loss is 1 less the mean, over the anchors with a positive, of

        1/|P| sum over bins of H+ h+ / H

    Needs large batches, with several images of each class.

    Args:
        bins: Number of bins. Positive; 10 in the paper. More are sharper: with few, neighbours
            share a bin.

    Call arguments:
        labels: Integers (B,), or a relation (B, B).
        embeddings: Floats (B, D), of length 1.

    Returns:
        Scalar in [0, 1].

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> round(float(dml.losses.FastAP()(labels, x)), 3)
        0.25

    References:
        - [Cakir et al., CVPR 2019](https://doi.org/10.1109/CVPR.2019.00196)
    """

    bins: int = 10

    def __post_init__(self):
        super().__post_init__()
        check_integer(1, bins=self.bins)

    def compare(self, anchors, references):
        return squared(anchors, references)

    def pair_loss(self, d, positive, negative):
        own = soft_histogram(d, positive, 0.0, 4.0, self.bins)  # (B, bins + 1)
        every = own + soft_histogram(d, negative, 0.0, 4.0, self.bins)
        share = ratio(ops.cumsum(own, axis=1) * own, ops.cumsum(every, axis=1))
        positives = ops.sum(as_weights(positive), axis=1)
        precision = ratio(ops.sum(share, axis=1), positives)
        return mean_over(1.0 - precision, ops.any(present(positive), axis=1))
