"""Matryoshka representation learning."""

from collections.abc import Sequence

import keras

from dml._options import check_counts
from dml.errors import OptionError
from dml.losses._sum import SumOfLosses
from dml.losses.base import MetricLoss


@keras.saving.register_keras_serializable("dml")
class Matryoshka(SumOfLosses):
    """Trains an embedding whose first entries are an embedding themselves.

    The weighted sum, over `dims`, of one loss of the first d entries, normalised to length 1. An
    index may then keep only the first 64 of 512 entries at little loss of accuracy. Losses of
    proxies get proxies for each length.

    Args:
        loss: A part of `dml.losses`.
        dims: Lengths, each positive and at most the embedding's, which should be among them.
        weights: Weight of each length; at least 0. 1 for all if None (paper).

    Call arguments:
        labels: As the loss takes them.
        x: The output of the layer that `head` returns.

    Raises:
        OptionError: A length is out of its range, or there are not as many weights as lengths.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> loss = dml.losses.Matryoshka(dml.losses.Contrastive(), dims=[1, 2])
        >>> head = loss.head(classes=None, embedding_dim=2)
        >>> round(float(loss(labels, head(x, labels))), 3)
        2.579

    References:
        - [Kusupati et al., NeurIPS 2022](https://arxiv.org/abs/2205.13147)
    """

    written = "Matryoshka({}, dims)"

    def __init__(
        self, loss: MetricLoss, dims: Sequence[int], weights: Sequence[float] | None = None
    ):
        check_counts(dims=dims)
        super().__init__([loss] * len(dims), weights)
        self.lengths = list(dims)

    def dims(self):
        return self.lengths

    def head(self, classes, embedding_dim):
        if max(self.lengths) > embedding_dim:
            raise OptionError(
                "dims", f"must be at most the embedding's {embedding_dim}; got {self.lengths}"
            )
        return super().head(classes, embedding_dim)

    def options(self):
        return {"dims": self.lengths, "weights": self.weights}
