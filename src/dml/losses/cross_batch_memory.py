"""Cross-batch memory."""

import keras
from keras import ops

from dml._options import check_at_least, check_integer
from dml.errors import OptionError
from dml.heads import MemoryHead
from dml.losses._wrapper import NO_CLASSES, NO_MINER, Wrapper, check_order, require_pairs
from dml.losses.base import MetricLoss
from dml.losses.mined import Mined
from dml.losses.self_supervised import SelfSupervised
from dml.ops import relation_masks


@keras.saving.register_keras_serializable("dml")
class CrossBatchMemory(Wrapper):
    """Gives a pair loss the embeddings of earlier batches as further references.

    The loss of the batch's own pairs, plus `weight` times that of the pairs of batch and memory,
    as soon as `start` batches are remembered. Embeddings change slowly later in a training, so that
    those of some hundred steps ago are still useful. The memory is part of the checkpoint. A batch
    is compared with the memory before it is added, so that no image is compared with itself; nor is
    the same image from an earlier epoch a positive, if targets hold the samples. (The authors' code
    adds the batch first and drops pairs of a similarity above 1 - 1e-5, and true duplicates with
    them.)

    Args:
        loss: A `PairLoss`, with no head of its own.
        size: Number of embeddings that are kept. Positive; at most a tenth to a half of the data
            set.
        start: Batches before the memory is used; at least 0. 1000 in the paper, which starts from
            ImageNet's weights.
        weight: Weight of the memory's pairs. At least 0; 1 in the paper.

    Call arguments:
        labels: Integers (B,), or a relation (B, B) if the head receives the relation to all images.
        x: The output of `dml.heads.MemoryHead`.

    Raises:
        OptionError: An option is out of its range, or the loss compares no pairs.

    Example:
        >>> loss = dml.losses.CrossBatchMemory(dml.losses.Contrastive(), size=1024)
        >>> type(loss.head(classes=None, embedding_dim=64)).__name__
        'MemoryHead'

    References:
        - [Wang et al., CVPR 2020](https://arxiv.org/abs/1912.06798)
    """

    written = "CrossBatchMemory({}, size)"

    def __init__(self, loss: MetricLoss, size: int = 8192, start: int = 1000, weight: float = 1.0):
        check_order(loss, "CrossBatchMemory(loss, size)", ("Matryoshka", "MultipleLosses"))
        if isinstance(loss, Mined):
            raise OptionError("loss", f"CrossBatchMemory {NO_MINER}")
        if isinstance(loss, CrossBatchMemory):
            raise OptionError("loss", "CrossBatchMemory has a memory already: leave one out")
        if isinstance(loss, SelfSupervised):
            raise OptionError("loss", f"CrossBatchMemory {NO_CLASSES}")
        require_pairs(loss)
        if loss.both_ends:
            raise OptionError(
                "loss",
                f"{type(loss).__name__} uses the pairs of both images, and those of memories "
                "are unknown: use another loss, such as contrastive",
            )
        super().__init__(loss)
        self.size, self.start, self.weight = size, start, weight
        check_integer(1, size=self.size)
        check_integer(0, start=self.start)
        check_at_least(0, weight=self.weight)

    def reads_classes(self):
        return True  # they are compared with those that are remembered

    def needs_head(self):
        return True

    def head(self, classes, embedding_dim):
        return MemoryHead(self.size, embedding_dim)

    def value(self, targets, x):
        compared = self.loss.compare(x["embeddings"], ops.stop_gradient(x["memory"]))
        masks = self.memory_masks(targets.labels, x)
        remembered = self.loss.labelled_loss(targets.labels, compared, *masks)
        used = self.weight * ops.cast(x["steps"] >= self.start, "float32")
        return self.loss.value(targets, x["embeddings"]) + used * remembered

    def memory_masks(self, labels, x):
        """Returns the masks (B, size) of positive and of negative pairs of batch and memory."""
        twins = ops.cast(x["twins"], "bool")
        if "memory_relation" in x:
            return relation_masks(ops.where(twins, float("nan"), x["memory_relation"]))
        known = ops.cast(x["memory_labels"], labels.dtype)
        same = labels[:, None] == known[None, :]
        there = ops.cast(x["labelled"], "bool")[None, :]
        return same & there & ~twins, ~same & there

    def active_share(self, labels, x):
        return self.loss.active_share(labels, x["embeddings"])

    def options(self):
        return {"size": self.size, "start": self.start, "weight": self.weight}
