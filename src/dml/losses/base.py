"""The base classes of losses: registry, dtype and serialization."""

import dataclasses
from typing import Any, ClassVar, cast

import keras
from keras import ops

from dml._registry import Registry
from dml.errors import OptionError
from dml.heads import Head, ProxyHead
from dml.losses._exact import as_floats, check_rows, exact_targets
from dml.losses._weights import check_no_weights
from dml.ops import DISTANCES, Targets, check_distance, pair_masks, products

LOSSES = Registry("loss")


class MetricLoss(keras.losses.Loss):
    """A loss of one batch, computed from labels and one float matrix.

    In place of integer labels (B,), losses that read embeddings take a relation, floats (B, B) in
    [0, 1] with ones on the diagonal (NaN: unknown), and losses that read cosines to proxies take
    memberships, floats (B, classes) in [0, 1]. One-hot labels are memberships; for losses that
    read embeddings, take their argmax.
    {"labels": labels, "samples": integers (B,)} also identifies each image: pairs of
    one image are neither positive nor negative.

    A loss holds options and no variables: Keras trains only what a layer owns. Learned parameters
    (proxies) are in the layers of `dml.heads`; `proxies_per_class` tells the learner whether to add
    such a head, and so whether `x` below is embeddings or cosines.

    Subclasses are dataclasses whose fields are the options, and implement `batch_loss`.

    Raises:
        ArrayError: `sample_weight` or `class_weight` is given; or labels are no whole numbers, not
            one for each row, or a matrix that is neither a relation nor memberships; or labels that
            name classes exceed 32 bits.
    """

    # 0: x is embeddings (B, D); 1: cosines (B, classes); K > 1: cosines (B, classes, K).
    proxies_per_class: ClassVar[int] = 0
    proxy_head: ClassVar[type] = ProxyHead
    # How often the learner augments each image; the views follow each other in the batch.
    views: int = 1
    # Whether the head reads embeddings before they are normalised to length 1.
    reads_length: ClassVar[bool] = False
    # Whether a pair's loss also depends on the pairs of its reference, so that references must be
    # the anchors.
    both_ends: ClassVar[bool] = False
    # Whether the loss is the mean over the batch of a loss of each image alone.
    averages_images: ClassVar[bool] = False
    # Whether it is a softmax over the classes of `scale` times cosines to proxies.
    is_softmax_of_cosines: ClassVar[bool] = False
    # Length of a proxy before training; only its direction acts, but a short one turns faster.
    # None: a deviation of sqrt(2 / proxies), as in the code of Proxy Anchor.
    initial_proxy_length: ClassVar[float | None] = None

    def __post_init__(self):
        super().__init__(dtype="float32")

    def __call__(self, y_true, y_pred, sample_weight=None):
        check_no_weights(sample_weight)
        # Keras would cast labels to floats: in float32, 2^24 and 2^24 + 1 are the same label.
        y = exact_targets(y_true, recode=not self.reads_classes())
        x = keras.tree.map_structure(as_floats, y_pred)
        if self.views == 1:  # else labels are ignored
            check_rows(y, x)
        return ops.mean(self.call(y, x))

    def call(self, labels, x):
        targets = Targets.of(labels, memberships=self.takes_memberships())
        # As an array: Keras does not divide a scalar by the number of replicas.
        return ops.reshape(self.value(targets, x), (1,))

    def value(self, targets: Targets, x):
        """Returns the scalar loss of a batch's targets and float32 x."""
        return self.batch_loss(self.labels_of(targets), x)

    def labels_of(self, targets: Targets) -> Any:
        """Returns the labels of a batch's targets that `batch_loss` and `active_share` receive.

        Where they may be a relation, pairs of one image are unknown in it.
        """
        if targets.samples is not None and self.takes_relation():
            return targets.to_compare()
        return targets.labels

    def takes_memberships(self) -> bool:
        """Returns whether labels may be memberships (B, classes)."""
        return bool(self.proxies_per_class)

    def takes_relation(self) -> bool:
        """Returns whether labels may be a relation (B, B)."""
        return not self.proxies_per_class

    def why_classes(self) -> str:
        """Returns why labels can't be a relation, and what to do: of losses that don't take one."""
        name = type(self).__name__
        return f"{name} compares images with proxies: pass classes instead of a relation"

    def reads_classes(self) -> bool:
        """Returns whether it matters which classes labels name, and not only which are equal."""
        return bool(self.proxies_per_class)

    def has_pairs(self) -> bool:
        """Returns whether this is a loss of pairs only, which miners may select."""
        return False

    def batch_loss(self, labels, x, /):
        """Returns the scalar loss of int32 labels (B,), or a float32 matrix, and float32 x."""
        raise NotImplementedError

    def needs_head(self) -> bool:
        """Returns whether x is not the embeddings themselves."""
        return bool(self.proxies_per_class) or type(self).head is not MetricLoss.head

    def head(self, classes: int | None, embedding_dim: int) -> Head | None:
        """Returns a new layer from embeddings and labels to x, or None if x is embeddings.

        Args:
            classes: Number of classes among the training labels, or None if unknown.
            embedding_dim: Length of an embedding.

        Raises:
            OptionError: The layer needs to know the classes.
        """
        if not self.proxies_per_class:
            return None
        if not classes:
            raise OptionError("classes", f"must be given: {type(self).__name__} has proxies")
        return self.proxy_head(
            classes, embedding_dim, self.proxies_per_class, self.initial_proxy_length
        )

    def proxy_penalty(self, proxies, /) -> Any:
        """Returns the penalty on the proxies (classes, K, D), of any length, or None."""
        return None

    def penalty(self, head: Any, /) -> Any:
        """Returns the penalty on the state of its head, or None."""
        if not isinstance(head, ProxyHead):
            return None
        return self.proxy_penalty(ops.cast(head.proxies, "float32"))

    def active_share(self, labels, x, /):
        """Returns the share, in [0, 1], of the batch's pairs or triplets with a gradient.

        Only losses that leave out pairs have it.
        """
        raise NotImplementedError

    def has_active_share(self) -> bool:
        """Returns whether this loss leaves pairs out."""
        return type(self).active_share is not MetricLoss.active_share

    def get_config(self) -> dict[str, Any]:
        return dataclasses.asdict(cast(Any, self))


