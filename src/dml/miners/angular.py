"""Pairs of triangles with a wide angle at the negative."""

import math
from dataclasses import dataclass

from keras import ops

from dml._options import check_interval
from dml.miners.base import MINERS, Miner
from dml.ops import keep, present

_SAME = 1e-5  # squared distance below which float32 can't tell vectors of length 1 apart


@MINERS.register("angular")
@dataclass(frozen=True)
class AngularMiner(Miner):
    """Keeps the pairs of triplets whose angle at the negative exceeds `angle`.

    With c the midpoint of anchor and positive, the condition is

        tan(angle)^2 < |anchor - positive|^2 / (4 |negative - c|^2)

    If anchor and positive coincide, there is no angle. Takes O(B^3) time and memory.

    Args:
        angle: In degrees, in (0, 90); 20 in pytorch-metric-learning.

    Raises:
        OptionError: `angle` is out of its range.

    Example:
        >>> x = keras.ops.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> similarities = keras.ops.matmul(x, keras.ops.transpose(x))
        >>> positive, negative = dml.miners.AngularMiner()([0, 0, 1, 1], similarities)
        >>> keras.ops.convert_to_numpy(negative)
        array([[False, False,  True, False],
               [False, False,  True, False],
               [False,  True, False, False],
               [False,  True, False, False]])

    References:
        - [Wang et al., ICCV 2017](https://arxiv.org/abs/1708.01682)
    """

    angle: float = 20.0

    def __post_init__(self):
        check_interval("(0, 90) degrees", angle=self.angle)

    def mine(self, similarities, positive, negative):
        s = ops.stop_gradient(similarities)
        t = math.tan(math.radians(self.angle)) ** 2
        # Of vectors of length 1: |a - p|^2 = 2 - 2 s_ap, |n - c|^2 = (3 + s_ap) / 2 - s_an - s_pn.
        reach = (1.5 + 0.5 * s)[:, :, None] - s[:, None, :] - s[None, :, :]  # (a, p, n)
        apart = 2.0 - 2.0 * s
        wide = 4.0 * t * reach < apart[:, :, None]
        wide = wide & (present(positive) & (apart > _SAME))[:, :, None]
        wide = wide & present(negative)[:, None, :] & present(negative)[None, :, :]
        return keep(positive, ops.any(wide, axis=2)), keep(negative, ops.any(wide, axis=1))
