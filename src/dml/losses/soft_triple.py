"""SoftTriple loss."""

from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

from dml._options import check_at_least, check_integer, check_positive
from dml.losses._margin_softmax import cross_entropy, own_scores
from dml.losses.base import LOSSES, MetricLoss
from dml.ops import custom_gradient, spread_within_classes


@LOSSES.register("soft_triple")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class SoftTriple(MetricLoss):
    """Classifies images by several centres per class, so that a class may be diverse.

    With s_k the cosine of an image and centre k of a class, the class scores

        S = sum over k of softmax_k(s_k / temperature) s_k

    and the loss is the cross-entropy of `scale * (S - margin of the own class)`. Superfluous
    centres of a class are pulled together by the penalty

        centre_weight / (C K (K - 1)) * sum over classes and pairs k < t of |w_k - w_t|

    which is computed per class, in (C, K, K). For uniform classes, or very many classes, 2 centres
    are enough.

    Args:
        scale: Factor of the scores, lambda in the paper. Positive; 20 in the paper.
        temperature: Temperature of the choice among the centres, gamma in the paper. Positive; 0.1
            in the paper (some code takes its inverse, 10).
        margin: Subtracted from the own class's score, delta in the paper. At least 0; 0.01 in
            the paper.
        proxies_per_class: Centres per class, K in the paper. At least 1; 10 in the paper on CUB
            and Cars.
        centre_weight: Weight of the penalty, tau in the paper. At least 0; 0.2 in the paper.

    Call arguments:
        labels: Integers (B,), each in [0, classes), or memberships (B, classes).
        cosines: Floats (B, classes, K) from `dml.heads.ProxyHead`, or (B, classes) when K is 1.

    Returns:
        Scalar, at least 0; the penalty is separate, in `proxy_penalty`.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> loss = dml.losses.SoftTriple()
        >>> head = loss.head(classes=2, embedding_dim=4)
        >>> x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
        >>> labels = np.array([0, 1, 0, 1])
        >>> float(loss(labels, head(x / keras.ops.norm(x, axis=1, keepdims=True), labels))) > 0
        True

    References:
        - [Qian et al., ICCV 2019](https://arxiv.org/abs/1909.05235)
    """

    scale: float = 20.0
    temperature: float = 0.1
    margin: float = 0.01
    proxies_per_class: int = 10
    averages_images: ClassVar[bool] = True
    centre_weight: float = 0.2

    def __post_init__(self):
        super().__post_init__()
        check_positive(scale=self.scale, temperature=self.temperature)
        check_at_least(0, margin=self.margin)
        check_integer(1, proxies_per_class=self.proxies_per_class)
        check_at_least(0, centre_weight=self.centre_weight)

    def batch_loss(self, labels, cosines):
        scores = cosines if self.proxies_per_class == 1 else _pooled(cosines, self.temperature)
        moved = own_scores(scores, labels) - self.margin
        return cross_entropy(scores, labels, moved, self.scale)

    def proxy_penalty(self, proxies):
        classes, centres, _ = proxies.shape
        if centres == 1 or self.centre_weight == 0:
            return None
        spread = spread_within_classes(proxies)
        return self.centre_weight * spread / (classes * centres * (centres - 1))


def _pooled(cosines, temperature):
    """Returns the mean (B, C) of each class's cosines (B, C, K), by their softmax.

    The centres are moved to the first axis, because reductions over a short last axis are slow; the
    custom gradient keeps two arrays of the cosines' size.
    """

    @custom_gradient
    def result_of(cosines):
        exponents = ops.transpose(cosines, (2, 0, 1)) / temperature
        chosen = ops.exp(exponents - ops.amax(exponents, axis=0))
        total = ops.sum(chosen, axis=0)
        level = ops.sum(chosen * exponents, axis=0) / total

        def gradient(upstream):
            turned = upstream / total * chosen * (1.0 + exponents - level)
            return ops.transpose(turned, (1, 2, 0))

        return temperature * level, gradient

    return result_of(cosines)
