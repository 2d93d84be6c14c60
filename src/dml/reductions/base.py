"""The base class of reductions, and their registry."""

from dml._registry import Registry

REDUCTIONS = Registry("reduction")


class Reduction:
    """Reduces the losses of all anchors to one number. Subclasses implement `__call__`."""

    def __call__(self, values, same):
        """Returns the scalar.

        Args:
            values: Floats (B,): the loss of each anchor alone.
            same: Floats (B,): the number of anchors of its class in the batch, itself included.
        """
        raise NotImplementedError
