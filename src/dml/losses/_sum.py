"""A weighted sum of losses, each with its own head."""

from collections.abc import Sequence

from dml.errors import OptionError
from dml.heads import JointHead
from dml.losses._wrapper import Wrapper
from dml.losses.base import MetricLoss


class SumOfLosses(Wrapper):
    """A weighted sum of losses of one embedding, or of its first entries, each with its own head.

    Args:
        losses: Parts of `dml.losses`, at least one.
        weights: Weight of each; at least 0. 1 for all if None.
    """

    forwarded = ()  # each loss has its own head

    def __init__(self, losses: Sequence[MetricLoss], weights: Sequence[float] | None = None):
        if not losses:
            raise OptionError("losses", "must hold at least one; got none")
        weights = [1.0] * len(losses) if weights is None else list(weights)
        if len(weights) != len(losses) or not all(0 <= w < float("inf") for w in weights):
            raise OptionError(
                "weights", f"must be {len(losses)} numbers, at least 0 and finite; got {weights}"
            )
        long = [type(loss).__name__ for loss in losses if loss.reads_length]
        if long:
            raise OptionError(
                "losses",
                "that read an embedding's length can't be added to others; got " + ", ".join(long),
            )
        super().__init__(losses[0])
        self.parts, self.weights = list(losses), weights
        self.views = max(loss.views for loss in losses)

    def dims(self) -> list[int]:
        """Returns how many of an embedding's first entries each loss receives; 0 for all."""
        return [0] * len(self.parts)

    def takes_memberships(self):
        return all(loss.takes_memberships() for loss in self.parts)

    def takes_relation(self):
        return all(loss.takes_relation() for loss in self.parts)

    def why_classes(self):
        return next(loss for loss in self.parts if not loss.takes_relation()).why_classes()

    def reads_classes(self):
        return any(loss.reads_classes() for loss in self.parts)

    def needs_head(self):
        return True

    def head(self, classes, embedding_dim):
        dims = self.dims()
        heads = [
            loss.head(classes, dim or embedding_dim)
            for loss, dim in zip(self.parts, dims, strict=True)
        ]
        return JointHead(heads, dims)

    def value(self, targets, x):
        return sum(
            weight * loss.value(targets, own)
            for weight, loss, own in zip(self.weights, self.parts, x, strict=True)
        )

    def penalty(self, head):
        terms = [
            (weight, loss.penalty(own))
            for weight, loss, own in zip(self.weights, self.parts, head.heads, strict=True)
        ]
        terms = [weight * term for weight, term in terms if term is not None]
        return sum(terms) if terms else None

    def has_active_share(self):
        return False
