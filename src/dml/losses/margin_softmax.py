"""What the softmax losses with a margin share."""

from keras import ops

from dml.batch_ops import is_relation, own_column, shares
from dml.losses.base import MetricLoss


class MarginSoftmax(MetricLoss):
    """Classifies images by their cosines to the classes' proxies, the own one made smaller.

    The mean over the batch of the cross-entropy of `scale` times the cosines, where `with_margin`
    replaces the image's own.
    """

    proxies_per_class = 1
    averages_images = True

    def with_margin(self, own):
        """Returns what stands for the cosines (...) of images to their own classes."""
        raise NotImplementedError

    def batch_loss(self, labels, cosines):
        if is_relation(labels):
            logits = self.scale * ops.where(labels > 0, self.with_margin(cosines), cosines)
            share = shares(labels)
            crossed = ops.sum(ops.where(share > 0, share * logits, ops.zeros_like(logits)), axis=1)
            total = ops.logsumexp(logits, axis=1) * ops.cast(ops.any(labels > 0, axis=1), "float32")
            return ops.mean(total - crossed)
        own = own_column(cosines, labels)  # (B, 1)
        return cross_entropy(cosines, labels, self.with_margin(own), self.scale)


def cross_entropy(cosines, labels, moved, scale):
    """Returns the mean cross-entropy of cosines (B, C) whose own are replaced by `moved` (B, 1)."""
    own = labels[:, None] == ops.arange(cosines.shape[1], dtype=labels.dtype)[None, :]
    logits = scale * ops.where(own, moved, cosines)
    return ops.mean(ops.logsumexp(logits, axis=1) - scale * moved[:, 0])
