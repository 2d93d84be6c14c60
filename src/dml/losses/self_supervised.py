"""Two views of each image as its class."""

from typing import ClassVar

import keras
from keras import ops

from dml.losses.base import MetricLoss


@keras.saving.register_keras_serializable("dml")
class SelfSupervised(MetricLoss):
    """Trains a pair loss without labels: two views of an image are its only positive pair.

    The learner applies its augmentation twice to every image, and so needs one that differs from
    call to call. In evaluation both views are the same.

    Args:
        loss: A loss of embeddings, such as `NTXent`, `VICReg` or `BarlowTwins`.

    Call arguments:
        labels: Not looked at.
        embeddings: Floats (2 N, D): row i + N is the other view of row i.

    Raises:
        ValueError: The loss has proxies or another head, which need classes.
    """

    views: ClassVar[int] = 2

    def __init__(self, loss):
        if loss.proxies_per_class or type(loss).head is not MetricLoss.head:
            raise ValueError(
                f"without labels there are no classes, which {type(loss).__name__} needs"
            )
        self.__post_init__()
        self.loss = loss

    def batch_loss(self, labels, embeddings):
        images = ops.arange(ops.shape(embeddings)[0] // 2, dtype="int32")
        images = ops.concatenate([images, images])
        return self.loss.batch_loss(images, embeddings)

    def get_config(self):
        return {"loss": keras.saving.serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["loss"]))
