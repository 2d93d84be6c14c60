"""HIER: hierarchical regularization."""

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from dml._options import check_at_least, check_integer
from dml.heads import HierarchyHead
from dml.regularizers.base import REGULARIZERS, Regularizer


@REGULARIZERS.register("hier")
@dataclass(frozen=True)
class Hier(Regularizer):
    """Learns a hierarchy above the classes and pulls embeddings together within its branches.

    For two neighbours and an unrelated point in hyperbolic space, the lowest common ancestor of the
    two must be nearer to them than that of all three, and farther from the unrelated point. With
    gap the difference of these distances, the mean over triplets of the batch, and over triplets of
    the ancestors themselves, of the sum over the three of

        max(0, gap + margin)

    The ancestors are learned at the head's rate, with plain gradients (the authors' code scales
    them to the ball). Embeddings of length 1 are put at `dml.heads.HierarchyHead`'s
    `largest_length`, where most of the authors' free ones are clipped.

    Args:
        weight: Factor. At least 0; 0.5 in the paper (1 for some networks).
        margin: delta in the paper. At least 0; 0.1.
        ancestors: Number of learned points; at least 2. 512 in the paper.
        neighbours: Rank up to which two points are neighbours of each other; positive. 20 in the
            paper.
        triplets: Drawn at each step, from the batch and from the ancestors each; positive. The
            authors' code draws 50 for each image.

    Call arguments:
        gaps: Floats (2, triplets, 3) from `dml.heads.HierarchyHead`.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> gaps = np.array([[[0.0, -0.2, 0.1]], [[-1.0, -1.0, -1.0]]], "float32")
        >>> round(float(dml.regularizers.Hier(weight=1.0)(gaps)), 3)  # 0.1 + 0 + 0.2 of the batch
        0.3

    References:
        - [Kim et al., CVPR 2023](https://arxiv.org/abs/2212.14258)
    """

    weight: float = 0.5
    margin: float = 0.1
    ancestors: int = 512
    neighbours: int = 20
    triplets: int = 1000
    acts_on: ClassVar[str] = "head"

    def __post_init__(self):
        check_at_least(0, weight=self.weight, margin=self.margin)
        check_integer(2, ancestors=self.ancestors)
        check_integer(1, neighbours=self.neighbours, triplets=self.triplets)

    def head(self, embedding_dim):
        return HierarchyHead(embedding_dim, self.ancestors, self.neighbours, self.triplets)

    def __call__(self, gaps):
        costs = ops.sum(ops.relu(gaps + self.margin), axis=-1)
        return self.weight * ops.sum(ops.mean(costs, axis=-1))
