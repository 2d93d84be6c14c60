"""The base class of regularizers, and their registry."""

from typing import Any, ClassVar

from dml._registry import Registry

REGULARIZERS = Registry("regularizer")


class Regularizer:
    """A scalar function of the proxies or of the batch's embeddings, which is added to the loss.

    Subclasses are frozen dataclasses whose fields are the options, and implement `__call__`.
    """

    # `proxies`: (C, K, D), of length 1; `raw_proxies`: (C, K, D), of any length;
    # `embeddings`: (B, D), of length 1; `head`: the output of the regularizer's own layer.
    acts_on: ClassVar[str] = "proxies"

    def head(self, embedding_dim: int) -> Any:
        """Returns the layer, from embeddings and labels, with its learned parameters, or None.

        Args:
            embedding_dim: Length of an embedding.
        """
        return None

    def __call__(self, x, /):
        """Returns the scalar of float32 x, of the kind in `acts_on`."""
        raise NotImplementedError
