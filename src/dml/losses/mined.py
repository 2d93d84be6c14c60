"""A pair loss that only uses the pairs that a miner selects."""

from typing import ClassVar

import keras
from keras import ops

from dml._registry import Registry
from dml.errors import OptionError
from dml.losses._wrapper import NO_MINER, Wrapper, check_order, require_pairs
from dml.losses.base import MetricLoss
from dml.losses.triplet import Triplet
from dml.miners import MINERS, Miner
from dml.ops import pair_masks, share_kept


@keras.saving.register_keras_serializable("dml")
class Mined(Wrapper):
    """Applies a pair loss to the pairs that a miner keeps, or to their weights.

    The miner receives the batch's cosines, whatever the loss compares; no gradient passes through
    it. `Triplet` forms triplets of the selected pairs: all or the hardest, by its own `mining`.

    Args:
        loss: A `PairLoss`. Proxy losses compare no pairs of images.
        miner: A part of `dml.miners`.

    Raises:
        OptionError: The loss compares no pairs that a miner could select from, or its own `mining`
            is `semi_hard`.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> triplet = dml.losses.Triplet(mining="all")
        >>> loss = dml.losses.Mined(triplet, dml.miners.BatchHardMiner())
        >>> round(float(loss(labels, x)), 3)
        0.52
    """

    written = "Mined({}, miner)"
    registries: ClassVar[dict[str, Registry]] = {"miner": MINERS}

    def __init__(self, loss: MetricLoss, miner: Miner):
        check_order(loss, "Mined(loss, miner)", ("SelfSupervised", "Matryoshka", "MultipleLosses"))
        if isinstance(loss, Mined):
            raise OptionError("loss", "Mined has a miner already: leave one of the two out")
        if type(loss).__name__ == "CrossBatchMemory":
            raise OptionError("loss", f"{type(loss).__name__} {NO_MINER}")
        require_pairs(loss)
        _check_mining(loss)
        super().__init__(loss)
        self.miner = miner

    def mined(self, labels, embeddings):
        """Returns the masks (B, B) that the loss receives."""
        similarities = ops.stop_gradient(ops.matmul(embeddings, ops.transpose(embeddings)))
        known = {"dim": embeddings.shape[1]}
        extra = {name: known[name] for name in self.miner.wants}
        return self.miner.mine(similarities, *pair_masks(labels), **extra)

    def batch_loss(self, labels, embeddings):
        compared = self.loss.compare(embeddings, embeddings)
        return self.loss.labelled_loss(labels, compared, *self.mined(labels, embeddings))

    def active_share(self, labels, embeddings):
        return share_kept(self.mined(labels, embeddings), pair_masks(labels))

    def has_active_share(self):
        return True

    def options(self):
        return {"miner": self.miner}


def _check_mining(loss):
    """Raises OptionError if a loss would select semi-hard triplets of what a miner has selected."""
    while isinstance(loss, Wrapper):
        loss = loss.loss
    if isinstance(loss, Triplet) and loss.mining == "semi_hard":
        raise OptionError(
            "mining",
            "must be 'all' or 'hard' with a miner, which selects the pairs; got 'semi_hard', which "
            "selects once more and keeps none of a miner's hardest pairs",
        )
