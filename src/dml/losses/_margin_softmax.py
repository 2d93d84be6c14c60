"""The base class of softmax losses with a margin."""

import math

from keras import ops

from dml.losses.base import MetricLoss
from dml.ops import is_relation, memberships, own_column, present, row_shares


class MarginSoftmax(MetricLoss):
    """Classifies images by their cosines to the classes' proxies, with a margin on the own class.

    The mean over the batch of the cross-entropy of `scale` times the cosines, where `with_margin`
    replaces the image's own.
    """

    proxies_per_class = 1
    averages_images = True
    is_softmax_of_cosines = True

    def with_margin(self, own):
        """Returns the replacement of the cosines (...) of images to their own classes."""
        raise NotImplementedError

    def batch_loss(self, labels, cosines):
        moved = self.with_margin(own_scores(cosines, labels))
        return cross_entropy(cosines, labels, moved, self.scale)


def own_scores(x, labels):
    """Returns x (B, C) at each image's own class (B, 1); all of it for memberships."""
    return x if is_relation(labels) else own_column(x, labels)


def cross_entropy(cosines, labels, moved, scale):
    """Returns the mean cross-entropy of cosines (B, C) with `moved` in place of the own ones.

    Args:
        cosines: Floats (B, C).
        labels: Integers (B,), or memberships (B, C).
        moved: The replacement of `own_scores(cosines, labels)`, of the same shape.
        scale: Factor of the cosines. Positive.
    """
    own = present(memberships(labels, cosines.shape[1]))
    logits = scale * ops.where(own, moved, cosines)
    if is_relation(labels):
        return cross_entropy_of(logits, labels)
    return ops.mean(ops.logsumexp(logits, axis=1) - scale * moved[:, 0])


def cross_entropy_of(logits, labels):
    """Returns the mean cross-entropy of logits (B, C), with memberships divided by their sums.

    An image without a class has loss 0.
    """
    if not is_relation(labels):
        return ops.mean(ops.logsumexp(logits, axis=1) - own_column(logits, labels)[:, 0])
    share = row_shares(labels)
    crossed = ops.sum(ops.where(share > 0, share * logits, ops.zeros_like(logits)), axis=1)
    total = ops.logsumexp(logits, axis=1) * ops.cast(ops.any(labels > 0, axis=1), "float32")
    return ops.mean(total - crossed)


def turned(cosines, by):
    """Returns the cosines of angles increased by `by` radians, a number or an array.

    Without the inverse cosine, whose gradient is infinite at 1 and -1; there the sine counts as
    1e-3.
    """
    sines = ops.sqrt(ops.maximum(1.0 - ops.square(cosines), 1e-6))
    return ops.cos(by) * cosines - ops.sin(by) * sines


def turned_away(cosines, margin):
    """Returns `turned(cosines, margin)`, which beyond 180 degrees goes on to decrease."""
    beyond = cosines < -ops.cos(margin)
    return ops.where(beyond, cosines - margin * ops.sin(margin), turned(cosines, margin))


def multiplied(cosines, multiple):
    """Returns psi of angles, given by their cosines; it decreases throughout."""
    # Chebyshev: cos(m theta) = 2 cos(theta) cos((m - 1) theta) - cos((m - 2) theta).
    before, cosine = ops.ones_like(cosines), cosines
    for _ in range(multiple - 1):
        before, cosine = cosine, 2.0 * cosines * cosine - before
    angle = ops.arccos(ops.clip(ops.stop_gradient(cosines), -1.0, 1.0))
    # At most multiple - 1, also where rounding puts the angle at 180 degrees.
    k = ops.minimum(ops.floor(multiple * angle / math.pi), multiple - 1.0)
    sign = 1.0 - 2.0 * (k - 2.0 * ops.floor(k / 2.0))
    return sign * cosine - 2.0 * k


def last_column(x):
    """Returns the last column (B, 1) of an array.

    Its gradient is divided between devices as the array is; that of a slice would be whole on each.
    """
    columns = x.shape[1]
    is_last = ops.arange(columns) == columns - 1
    return ops.sum(ops.where(is_last, x, 0.0), axis=1, keepdims=True)
