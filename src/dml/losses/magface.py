"""MagFace."""

import math
from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

from dml._options import check_at_least, check_interval, check_positive
from dml.errors import OptionError
from dml.heads import LengthHead
from dml.losses._margin_softmax import cross_entropy, own_scores, turned_away
from dml.losses.base import LOSSES, MetricLoss


@LOSSES.register("magface")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class MagFace(MetricLoss):
    """ArcFace whose margin grows with an embedding's length, which learns to measure quality.

    With a the length before normalisation, clipped between `shortest` and `longest`, the mean of
    the cross-entropy of scale cos(theta + m(a)) for the own class and scale cos(theta) for the
    others, where m rises linearly from `smallest_margin` to `largest_margin`, plus
    length_weight (1 / a + a / longest^2), which draws lengths up. The margin applies at any angle,
    as in the paper, and the logit keeps falling beyond 180 degrees; the authors' code, by its
    default `easy_margin`, leaves the margin out from 90 degrees on. The defaults are those of the
    authors' training script.

    Args:
        smallest_margin: Margin of the shortest embeddings, in degrees. At least 0; 25.8 (0.45 rad).
        largest_margin: Margin of the longest, in degrees. At most 90; 45.8 (0.8 rad).
        shortest: Length, l in the paper. Positive; 10.
        longest: Length, u in the paper. Above `shortest`; 110.
        scale: Factor of the cosines. Positive; 64 in the authors' code.
        length_weight: lambda in the paper. At least 0; 35.

    Call arguments:
        labels: Integers (B,), each in [0, classes), or memberships (B, classes).
        x: Floats (B, classes + 1) from `dml.heads.LengthHead`: cosines, lengths.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> loss = dml.losses.MagFace()
        >>> head = loss.head(classes=2, embedding_dim=4)
        >>> x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
        >>> labels = np.array([0, 1, 0, 1])
        >>> float(loss(labels, head(x, labels))) > 0
        True

    References:
        - [Meng et al., CVPR 2021](https://arxiv.org/abs/2103.06627)
    """

    smallest_margin: float = 25.8
    largest_margin: float = 45.8
    shortest: float = 10.0
    longest: float = 110.0
    scale: float = 64.0
    length_weight: float = 35.0
    proxies_per_class: ClassVar[int] = 1
    averages_images: ClassVar[bool] = True
    proxy_head: ClassVar[type] = LengthHead
    reads_length: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        check_interval(
            "[0, 90] degrees",
            smallest_margin=self.smallest_margin,
            largest_margin=self.largest_margin,
        )
        low, high = self.smallest_margin, self.largest_margin
        if low > high:
            raise OptionError(
                "smallest_margin", f"must be at most largest_margin, {high}; got {low}"
            )
        check_positive(shortest=self.shortest, longest=self.longest)
        if not self.shortest < self.longest:
            raise OptionError(
                "longest", f"must be above shortest, {self.shortest}; got {self.longest}"
            )
        check_positive(scale=self.scale)
        check_at_least(0, length_weight=self.length_weight)

    def batch_loss(self, labels, x):
        cosines, lengths = x[:, :-1], ops.clip(x[:, -1:], self.shortest, self.longest)
        share = (lengths - self.shortest) / (self.longest - self.shortest)
        degrees = self.smallest_margin + share * (self.largest_margin - self.smallest_margin)
        own = own_scores(cosines, labels)
        moved = turned_away(own, degrees * (math.pi / 180))
        penalty = ops.mean(1.0 / lengths + lengths / self.longest**2)
        return self.length_weight * penalty + cross_entropy(cosines, labels, moved, self.scale)
