"""Triplet loss with corrected selection bias."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_at_least, check_known, check_positive
from dml.losses.base import LOSSES
from dml.losses.triplet import Triplet
from dml.ops import pair_masks, same_label, squared

_KERNELS = ("linear", "gaussian")


@LOSSES.register("adapted_triplet")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class AdaptedTriplet(Triplet):
    """The triplet loss, plus a term that corrects the selection bias of mining.

    Mining hard triplets changes the distributions of the classes that are trained on. With n_i the
    number of times that sample i was selected as positive or negative, the loss adds `weight` times
    the mean, over the classes that were selected, of the squared maximum mean discrepancy between
    all the class's embeddings and the selected ones; with the linear kernel:

        | mean of the class - mean of its selected samples, each counted n_i times |^2

    The counts carry no gradient, the embeddings do. (Re-implementations that compute this term
    outside the graph do not train with it.)

    Only the idea is verified to match the paper. Kernel, square, weight and mining follow public
    re-implementations, whose weights range from 0.3 to 2.

    Args:
        margin: As for `Triplet`.
        mining: As for `Triplet`; the term has an effect with each of them.
        distance: As for `Triplet`.
        soft_margin: As for `Triplet`.
        weight: Weight of the selection-bias term; at least 0. 0 is the plain triplet loss.
            Unverified.
        kernel: `linear` compares the means of the two distributions, `gaussian` all of their
            moments. Unverified.
        bandwidth: Width of the gaussian kernel, in units of the Euclidean distance; positive. 0.5
            is a choice of this project.

    Call arguments:
        labels: Integers (B,), or a relation (B, B), above 0.5 within a class.
        embeddings: Floats (B, D).

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> round(float(dml.losses.AdaptedTriplet(mining="hard")(labels, x)), 3)
        0.285

    References:
        - [Yu et al., ECCV 2018](https://doi.org/10.1007/978-3-030-01231-1_5)
    """

    weight: float = 1.0
    kernel: str = "linear"
    bandwidth: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        check_at_least(0, weight=self.weight)
        check_known(_KERNELS, kernel=self.kernel)
        check_positive(bandwidth=self.bandwidth)

    def batch_loss(self, labels, embeddings):
        d = self.compare(embeddings, embeddings)
        counts = self.counts(d, *pair_masks(labels))
        selected = ops.sum(counts[0] + counts[1], axis=0)  # (B,)
        bias = _selection_bias(labels, selected, self.gram(embeddings))
        return self.mean_hinge(d, *counts) + self.weight * bias

    def gram(self, embeddings):
        """Returns the kernel's value (B, B) of each pair of embeddings."""
        if self.kernel == "linear":
            return ops.matmul(embeddings, ops.transpose(embeddings))
        return ops.exp(squared(embeddings, embeddings) / (-2.0 * self.bandwidth**2))


def _selection_bias(labels, selected, gram):
    """Returns the mean squared discrepancy of the selected classes, from the Gram matrix.

    The discrepancy of a class is sum_ij w_i w_j gram_ij over its samples, where w_i is a sample's
    share of the class's selections less its share of the class.
    """
    same = ops.cast(same_label(labels), "float32")
    members = ops.matmul(same, ops.ones_like(selected)[:, None])[:, 0]  # of the sample's class
    selections = ops.matmul(same, selected[:, None])[:, 0]
    was_selected = ops.cast(selections > 0, "float32")
    weights = (selected / ops.maximum(selections, 1e-9) - 1.0 / members) * was_selected
    classes = ops.sum(was_selected / members)
    discrepancy = ops.sum(weights[:, None] * weights[None, :] * same * gram)
    # Rounding may leave the square just below 0.
    return ops.maximum(discrepancy, 0.0) / ops.maximum(classes, 1.0)
