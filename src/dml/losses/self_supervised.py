"""Two views of each image as its class."""

import keras
from keras import ops

from dml.errors import OptionError
from dml.losses._wrapper import NO_CLASSES, Wrapper, check_order
from dml.losses.base import MetricLoss


@keras.saving.register_keras_serializable("dml")
class SelfSupervised(Wrapper):
    """Trains a pair loss without labels: two views of an image are its only positive pair.

    The learner applies its augmentation twice to every image, so it needs a random one. In
    evaluation both views are the same.

    Args:
        loss: A loss of embeddings, such as `NTXent`, `VICReg` or `BarlowTwins`.

    Call arguments:
        labels: Ignored.
        embeddings: Floats (2 N, D): row i + N is the other view of row i.

    Raises:
        OptionError: The loss has proxies or another head, which requires classes.

    Example:
        >>> dml.losses.SelfSupervised(dml.losses.NTXent()).views  # of each image in a batch
        2
    """

    written = "SelfSupervised({})"

    def __init__(self, loss: MetricLoss):
        check_order(loss, "SelfSupervised(loss)", ("Matryoshka", "MultipleLosses"))
        name = type(loss).__name__
        if isinstance(loss, SelfSupervised):
            raise OptionError("loss", "SelfSupervised has two views already: leave one out")
        if name == "CrossBatchMemory":
            raise OptionError("loss", f"{name} {NO_CLASSES}")
        if loss.needs_head():
            raise OptionError("loss", f"{name} needs classes: without labels there are none")
        super().__init__(loss)
        self.views = 2

    def batch_loss(self, labels, embeddings):
        return self.loss.batch_loss(_image_of_each(embeddings), embeddings)

    def active_share(self, labels, embeddings):
        return self.loss.active_share(_image_of_each(embeddings), embeddings)


def _image_of_each(embeddings):
    """Returns the image (2 N,) of each of the views (2 N, D)."""
    images = ops.arange(ops.shape(embeddings)[0] // 2, dtype="int32")
    return ops.concatenate([images, images])
