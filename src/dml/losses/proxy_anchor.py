"""Proxy Anchor loss."""

from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

from dml._options import check_positive, check_within
from dml.losses.base import LOSSES, MetricLoss
from dml.ops import (
    as_weights,
    complement,
    has_column,
    is_relation,
    log1p_sum_exp,
    mean_over,
    memberships,
    own_column,
    present,
    ratio,
    same_label,
)


@LOSSES.register("proxy_anchor")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class ProxyAnchor(MetricLoss):
    """Pulls each proxy to its class's images and pushes it from all others.

    With s the cosine of an image and a proxy, P the proxies and P+ those whose class is in the
    batch:

        1/|P+| sum over P+ of log(1 + sum over its own images    of exp(-scale (s - margin)))
      + 1/|P|  sum over P  of log(1 + sum over the other images of exp( scale (s + margin)))

    Each proxy weights its images by hardness, so no mining is needed and any batch works. It is a
    good first choice. Proxies need a learning rate about 100 times the backbone's (the authors'
    code).

    Args:
        margin: Cosine margin, delta in the paper. In [0, 1]; 0.1 in the paper.
        scale: Sharpness, alpha in the paper. Positive; 32 in the paper. The exponents reach
            `scale * (1 + margin)`.

    Call arguments:
        labels: Integers (B,), each in [0, classes), or memberships (B, classes).
        cosines: Floats (B, classes) from `dml.heads.ProxyHead`.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> labels = np.array([0, 1, 0])
        >>> cosines = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.5]], "float32")
        >>> round(float(dml.losses.ProxyAnchor()(labels, cosines)), 3)
        14.4

    References:
        - [Kim et al., CVPR 2020](https://arxiv.org/abs/2003.13911)
    """

    margin: float = 0.1
    scale: float = 32.0
    proxies_per_class: ClassVar[int] = 1

    def __post_init__(self):
        super().__post_init__()
        check_within(0, 1, margin=self.margin)
        check_positive(scale=self.scale)

    def batch_loss(self, labels, cosines):
        own = memberships(labels, cosines.shape[1])  # (B, classes)
        push = log1p_sum_exp(self.scale * (cosines + self.margin), where=complement(own), axis=0)
        if is_relation(labels):
            pull = log1p_sum_exp(-self.scale * (cosines - self.margin), where=own, axis=0)
            return mean_over(pull, ops.any(present(own), axis=0)) + ops.mean(push)
        # Computed for the images' own proxies only, which are few: each class once.
        # Images of other classes, in evaluation, have no proxy that could pull.
        known = has_column(labels, cosines.shape[1])
        same = ops.logical_and(same_label(labels), known[None, :])
        nearness = own_column(cosines, labels)[:, 0]
        logits = ops.broadcast_to(-self.scale * (nearness - self.margin), ops.shape(same))
        share = ratio(as_weights(known), ops.sum(as_weights(same), axis=1))
        return mean_over(log1p_sum_exp(logits, where=same, axis=1), share) + ops.mean(push)
