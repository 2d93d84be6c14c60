"""Whether embeddings use the space that they have, from the embeddings alone."""

import numpy as np

from dml.evaluation._arrays import checked_embeddings, checked_labels, codes
from dml.evaluation._neighbours import BLOCK, nearest, without

PAIRS = 200_000  # drawn for uniformity
NEIGHBOURS = 10  # of which hubs have too many
DEFINITIONS = {
    "uniformity": "log of the mean of exp(-2 |x - y|^2) over random pairs; low is spread out, "
    "-4 for a uniform sphere of many dimensions, 0 for one point (Wang and Isola, ICML 2020)",
    "alignment": "mean |x - y|^2 over pairs of one class; 0 is one point per class",
    "effective rank": "exp of the entropy of the covariance's spectrum: dimensions in use",
    "anisotropy": "length of the mean embedding; 0 is in all directions alike, 1 in one",
    "hubness": "skewness of how often an image is among the 10 nearest of others; 0 is nobody's "
    "favourite, above 1 a few images come up everywhere (Radovanovic et al., JMLR 2010)",
    "compactness": "mean cosine of an image to its class's centre",
}


def embedding_statistics(embeddings, labels, seed=0):
    """Measures the shape of embeddings; each figure is defined in `DEFINITIONS`.

    Args:
        embeddings: Numbers (N, D), of any length.
        labels: N labels of any hashable type, in any array-like.
        seed: Of the random pairs.

    Returns:
        {name of the figure: float}. Alignment is nan without two images of a class.

    Raises:
        ValueError: An array is of the wrong shape, a row is not finite, or there is one row only.
    """
    vectors = checked_embeddings(embeddings, "embeddings")
    (classes,) = codes(checked_labels(labels, len(vectors), "labels"))
    count = len(vectors)
    if count < 2:
        raise ValueError("embeddings must have at least two rows")
    generator = np.random.default_rng(seed)
    first = generator.integers(0, count, PAIRS)
    second = (first + generator.integers(1, count, PAIRS)) % count
    apart = ((vectors[first] - vectors[second]).astype("float64") ** 2).sum(axis=1)
    sums = np.zeros((classes.max() + 1, vectors.shape[1]))
    np.add.at(sums, classes, vectors)
    sizes = np.bincount(classes).astype("float64")
    # Over all ordered pairs of a class, |x - y|^2 sums to 2 n sum |x|^2 - 2 |sum x|^2.
    squares = np.bincount(classes, (vectors.astype("float64") ** 2).sum(axis=1))
    within = (2 * sizes * squares - 2 * (sums**2).sum(axis=1)).sum()
    pairs = (sizes * (sizes - 1)).sum()
    centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return {
        "uniformity": float(np.log(np.exp(-2 * apart).mean())),
        "alignment": float(within / pairs) if pairs else float("nan"),
        "effective rank": effective_rank(vectors),
        "anisotropy": float(np.linalg.norm(vectors.mean(axis=0, dtype="float64"))),
        "hubness": hubness(vectors),
        "compactness": float((vectors * centres[classes]).sum(axis=1).mean()),
    }


def effective_rank(vectors):
    """Returns the exponential of the entropy of the covariance's eigenvalues; 1 for one point."""
    centred = vectors - vectors.mean(axis=0, dtype="float64")
    spectrum = np.maximum(np.linalg.eigvalsh(centred.T @ centred), 0)
    if spectrum.sum() < 1e-9 * len(vectors):
        return 1.0
    shares = spectrum[spectrum > 0] / spectrum.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def hubness(vectors):
    """Returns the skewness of how often each row is among the nearest of the others."""
    depth = min(NEIGHBOURS + 1, len(vectors))
    found = np.zeros(len(vectors), "int64")
    for start in range(0, len(vectors), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(vectors)))
        _, near = without(*nearest(vectors[rows], vectors, depth), rows)
        found += np.bincount(near.ravel(), minlength=len(vectors))
    spread = found.std()
    return float((((found - found.mean()) / spread) ** 3).mean()) if spread else 0.0
