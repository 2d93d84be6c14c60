"""Proxies: learned vectors that stand for the classes."""

import keras
from keras import ops

from dml._devices import by_class, for_all_classes
from dml._options import check_integer, check_positive
from dml.heads.base import Head
from dml.ops import cosines_to, unit_length


@keras.saving.register_keras_serializable("dml")
class ProxyHead(Head):
    """Compares embeddings with the learned proxies of each class.

    Args:
        classes: C; positive.
        embedding_dim: D, the length of an embedding; positive.
        proxies_per_class: K; positive.
        initial_length: Expected length of a proxy before training; positive. None gives its
            entries a deviation of sqrt(2 / (C K)), as in the code of Proxy Anchor. Only a
            proxy's direction acts, but a longer one turns more slowly.

    Call arguments:
        embeddings: Floats (B, D), of length 1.
        labels: Unused by proxies; other heads need them.
        training: Unused.

    Returns:
        Cosines, float32 (B, C), or (B, C, K) if K is greater than 1.

    Raises:
        OptionError: A count or the length is not positive.

    Example:
        >>> head = dml.heads.ProxyHead(classes=10, embedding_dim=4)
        >>> keras.ops.shape(head(np.eye(4, dtype="float32")))
        (4, 10)
    """

    def __init__(
        self, classes, embedding_dim, proxies_per_class=1, initial_length=None, **layer_options
    ):
        super().__init__(**layer_options)
        self.classes = classes
        self.embedding_dim = embedding_dim
        self.proxies_per_class = proxies_per_class
        self.initial_length = initial_length
        check_integer(
            1,
            classes=self.classes,
            embedding_dim=self.embedding_dim,
            proxies_per_class=self.proxies_per_class,
        )
        if initial_length is not None:
            check_positive(initial_length=initial_length)

    def initial_deviation(self):
        """Returns the standard deviation of a proxy's entries before training."""
        if self.initial_length is None:
            return (2.0 / (self.classes * self.proxies_per_class)) ** 0.5
        return self.initial_length / self.embedding_dim**0.5

    def build(self, input_shape):
        self.proxies = self.add_weight(
            name="proxies",
            shape=(self.classes, self.proxies_per_class, self.embedding_dim),
            initializer=keras.initializers.RandomNormal(stddev=self.initial_deviation()),
        )
        super().build(input_shape)

    def all_proxies(self):
        """Returns the variable with the proxies (C, K, D) of all classes."""
        return self.proxies

    def unit_proxies(self):
        """Returns the proxies (C, K, D) that a step compares with, each of length 1."""
        return unit_length(ops.convert_to_tensor(self.proxies))

    def call(self, embeddings, labels=None, training=False):
        """Returns the cosines, float32 (B, C) or (B, C, K), of float embeddings (B, D)."""
        return self.cosines(embeddings, self.proxies)

    def cosines(self, embeddings, proxies):
        """Returns the cosines (B, C) or (B, C, K) of embeddings (B, D) to proxies (C, K, D)."""
        rows = ops.reshape(by_class(ops.convert_to_tensor(proxies)), (-1, self.embedding_dim))
        embeddings = for_all_classes(ops.convert_to_tensor(embeddings))
        cosines = by_class(cosines_to(embeddings, rows), axis=1)  # (B, C K)
        if self.proxies_per_class == 1:
            return cosines
        return ops.reshape(cosines, (-1, proxies.shape[0], self.proxies_per_class))

    def get_config(self):
        return {
            **super().get_config(),
            "classes": self.classes,
            "embedding_dim": self.embedding_dim,
            "proxies_per_class": self.proxies_per_class,
            "initial_length": self.initial_length,
        }
