"""Targets: labels, samples and relations of a batch, in one form."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from keras import backend, ops

from dml.errors import ArrayError
from dml.ops.labels import is_relation, relation_of

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
    """

    labels: Any
    samples: Any = None
    related: Any = None

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

    def of_views(self, count: int) -> Self:
        """Returns the targets of `count` views of the batch, one after another.

        Samples are unknown, because views of one image are to be compared.

        Args:
            count: Number of views; positive.
        """
        if count == 1:
            return self
        return replace(self, labels=ops.concatenate([self.labels] * count), samples=None)
