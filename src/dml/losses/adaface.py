"""AdaFace."""

from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

from dml._options import check_positive, check_within
from dml.heads import QualityHead
from dml.losses._margin_softmax import cross_entropy, own_scores, turned
from dml.losses.base import LOSSES, MetricLoss


@LOSSES.register("adaface")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class AdaFace(MetricLoss):
    """Puts the margin on hard samples among good images, and on easy samples among poor ones.

    With q in [-1, 1] the quality of an image, the length of its embedding relative to recent ones,
    the mean of the cross-entropy of scale (cos(theta - margin q) - margin (1 + q)) for the own
    class and scale cos(theta) for the others. No gradient passes through q. The angle theta -
    margin q is clipped to [0, 180] degrees, as in the authors' code, which also keeps all angles
    0.001 from both ends; in the paper the cosine rises again there.

    Args:
        margin: m in the paper, in radians and as a cosine. In [0, 1]; 0.4 in the authors' code.
        scale: Factor of the cosines. Positive; 64 in the authors' code.

    Call arguments:
        labels: Integers (B,), each in [0, classes), or memberships (B, classes).
        x: Floats (B, classes + 1) from `dml.heads.QualityHead`: cosines, qualities.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> loss = dml.losses.AdaFace()
        >>> head = loss.head(classes=2, embedding_dim=4)
        >>> x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
        >>> labels = np.array([0, 1, 0, 1])
        >>> float(loss(labels, head(x, labels))) > 0
        True

    References:
        - [Kim et al., CVPR 2022](https://arxiv.org/abs/2204.00964)
    """

    margin: float = 0.4
    scale: float = 64.0
    proxies_per_class: ClassVar[int] = 1
    averages_images: ClassVar[bool] = True
    proxy_head: ClassVar[type] = QualityHead
    reads_length: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        check_within(0, 1, margin=self.margin)
        check_positive(scale=self.scale)

    def batch_loss(self, labels, x):
        cosines, quality = x[:, :-1], ops.clip(x[:, -1:], -1.0, 1.0)
        own = own_scores(cosines, labels)
        angle = -self.margin * quality
        moved = turned(own, angle)
        moved = ops.where((angle > 0) & (own < -ops.cos(angle)), -ops.ones_like(own), moved)
        moved = ops.where((angle < 0) & (own > ops.cos(angle)), ops.ones_like(own), moved)
        return cross_entropy(cosines, labels, moved - self.margin * (1.0 + quality), self.scale)
