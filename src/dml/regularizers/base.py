"""What every regularizer shares: the registry, and what it acts on."""

from typing import Any, ClassVar

from dml._registry import Registry

REGULARIZERS = Registry("regularizer")


class Regularizer:
    """A scalar that is added to the loss, of the proxies or of the batch's embeddings.

    Subclasses are frozen dataclasses whose fields are the options, and implement `__call__`.
    """

    # `proxies`: (C, K, D), of length 1; `raw_proxies`: (C, K, D), of any length;
    # `embeddings`: (B, D), of length 1; `head`: what the regularizer's own layer makes of these.
    acts_on: ClassVar[str] = "proxies"

    def head(self, embedding_dim: int) -> Any:
        """Returns the layer, of embeddings and labels, that holds what it learns; None: nothing."""
        return None

    def __call__(self, x, /):
        """Returns the scalar of float32 x, of the kind in `acts_on`."""
        raise NotImplementedError
