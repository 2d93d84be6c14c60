"""Proxy-NCA loss."""

from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

from dml._options import check_interval, check_known, check_positive
from dml.losses.base import LOSSES, MetricLoss
from dml.ops import (
    is_relation,
    log_sum_exp,
    mean_over,
    memberships,
    own_column,
    present,
    row_shares,
)

_FORMS = ("squared_distance", "cosine")


@LOSSES.register("proxy_nca")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class ProxyNCA(MetricLoss):
    """Assigns each image to its class's proxy rather than to any other.

    With d2 the squared distance of an image x and a proxy, both of length 1:

        -log( exp(-scale d2(x, own)) / sum over the other proxies of exp(-scale d2(x, other)) )

    The paper leaves the proxy of the image's class out of the sum: the loss is then unbounded below
    and its pull never weakens. Common implementations include it, which makes it a softmax:
    `positive_in_denominator=True`, `label_smoothing=0.1`. Needs no mining and any batch works. An
    image without a class has loss 0; so has one of all classes, unless its own are in the sum.

    Args:
        scale: Factor of the squared distance or of the cosine. Positive. The paper gives none;
            common implementations use 9 on CUB and Cars (both vectors scaled by 3), 8 on Stanford
            Online Products. On the unit sphere, 9 on squared distances acts as 18 on cosines.
        form: `squared_distance` (paper), or `cosine`, whose exponent is `scale` times the cosine.
        positive_in_denominator: Whether the proxy of the image's class is in the sum. False in
            the paper.
        label_smoothing: Share of the target that is spread evenly over the other proxies, in
            [0, 1). 0 in the paper, 0.1 in common implementations.

    Call arguments:
        labels: Integers (B,), each in [0, classes), or memberships (B, classes).
        cosines: Floats (B, classes) from `dml.heads.ProxyHead`.

    Returns:
        Scalar; at least 0 with `positive_in_denominator`.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> labels = np.array([0, 1, 0])
        >>> cosines = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.5]], "float32")
        >>> round(float(dml.losses.ProxyNCA()(labels, cosines)), 3)
        -7.8

    References:
        - [Movshovitz-Attias et al., ICCV 2017](https://arxiv.org/abs/1703.07464)
    """

    scale: float = 9.0
    form: str = "squared_distance"
    positive_in_denominator: bool = False
    label_smoothing: float = 0.0
    proxies_per_class: ClassVar[int] = 1
    averages_images: ClassVar[bool] = True
    initial_proxy_length: ClassVar[float | None] = (
        1.0  # randn / 8 at 64 dimensions in common implementations
    )

    def __post_init__(self):
        super().__post_init__()
        check_positive(scale=self.scale)
        check_known(_FORMS, form=self.form)
        check_interval("[0, 1)", label_smoothing=self.label_smoothing)

    def batch_loss(self, labels, cosines):
        squared = self.form == "squared_distance"
        logits = self.scale * (2.0 * cosines - 2.0 if squared else cosines)
        own = memberships(labels, cosines.shape[1])
        others = ops.logical_not(present(own))
        some = ops.any(others, axis=1)
        if is_relation(labels):
            valid = ops.any(present(own), axis=1)
            attraction = ops.sum(row_shares(own) * logits, axis=1)
        else:
            valid, attraction = ops.ones_like(some), own_column(logits, labels)[:, 0]
        if self.label_smoothing:
            spread = mean_over(logits, others, axis=1) - attraction
            attraction += self.label_smoothing * ops.where(some, spread, 0.0)
        if self.positive_in_denominator:
            repulsion = ops.logsumexp(logits, axis=1)
        else:  # an image of all classes has nothing to be told from
            valid, repulsion = ops.logical_and(valid, some), log_sum_exp(logits, others, axis=1)
        return ops.mean(ops.where(valid, repulsion - attraction, 0.0))
