"""The base class of miners, and their registry."""

from typing import Any, ClassVar

from dml._registry import Registry
from dml.ops import pair_masks

MINERS = Registry("miner")


class Miner:
    """Selects the pairs of a batch that a loss uses.

    Subclasses are frozen dataclasses whose fields are the options, and implement `mine`. A miner
    that needs to know the length of an embedding lists `dim` in `wants`, and `mine` takes it as a
    keyword; `dml.losses.Mined` passes it on.
    """

    wants: ClassVar[tuple[str, ...]] = ()

    def __call__(self, labels, similarities, **known: Any):
        """Returns the masks (B, B) of the positive and the negative pairs that are kept.

        Args:
            labels: Integers (B,), or a relation (B, B): see `dml.ops.pair_masks`. A sample is never
                its own positive: self-pairs are excluded by index, so exact duplicates stay.
            similarities: Floats (B, B), cosines; row i belongs to anchor i. No gradient passes.
            known: What `wants` lists, by name.
        """
        return self.mine(similarities, *pair_masks(labels), **known)

    def mine(self, similarities, positive, negative):
        """Returns the two masks (B, R), each with fewer pairs or smaller weights.

        Args:
            similarities: Floats (B, R) of anchors and references.
            positive: Mask (B, R) of positive pairs, boolean or weights.
            negative: Mask (B, R) of negative pairs.
        """
        raise NotImplementedError
