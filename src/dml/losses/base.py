"""What every loss shares: its registry, its number type and how it is saved."""

import dataclasses
from typing import ClassVar

import keras
from keras import ops

from dml.registry import Registry

LOSSES = Registry("loss")


class MetricLoss(keras.losses.Loss):
    """A loss of one batch, from integer labels and one float matrix.

    A loss holds options and no variables: Keras trains only what a layer owns. What must be
    learned (proxies) lives in `dml.heads`; the learner reads `proxies_per_class` to know whether
    to add that head, and so whether `x` below is embeddings or cosines.

    Subclasses are dataclasses whose fields are the options, and implement `batch_loss`.
    """

    # 0: x is embeddings (B, D); 1: cosines (B, classes); K > 1: cosines (B, classes, K).
    proxies_per_class: ClassVar[int] = 0
    # Length of a proxy before training; only its direction acts, but a short one turns faster.
    # None: a deviation of sqrt(2 / proxies), as in the code of Proxy Anchor.
    initial_proxy_length: ClassVar[float | None] = None

    def __post_init__(self):
        # Keras casts labels to this type: in bfloat16, 256 and 257 are the same label.
        super().__init__(dtype="float32")

    def call(self, labels, x):
        loss = self.batch_loss(ops.cast(ops.reshape(labels, (-1,)), "int32"), x)
        # As an array: Keras does not divide a scalar by the number of replicas.
        return ops.reshape(loss, (1,))

    def batch_loss(self, labels, x):
        """Returns the scalar loss of int32 labels (B,) and float32 x."""
        raise NotImplementedError

    def proxy_penalty(self, proxies):
        """Returns what is added for the proxies (classes, K, D) of length 1, or None."""
        return None

    def active_share(self, labels, x):
        """Returns the share, in [0, 1], of the batch's pairs or triplets that pull or push.

        Only losses that leave pairs out have one.
        """
        raise NotImplementedError

    def get_config(self):
        return dataclasses.asdict(self)
