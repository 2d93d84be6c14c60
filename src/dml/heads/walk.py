"""Proxies reached by random walks over a graph of the batch and all proxies."""

import keras
from keras import ops

from dml.heads.proxies import ProxyHead


@keras.saving.register_keras_serializable("dml")
class WalkHead(ProxyHead):
    """Compares embeddings with proxies along the manifold that batch and proxies lie on.

    A walker starts at each proxy of a graph whose edges are the positive cosines S of all nodes,
    normalised by their degrees, and continues with probability alpha:

        F = (1 - alpha) (I - alpha D^-1/2 S D^-1/2)^-1

    Takes O((B + C)^3) time: for up to some thousand classes.

    Args:
        classes: C; positive.
        embedding_dim: D; positive.
        alpha: In [0, 1).
        context: Whether images and proxies are compared by the walks to each from all proxies.

    Call arguments:
        embeddings: Floats (B, D), of length 1.
        labels: Unused.
        training: Unused.

    Returns:
        Float32 (B, C), at least 0: F from each proxy to each image; or, with `context`, the inner
        products of an image's and a proxy's rows of F, each of the C columns of the proxies, where
        walks start.
    """

    def __init__(self, classes, embedding_dim, alpha, context=False, **layer_options):
        super().__init__(classes, embedding_dim, **layer_options)
        self.alpha = alpha
        self.context = context

    def call(self, embeddings, labels=None, training=False):
        """Returns the similarities, float32 (B, C), of float embeddings (B, D)."""
        nodes = ops.concatenate([embeddings, self.unit_proxies()[:, 0]])
        count = ops.shape(nodes)[0]
        itself = ops.eye(count, dtype="bool")
        similarities = ops.matmul(nodes, ops.transpose(nodes))
        edges = ops.where(itself, 0.0, ops.relu(similarities))
        degrees = ops.sum(edges, axis=1)
        there = degrees > 1e-6
        inverse = ops.where(there, ops.rsqrt(ops.where(there, degrees, 1.0)), 0.0)
        graph = inverse[:, None] * edges * inverse[None, :]
        unit = ops.eye(count, dtype="float32")
        starts = unit[:, -self.classes :]
        reached = (1.0 - self.alpha) * ops.linalg.solve(unit - self.alpha * graph, starts)
        images, proxies = reached[: -self.classes], reached[-self.classes :]
        if self.context:
            images = ops.matmul(images, ops.transpose(proxies))
        return ops.reshape(images, (-1, self.classes))  # solving forgets the width

    def get_config(self):
        config = {**super().get_config(), "alpha": self.alpha, "context": self.context}
        for fixed in ("proxies_per_class", "initial_length"):
            config.pop(fixed)
        return config