class PairLoss(MetricLoss):
    """A loss computed from a matrix (B, R) that compares anchors with references, and pair masks.

    Subclasses implement `pair_loss`, and `compare` if they don't read cosines. Masks are as in
    `dml.ops`: boolean, or weights.

    Example:
        @dml.losses.LOSSES.register("hinge")  # its name in recipes
        @keras.saving.register_keras_serializable("mine")
        @dataclasses.dataclass(eq=False)
        class Hinge(dml.losses.PairLoss):
            margin: float = 0.5

            def pair_loss(self, cosines, positive, negative):
                pull = dml.ops.mean_over(1.0 - cosines, positive)
                return pull + dml.ops.mean_over(keras.ops.relu(cosines - self.margin), negative)
    """

    def batch_loss(self, labels, embeddings):
        compared = self.compare(embeddings, embeddings)
        return self.labelled_loss(labels, compared, *pair_masks(labels))

    def labelled_loss(self, labels, compared, positive, negative, /):
        """Returns `pair_loss`; reductions also read the labels of the anchors.

        Args:
            labels: Integers (B,), or a relation (B, B), of the anchors.
            compared: Floats (B, R), as for `pair_loss`.
            positive: Mask (B, R), which may lack pairs that a miner leaves out.
            negative: Mask (B, R).
        """
        return self.pair_loss(compared, positive, negative)

    def compare(self, anchors, references):
        """Returns the cosines (B, R) of rows of length 1."""
        return products(anchors, references)

    def active_share(self, labels, embeddings):
        return self.pair_share(self.compare(embeddings, embeddings), *pair_masks(labels))

    def pair_share(self, compared, positive, negative, /):
        """Returns `active_share` of the arguments of `pair_loss`."""
        raise NotImplementedError

    def has_active_share(self):
        return type(self).pair_share is not PairLoss.pair_share

    def has_pairs(self):
        return type(self).batch_loss is PairLoss.batch_loss

    def pair_loss(self, compared, positive, negative, /):
        """Returns the scalar loss of float32 `compared` (B, R) and the masks (B, R) of its pairs.

        If anchors and references are the same, self-pairs are in neither mask.
        """
        raise NotImplementedError


class DistanceLoss(PairLoss):
    """A pair loss that is computed from distances, which its option `distance` selects."""

    distance: str

    def __post_init__(self):
        super().__post_init__()
        check_distance(self.distance)

    def compare(self, anchors, references):
        return DISTANCES[self.distance](anchors, references)
