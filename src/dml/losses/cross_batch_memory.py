"""Cross-batch memory (Wang et al., CVPR 2020, arXiv 1912.06798)."""

import keras
from keras import ops

from dml.heads import MemoryHead
from dml.losses.base import MetricLoss, require
from dml.losses.mined import check_minable
from dml.ops import pair_masks, relation_masks, relation_of_distinct


@keras.saving.register_keras_serializable("dml")
class CrossBatchMemory(MetricLoss):
    """Gives a pair loss the embeddings of earlier batches as further references.

    The loss of the batch's own pairs, plus `weight` times that of the pairs of batch and memory,
    as soon as `start` batches are remembered. Embeddings move slowly later in a training, so that
    those of some hundred steps ago still serve. The memory is part of the checkpoint. A batch
    meets the memory before it joins it, so that no image is compared with itself; its twin of an
    earlier epoch is no positive either, where the learner is told which sample each image is.
    (The authors' code joins first and cuts pairs of a similarity above 1 - 1e-5, and true
    duplicates with them.)

    Args:
        loss: A `PairLoss`, with no head of its own.
        size: Embeddings that are kept. Positive; at most a tenth to a half of the data set.
        start: Batches before the memory is used; at least 0. 1000 in the paper, which starts from
            ImageNet's weights.
        weight: Of the memory's pairs. At least 0; 1 in the paper.

    Call arguments:
        labels: Integers (B,), or a relation (B, B) where the head is given the same to all images.
        x: What `dml.heads.MemoryHead` returns.

    Raises:
        ValueError: An option is out of its range, or the loss compares no pairs.
    """

    def __init__(self, loss, size=8192, start=1000, weight=1.0):
        check_minable(loss)
        if loss.both_ends:
            raise ValueError(
                f"{type(loss).__name__} looks at the pairs of both ends, and those of a memory's "
                "are not there: take another loss, such as contrastive"
            )
        require(size >= 1, "size must be positive", size)
        require(min(start, weight) >= 0, "start and weight must be at least 0", start, weight)
        self.__post_init__()
        self.loss, self.size, self.start, self.weight = loss, size, start, weight

    def head(self, classes, embedding_dim):
        return MemoryHead(self.size, embedding_dim)

    def known(self, labels, samples):
        return labels  # the head brings the samples

    def batch_loss(self, labels, x):
        compared = self.loss.compare(x["embeddings"], ops.stop_gradient(x["memory"]))
        remembered = self.loss.pair_loss(compared, *self.memory_masks(labels, x))
        used = self.weight * ops.cast(x["steps"] >= self.start, "float32")
        if "samples" in x:
            labels = relation_of_distinct(labels, x["samples"])
        return self.loss.batch_loss(labels, x["embeddings"]) + used * remembered

    def memory_masks(self, labels, x):
        """Returns the masks (B, size) of positive and of negative pairs of batch and memory."""
        twins = ops.cast(x["twins"], "bool")
        if "memory_relation" in x:
            return relation_masks(ops.where(twins, float("nan"), x["memory_relation"]))
        known = ops.cast(x["memory_labels"], labels.dtype)
        same = labels[:, None] == known[None, :]
        return same & ~twins, ~same & (known >= 0)[None, :]

    def active_share(self, labels, x):
        embeddings = x["embeddings"]
        return self.loss.pair_share(self.loss.compare(embeddings, embeddings), *pair_masks(labels))

    def has_active_share(self):
        return self.loss.has_active_share()

    def get_config(self):
        serialized = keras.saving.serialize_keras_object(self.loss)
        return {
            "loss": serialized,
            "size": self.size,
            "start": self.start,
            "weight": self.weight,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})
