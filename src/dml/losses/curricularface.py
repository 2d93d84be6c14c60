"""CurricularFace."""

import math
from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

from dml._options import check_interval, check_positive
from dml.heads import CurriculumHead
from dml.losses._margin_softmax import cross_entropy, last_column, own_scores, turned_away
from dml.losses.base import LOSSES, MetricLoss
from dml.ops import is_relation


@LOSSES.register("curricularface")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class CurricularFace(MetricLoss):
    """ArcFace that focuses on hard negative classes as the training progresses.

    With t the running mean of images' cosines to their own proxies, the cosine s of another class
    is replaced by s (t + s) where s exceeds the own class's logit: a small weight at first, a
    larger one later.

    Args:
        margin: Margin of the angle, in degrees. In [0, 90]; 28.6 (0.5 rad) in the paper.
        scale: Factor of the cosines. Positive; 64 in the paper.

    Call arguments:
        labels: Integers (B,), each in [0, classes), or memberships (B, classes).
        x: Floats (B, classes + 1) from `dml.heads.CurriculumHead`: cosines, t.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> loss = dml.losses.CurricularFace()
        >>> head = loss.head(classes=2, embedding_dim=4)
        >>> x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
        >>> labels = np.array([0, 1, 0, 1])
        >>> float(loss(labels, head(x / keras.ops.norm(x, axis=1, keepdims=True), labels))) > 0
        True

    References:
        - [Huang et al., CVPR 2020](https://arxiv.org/abs/2004.00288)
    """

    margin: float = 28.6
    scale: float = 64.0
    proxies_per_class: ClassVar[int] = 1
    averages_images: ClassVar[bool] = True
    proxy_head: ClassVar[type] = CurriculumHead

    def __post_init__(self):
        super().__post_init__()
        check_interval("[0, 90] degrees", margin=self.margin)
        check_positive(scale=self.scale)

    def batch_loss(self, labels, x):
        cosines, progress = x[:, :-1], last_column(x)
        own = own_scores(cosines, labels)
        moved = turned_away(own, math.radians(self.margin))
        # With several own classes, the farthest decides which others are hard.
        least = moved
        if is_relation(labels):
            least = ops.amin(ops.where(labels > 0, moved, float("inf")), axis=1, keepdims=True)
        weighed = ops.where(cosines > least, cosines * (progress + cosines), cosines)
        return cross_entropy(weighed, labels, moved, self.scale)
