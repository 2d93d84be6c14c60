"""ElasticFace."""

from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

from dml._options import check_at_least, check_known, check_positive, check_within
from dml.heads import RandomMarginHead
from dml.losses._margin_softmax import cross_entropy, last_column, own_scores, turned_away
from dml.losses.base import LOSSES, MetricLoss

_FORMS = ("arc", "cos")


@LOSSES.register("elasticface")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class ElasticFace(MetricLoss):
    """ArcFace or CosFace with a margin drawn at random for each image.

    The margin is normal around `margin` with a deviation of `deviation`, so that classes do not all
    have the same distance. It is clipped to [0, 1.5]; the authors' code draws without bounds. If
    angle and margin of `arc` exceed 180 degrees, the logit keeps falling, as in the code of
    ArcFace; in the paper and the authors' code the cosine rises again there.

    Args:
        margin: Mean margin, in radians (`arc`) or cosine (`cos`). In [0, 1]; 0.5 in the paper for
            arc, 0.35 for cos.
        deviation: At least 0; 0.05 in the paper.
        scale: Factor of the cosines. Positive; 64 in the authors' code.
        form: `arc` or `cos`.

    Call arguments:
        labels: Integers (B,), each in [0, classes), or memberships (B, classes).
        x: Floats (B, classes + 1) from `dml.heads.RandomMarginHead`: cosines, normal numbers.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> loss = dml.losses.ElasticFace()
        >>> head = loss.head(classes=2, embedding_dim=4)
        >>> x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
        >>> labels = np.array([0, 1, 0, 1])
        >>> float(loss(labels, head(x / keras.ops.norm(x, axis=1, keepdims=True), labels))) > 0
        True

    References:
        - [Boutros et al., CVPR Workshops 2022](https://arxiv.org/abs/2109.09416)
    """

    margin: float = 0.5
    deviation: float = 0.05
    scale: float = 64.0
    form: str = "arc"
    proxies_per_class: ClassVar[int] = 1
    averages_images: ClassVar[bool] = True
    proxy_head: ClassVar[type] = RandomMarginHead

    def __post_init__(self):
        super().__post_init__()
        check_within(0, 1, margin=self.margin)
        check_at_least(0, deviation=self.deviation)
        check_positive(scale=self.scale)
        check_known(_FORMS, form=self.form)

    def batch_loss(self, labels, x):
        cosines = x[:, :-1]
        margins = ops.clip(self.margin + self.deviation * last_column(x), 0.0, 1.5)
        own = own_scores(cosines, labels)
        moved = turned_away(own, margins) if self.form == "arc" else own - margins
        return cross_entropy(cosines, labels, moved, self.scale)
