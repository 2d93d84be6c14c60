"""Targets: labels, samples and relations of a batch, in one form."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from keras import backend, ops

from dml.errors import ArrayError
from dml.ops.labels import is_relation, relation_of, relation_of_distinct

_KINDS = 'labels, {"labels", "samples"} or {"related", "samples"}'


def check_targets(y: Any) -> None:
    """Raises ArrayError for a dictionary with keys other than those of targets.

    Args:
        y: Labels, {"labels", "samples"} or {"related", "samples"}.
    """
    if isinstance(y, Mapping) and set(y) not in ({"labels", "samples"}, {"related", "samples"}):
        raise ArrayError(f"targets are {_KINDS}; got {', '.join(map(repr, y))}")


@dataclass(frozen=True)
class Targets:
    """The targets of a batch, as losses, heads and telemetry receive them.

    Args:
        labels: int32 (B,), the class of each image; or floats, a relation (B, B) or memberships
            (B, classes).
        samples: int32 (B,), the index of each image in the training data; None if unknown.
        related: Floats (B, N), the relation of each image to all training images; None if unknown.
        views: How many views of each image there are, one batch of them after another.
    """

    labels: Any
    samples: Any = None
    related: Any = None
    views: int = 1

    @classmethod
    def of(cls, y: Any, memberships: bool = False) -> Self:
        """Reads the targets of a batch.

        Args:
            y: Labels, {"labels", "samples"} or {"related", "samples"}, in tensors or arrays.
            memberships: Whether a matrix of labels contains memberships rather than a relation.

        Raises:
            ArrayError: `y` has another form.
        """
        check_targets(y)
        known = y if isinstance(y, Mapping) else {"labels": y}
        samples = related = None
        if "samples" in known:
            samples = ops.cast(ops.reshape(known["samples"], (-1,)), "int32")
        if "related" in known:
            related = ops.cast(known["related"], "float32")
            return cls(ops.take(related, samples, axis=1), samples, related)
        labels = ops.convert_to_tensor(known["labels"])
        if not is_relation(labels):
            labels = ops.reshape(labels, (-1,))
            if backend.standardize_dtype(labels.dtype) == "int64":  # else 2^32 would be class 0
                labels = ops.clip(labels, -(2**31), 2**31 - 1)
            labels = ops.cast(labels, "int32")
        else:
            labels = ops.cast(labels, "float32") if memberships else relation_of(labels)
        return cls(labels, samples)

    def of_views(self, count: int, memberships: bool = False) -> Self:
        """Returns the targets of `count` views of the batch, one after another.

        Args:
            count: Number of views; positive.
            memberships: Whether a matrix of labels contains memberships rather than a relation,
                in which an image's views are related by 1.
        """
        if count == 1:
            return self
        labels = self.labels
        if is_relation(labels) and not memberships:
            itself = ops.eye(ops.shape(labels)[0], dtype="bool")
            labels = ops.tile(ops.where(itself, 1.0, labels), (count, count))
        else:
            labels = ops.concatenate([labels] * count)
        samples, related = (
            None if rows is None else ops.concatenate([rows] * count)
            for rows in (self.samples, self.related)
        )
        return replace(self, labels=labels, samples=samples, related=related, views=count)

    def to_compare(self) -> Any:
        """Returns labels (B,), or a relation (B, B), by which images are compared with each other.

        Pairs of one image are unknown, unless there are views, which are to be compared.
        """
        if self.samples is None or self.views > 1:
            return self.labels
        return relation_of_distinct(self.labels, self.samples)
