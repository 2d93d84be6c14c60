"""Easy and hard pairs of each anchor."""

from dataclasses import dataclass

from keras import ops

from dml._options import check_known
from dml.errors import OptionError
from dml.miners._triplets import of_whole_triplets
from dml.miners.base import MINERS, Miner
from dml.ops import keep, present

_CHOICES = ("hard", "semi_hard", "easy", "all")


@MINERS.register("batch_easy_hard")
@dataclass(frozen=True)
class BatchEasyHardMiner(Miner):
    """Keeps one positive and one negative of each anchor: its hardest, easiest, or next best.

    The hardest positive is the least similar one, the hardest negative the most similar one. A
    semi-hard negative is the most similar of those that are less similar than the positive that
    is kept; a semi-hard positive the least similar of those that are more similar than the
    negative that is kept. An anchor without a remaining positive or negative keeps nothing, as in
    the papers; tied pairs are all kept.

    Args:
        positives: `hard`, `semi_hard`, `easy` or `all`.
        negatives: The same choices; not `semi_hard` if `positives` is.

    Raises:
        OptionError: An option is unknown, or `semi_hard` lacks a single reference pair.

    Example:
        >>> x = keras.ops.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> similarities = keras.ops.matmul(x, keras.ops.transpose(x))
        >>> positive, negative = dml.miners.BatchEasyHardMiner()([0, 0, 1, 1], similarities)
        >>> keras.ops.convert_to_numpy(negative)
        array([[False, False,  True, False],
               [False, False,  True, False],
               [False,  True, False, False],
               [False,  True, False, False]])

    References:
        - [Hermans et al., 2017](https://arxiv.org/abs/1703.07737)
        - [Xuan et al., WACV 2020](https://arxiv.org/abs/1904.04370)
    """

    positives: str = "hard"
    negatives: str = "hard"

    def __post_init__(self):
        check_known(_CHOICES, positives=self.positives, negatives=self.negatives)
        for name, other in (("positives", "negatives"), ("negatives", "positives")):
            if getattr(self, name) == "semi_hard" and getattr(self, other) not in ("hard", "easy"):
                raise OptionError(
                    name,
                    f"'semi_hard' needs {other} 'hard' or 'easy'; got {getattr(self, other)!r}",
                )

    def mine(self, similarities, positive, negative):
        if self.positives == "semi_hard":
            negative, bound = _best(similarities, negative, highest=self.negatives == "hard")
            positive = keep(positive, similarities > bound)
            positive = _best(similarities, positive, highest=False)[0]
            return of_whole_triplets(positive, negative)
        if self.positives != "all":
            positive, bound = _best(similarities, positive, highest=self.positives == "easy")
        if self.negatives == "semi_hard":
            negative = keep(negative, similarities < bound)
        if self.negatives != "all":
            negative = _best(similarities, negative, highest=self.negatives != "easy")[0]
        return of_whole_triplets(positive, negative)


def _best(similarities, mask, highest):
    """Returns a mask with each anchor's most, or least, similar pair alone, and its similarity.

    Args:
        similarities: Floats (B, R).
        mask: Mask (B, R) of the pairs to choose from.
        highest: Whether the most similar one is chosen.

    Returns:
        The mask (B, R), and floats (B, 1); infinite if there is no pair.
    """
    sign = 1.0 if highest else -1.0
    found = ops.amax(
        ops.where(present(mask), sign * similarities, -float("inf")), axis=1, keepdims=True
    )
    return keep(mask, present(mask) & (sign * similarities == found)), sign * found
