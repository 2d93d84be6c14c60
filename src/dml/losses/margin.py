"""Margin loss."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_at_least, check_positive
from dml.errors import OptionError
from dml.heads import BoundaryHead
from dml.losses.base import LOSSES, MetricLoss
from dml.ops import as_weights, euclidean, keep, pair_masks, ratio


@LOSSES.register("margin")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class Margin(MetricLoss):
    """Pulls positive pairs inside a learned boundary and pushes negative ones beyond it.

    With d the distance of two embeddings and b the boundary of the anchor's class, the sum over
    all pairs, divided by the number of those that are not 0 (of graded relations, the sum of their
    weights), of

        max(0, margin + d - b) for positive pairs      max(0, margin - d + b) for negative ones

    plus `boundary_weight` times the mean boundary. The paper weights negatives by
    `dml.miners.DistanceWeightedMiner`; here all negatives of a batch have the same weight.
    Boundaries are learned at the head's rate.

    Args:
        margin: alpha in the paper. Positive; 0.2.
        boundary: Initial value of b. Positive; 1.2 in the paper.
        boundary_weight: nu in the paper: above 0 it draws boundaries inwards. At least 0; 0.
        per_class: Whether each class has its own boundary (paper), or all share one.

    Call arguments:
        labels: Integers (B,), each in [0, classes) where boundaries are per class; or a relation
            (B, B) where there is one.
        x: Floats (B, D + 1) from `dml.heads.BoundaryHead`: embeddings, boundaries.

    Returns:
        Scalar.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> loss = dml.losses.Margin()
        >>> head = loss.head(classes=2, embedding_dim=4)
        >>> x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
        >>> labels = np.array([0, 1, 0, 1])
        >>> float(loss(labels, head(x / keras.ops.norm(x, axis=1, keepdims=True), labels))) > 0
        True

    References:
        - [Wu et al., ICCV 2017](https://arxiv.org/abs/1706.07567)
    """

    margin: float = 0.2
    boundary: float = 1.2
    boundary_weight: float = 0.0
    per_class: bool = True

    def __post_init__(self):
        super().__post_init__()
        check_positive(margin=self.margin, boundary=self.boundary)
        check_at_least(0, boundary_weight=self.boundary_weight)

    def takes_relation(self):
        return not self.per_class

    def head(self, classes, embedding_dim):
        if self.per_class and not classes:
            raise OptionError("classes", "must be given: Margin has a boundary for each class")
        return BoundaryHead(classes if self.per_class else 0, self.boundary)

    def why_classes(self):
        return (
            "Margin has a boundary for each class: pass classes instead of a relation, or take one "
            "boundary for all, Margin(per_class=False)"
        )

    def labels_of(self, targets):
        return targets.to_compare()  # also per class: which classes they are, the head reads

    def hinges(self, labels, x):
        """Returns the sum of the pairs' losses, and the weight of those that are not 0."""
        embeddings, boundaries = x[:, :-1], x[:, -1:]
        d = euclidean(embeddings, embeddings)
        positive, negative = pair_masks(labels)
        pull = ops.relu(self.margin + d - boundaries)
        push = ops.relu(self.margin - d + boundaries)
        total = ops.sum(as_weights(positive) * pull + as_weights(negative) * push)
        active = as_weights(keep(positive, pull > 0)) + as_weights(keep(negative, push > 0))
        return total, ops.sum(active)

    def batch_loss(self, labels, x):
        return ratio(*self.hinges(labels, x)) + self.boundary_weight * ops.mean(x[:, -1])

    def active_share(self, labels, x):
        active = self.hinges(labels, x)[1]
        return ratio(active, sum(ops.sum(as_weights(mask)) for mask in pair_masks(labels)))
