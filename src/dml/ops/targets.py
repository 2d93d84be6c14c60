"""What is known of a batch's images, in one form."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from keras import ops

from dml.errors import ArrayError
from dml.ops.labels import is_relation, relation_of

_KINDS = 'labels, {"labels", "samples"} or {"related", "samples"}'


def check_targets(y: Any) -> None:
    """Raises ArrayError for a dictionary that holds anything else than targets."""
    if isinstance(y, Mapping) and set(y) not in ({"labels", "samples"}, {"related", "samples"}):
        raise ArrayError(f"targets are {_KINDS}; got {', '.join(map(repr, y))}")


@dataclass(frozen=True)
class Targets:
    """What is known of a batch's images, as losses, heads and telemetry receive it.

    Args:
        labels: int32 (B,), the class of each image; or floats, a relation (B, B) or memberships
            (B, classes).
        samples: int32 (B,), which image of the training data each is; None if not known.
        related: Floats (B, N), how far each image belongs to each of the training data; None if
            not known.
    """

    labels: Any
    samples: Any = None
    related: Any = None

    @classmethod
    def of(cls, y: Any, memberships: bool = False) -> Self:
        """Reads the targets of a batch.

        Args:
            y: Labels, {"labels", "samples"} or {"related", "samples"}, in tensors or arrays.
            memberships: Whether a matrix of labels is one of memberships, and not a relation.

        Raises:
            ArrayError: It is something else.
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
            labels = ops.cast(ops.reshape(labels, (-1,)), "int32")
        elif not memberships:
            labels = relation_of(labels)
        return cls(labels, samples)

    def of_views(self, count: int) -> Self:
        """Returns the targets of `count` views of the batch, one after the other.

        Views of one image are what is compared, so that samples are not known.
        """
        if count == 1:
            return self
        return replace(self, labels=ops.concatenate([self.labels] * count), samples=None)
