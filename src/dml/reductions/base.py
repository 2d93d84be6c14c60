"""What every reduction shares: its registry and what it reads."""

from dml._registry import Registry

REDUCTIONS = Registry("reduction")


class Reduction:
    """One number out of the losses of all anchors. Subclasses implement `__call__`."""

    def __call__(self, values, same):
        """Returns the scalar.

        Args:
            values: Floats (B,): the loss of each anchor alone.
            same: Floats (B,): the anchors of its own class in the batch, itself among them.
        """
        raise NotImplementedError
