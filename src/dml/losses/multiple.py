"""The weighted sum of several losses."""

import keras

from dml.losses._sum import SumOfLosses


@keras.saving.register_keras_serializable("dml")
class MultipleLosses(SumOfLosses):
    """Adds up losses of one embedding, each with a weight and, if it needs one, its own head.

    Args:
        losses: Parts of `dml.losses`, at least one. Losses that read an embedding's length before
            it is normalised can't be among them.
        weights: Weight of each; at least 0. 1 for all if None.

    Call arguments:
        labels: As each of the losses takes them.
        x: The output of the layer that `head` returns.

    Raises:
        OptionError: The numbers of losses and weights differ, or a weight is negative.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> parts = [dml.losses.Contrastive(), dml.losses.MultiSimilarity()]
        >>> loss = dml.losses.MultipleLosses(parts, weights=[1.0, 0.5])
        >>> head = loss.head(classes=None, embedding_dim=2)
        >>> round(float(loss(labels, head(x, labels))), 3)
        0.749
    """

    written = "MultipleLosses([{}])"

    def get_config(self):
        losses = [keras.saving.serialize_keras_object(loss) for loss in self.parts]
        return {"losses": losses, "weights": self.weights}

    @classmethod
    def from_config(cls, config):
        losses = [keras.saving.deserialize_keras_object(loss) for loss in config["losses"]]
        return cls(**{**config, "losses": losses})
