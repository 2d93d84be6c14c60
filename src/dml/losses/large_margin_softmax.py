"""Large-margin softmax."""

from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

from dml._options import check_integer, check_positive, check_within
from dml.heads import ProxyLengthHead
from dml.losses._margin_softmax import cross_entropy_of, multiplied, own_scores
from dml.losses.base import LOSSES, MetricLoss
from dml.ops import memberships, present


@LOSSES.register("large_margin_softmax")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class LargeMarginSoftmax(MetricLoss):
    """Classifies images with the own class's angle multiplied; the proxies' lengths matter, too.

    The mean over the batch of the cross-entropy of scale |w| psi(theta) for the image's own class
    and scale |w| cos(theta) for the others, |w| being the proxy's length and psi as in
    `SphereFace`, which is this loss with proxies of length 1. Classes of many images can take
    longer proxies: a bias that zero-shot retrieval has no use for.

    Args:
        multiple: m in the paper, an integer. In [1, 6]; 4 in the paper. Hard to train from scratch.
        scale: Factor of the cosines. Positive. The paper has the image's own length; 16 here, for
            embeddings of length 1.

    Call arguments:
        labels: Integers (B,), each in [0, classes), or memberships (B, classes).
        x: Floats (B, classes, 2) from `dml.heads.ProxyLengthHead`: cosines, lengths.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> loss = dml.losses.LargeMarginSoftmax()
        >>> head = loss.head(classes=2, embedding_dim=4)
        >>> x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
        >>> labels = np.array([0, 1, 0, 1])
        >>> float(loss(labels, head(x / keras.ops.norm(x, axis=1, keepdims=True), labels))) > 0
        True

    References:
        - [Liu et al., ICML 2016](https://arxiv.org/abs/1612.02295)
    """

    multiple: int = 4
    scale: float = 16.0
    proxies_per_class: ClassVar[int] = 1
    averages_images: ClassVar[bool] = True
    proxy_head: ClassVar[type] = ProxyLengthHead
    initial_proxy_length: ClassVar[float | None] = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_integer(1, multiple=self.multiple)
        check_within(1, 6, multiple=self.multiple)
        check_positive(scale=self.scale)

    def batch_loss(self, labels, x):
        cosines, lengths = ops.unstack(x, axis=2)
        own = memberships(labels, cosines.shape[1])
        moved = multiplied(own_scores(cosines, labels), self.multiple)
        logits = self.scale * lengths * ops.where(present(own), moved, cosines)
        return cross_entropy_of(logits, labels)
