"""Contrastive loss of signal-to-noise ratios."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_at_least
from dml.losses.base import LOSSES
from dml.losses.contrastive import Contrastive
from dml.ops import pair_masks


@LOSSES.register("snr_contrastive")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class SignalToNoiseContrastive(Contrastive):
    """The contrastive loss with noise over signal as distance, and zero-mean embeddings.

    The distance of an anchor and another embedding is the variance of their difference over the
    variance of the anchor, both over the D entries: scaling an anchor up alone does not help. The
    loss adds `zero_mean_weight` times the mean absolute sum of an embedding's entries.

    Args:
        positive_margin: As for `Contrastive`, in this distance. At least 0.
        negative_margin: As for `Contrastive`. 1 here; unrelated unit vectors are 2 apart.
        power: As for `Contrastive`; the paper's hinge has power 1.
        distance: `snr`, or another of `dml.ops.distances`.
        zero_mean_weight: Weight of the zero-mean term. At least 0; 0.1 is customary in
            re-implementations (the paper's value is unverified).

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
        >>> round(float(dml.losses.SignalToNoiseContrastive()(labels, x)), 3)
        8.44

    References:
        - [Yuan et al., CVPR 2019](https://arxiv.org/abs/1904.02616)
    """

    power: int = 1
    distance: str = "snr"
    zero_mean_weight: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_at_least(0, zero_mean_weight=self.zero_mean_weight)

    def batch_loss(self, labels, embeddings):
        off_centre = ops.mean(ops.abs(ops.sum(embeddings, axis=1)))
        compared = self.compare(embeddings, embeddings)
        return self.pair_loss(compared, *pair_masks(labels)) + self.zero_mean_weight * off_centre
