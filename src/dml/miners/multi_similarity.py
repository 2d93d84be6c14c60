"""The miner of the Multi-Similarity loss (Wang et al., CVPR 2019, sec. 4.1)."""

from dataclasses import dataclass

from keras import ops

from dml.batch_ops import pair_masks
from dml.miners.base import MINERS


@MINERS.register("multi_similarity")
@dataclass(frozen=True)
class MultiSimilarityMiner:
    """Keeps the pairs of an anchor that are hard relative to its pairs of the other kind.

    A negative is kept when it is more similar than the least similar positive less `epsilon`, a
    positive when it is less similar than the most similar negative plus `epsilon`. An anchor
    without positives or without negatives keeps none.

    Args:
        epsilon: Slack in similarity; at least 0. 0.1 in the paper; infinity keeps every pair.

    Call arguments:
        labels: Integers (B,).
        similarities: Floats (B, B), row i for anchor i.

    Returns:
        Two boolean masks (B, B), the positive and the negative pairs that are kept. A sample is
        never its own positive: self-pairs go by index, so exact duplicates stay.

    Raises:
        ValueError: `epsilon` is negative.
    """

    epsilon: float = 0.1

    def __post_init__(self):
        if not self.epsilon >= 0:
            raise ValueError(f"epsilon must be at least 0; got {self.epsilon}")

    def __call__(self, labels, similarities):
        positive, negative = pair_masks(labels)
        nowhere = float("inf")
        farthest = ops.min(ops.where(positive, similarities, nowhere), axis=1, keepdims=True)
        nearest = ops.max(ops.where(negative, similarities, -nowhere), axis=1, keepdims=True)
        both = ops.logical_and(
            ops.any(positive, axis=1, keepdims=True), ops.any(negative, axis=1, keepdims=True)
        )
        hard_positive = similarities < nearest + self.epsilon
        hard_negative = similarities > farthest - self.epsilon
        return positive & both & hard_positive, negative & both & hard_negative
