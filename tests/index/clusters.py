"""Unit vectors in clusters, as embeddings lie."""

import numpy as np


def clusters(count, dimension, seed=0, classes=40):
    """Returns float32 (count, dimension); the clusters are the same for every seed."""
    centres = np.random.default_rng(99).normal(size=(classes, dimension))
    rng = np.random.default_rng(seed)
    x = centres[rng.integers(classes, size=count)] + 0.7 * rng.normal(size=(count, dimension))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")
