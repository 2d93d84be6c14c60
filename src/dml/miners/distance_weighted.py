"""Distance-weighted sampling."""

import math
from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from dml._options import check_interval
from dml.errors import OptionError
from dml.miners._triplets import of_whole_triplets
from dml.miners.base import MINERS, Miner
from dml.ops import as_weights, present


@MINERS.register("distance_weighted")
@dataclass(frozen=True)
class DistanceWeightedMiner(Miner):
    """Weights an anchor's negatives so that all distances are equally frequent.

    Distances d of random points on a sphere of D dimensions gather around sqrt(2), with a density
    q(d) in proportion to d^(D - 2) (1 - d^2 / 4)^((D - 3) / 2). The weight of an anchor's negative
    is in proportion to 1 / q(d), and they sum to 1. The paper draws one negative with this
    probability; weights are the expectation of the draws, without their noise. All positives are
    kept, except for anchors without a negative that is near enough, which keep nothing.

    D is the length of the embeddings, which `dml.losses.Mined` passes on; other callers give it as
    the keyword `dim`, at least 2.

    Args:
        nearest: Smaller distances are replaced by this, to limit noise. In (0, 2); 0.5 in the
            paper.
        farthest: Negatives beyond it are left out, since their loss is 0. In (nearest, 2]; 1.4 in
            the paper.

    Raises:
        OptionError: An option is out of its range, or `dim` is not given.

    Example:
        >>> x = keras.ops.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> similarities = keras.ops.matmul(x, keras.ops.transpose(x))
        >>> miner = dml.miners.DistanceWeightedMiner()
        >>> positive, negative = miner([0, 0, 1, 1], similarities, dim=2)
        >>> keras.ops.shape(negative)
        (4, 4)

    References:
        - [Wu et al., ICCV 2017](https://arxiv.org/abs/1706.07567)
    """

    nearest: float = 0.5
    farthest: float = 1.4
    wants: ClassVar[tuple[str, ...]] = ("dim",)

    def __post_init__(self):
        check_interval("(0, 2)", nearest=self.nearest)
        if not self.nearest < self.farthest <= 2:
            raise OptionError(
                "farthest", f"must be in (nearest, 2], ({self.nearest}, 2]; got {self.farthest}"
            )

    def mine(self, similarities, positive, negative, dim: int | None = None):
        """Returns the two masks (B, R), whose negatives have weights.

        Args:
            similarities: As for every miner.
            positive: As for every miner.
            negative: As for every miner.
            dim: D, the length of the embeddings; at least 2.
        """
        if dim is None:
            raise OptionError("dim", "must be given, the length of the embeddings")
        similarities = ops.stop_gradient(similarities)
        # In squared distances, 2 - 2 s. Past 1.99^2 the density ends.
        squared = ops.clip(2.0 - 2.0 * similarities, self.nearest**2, min(self.farthest, 1.99) ** 2)
        density = 0.5 * (dim - 2) * ops.log(squared)
        density += 0.5 * (dim - 3) * ops.log(1.0 - 0.25 * squared)
        inside = present(negative) & (2.0 - 2.0 * similarities <= self.farthest**2)
        rarity = ops.where(inside, -density, -math.inf)
        some = ops.any(inside, axis=1, keepdims=True)
        highest = ops.where(some, ops.amax(rarity, axis=1, keepdims=True), 0.0)
        chances = ops.exp(rarity - highest) * as_weights(negative)
        total = ops.sum(chances, axis=1, keepdims=True)
        shares = chances / ops.where(some, total, ops.ones_like(total))
        return of_whole_triplets(as_weights(positive), shares)
