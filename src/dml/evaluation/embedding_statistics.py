"""Statistics of the shape of embeddings: spread, dimensions in use, hubness."""

import numpy as np
from numpy.typing import ArrayLike

from dml._arrays import Labels
from dml._options import check_integer
from dml.errors import ArrayError
from dml.evaluation._arrays import checked_embeddings, checked_labels, codes
from dml.evaluation._neighbours import nearest_others

_PAIRS = 200_000  # random pairs for uniformity
_NEIGHBOURS = 10  # of the hubness, as in Radovanovic et al.


def embedding_statistics(embeddings: ArrayLike, labels: Labels, seed: int = 0) -> dict[str, float]:
    """Measures the shape of embeddings: spread, dimensions in use, hubness.

    Args:
        embeddings: Numbers (N, D), of any length.
        labels: N labels of any hashable type, in any array-like.
        seed: Seed of the random pairs; at least 0.

    Returns:
        {name of the statistic: value}:
            uniformity: log of the mean of exp(-2 |x - y|^2) over random pairs; low is spread out,
                -4 for a uniform sphere of many dimensions, 0 for one point (Wang and Isola, ICML
                2020).
            alignment: mean |x - y|^2 over pairs of one class; 0 for one point per class, nan where
                no class has two images (Wang and Isola, ICML 2020).
            effective rank: exp of the entropy of the covariance's spectrum: number of dimensions
                in use (Roy and Vetterli, EUSIPCO 2007).
            anisotropy: length of the mean embedding; 0 in all directions alike, 1 in one direction.
            hubness: skewness of how often an image is among the 10 nearest of others; about 0
                without hubs, above 1 where a few images are near many (Radovanovic et al., JMLR
                2010).
            compactness: mean cosine similarity of an image to the centre of its class.

    Raises:
        ArrayError: An array is of the wrong shape, a row is not finite, or there is one row only.
        OptionError: `seed` is negative.

    Example:
        >>> found = embedding_statistics([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], ["a", "b", "a"])
        >>> found["alignment"]
        4.0
    """
    vectors = checked_embeddings(embeddings, "embeddings")
    (classes,) = codes(checked_labels(labels, len(vectors), "labels"))
    count = len(vectors)
    if count < 2:
        raise ArrayError("embeddings must have at least two rows")
    check_integer(0, seed=seed)
    generator = np.random.default_rng(seed)
    first = generator.integers(0, count, _PAIRS)
    second = (first + generator.integers(1, count, _PAIRS)) % count
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
        "effective rank": _effective_rank(vectors),
        "anisotropy": float(np.linalg.norm(vectors.mean(axis=0, dtype="float64"))),
        "hubness": _hubness(vectors),
        "compactness": float((vectors * centres[classes]).sum(axis=1).mean()),
    }


def _effective_rank(vectors):
    """Returns the exponential of the entropy of the covariance's eigenvalues; 1 for one point."""
    centred = vectors - vectors.mean(axis=0, dtype="float64")
    spectrum = np.maximum(np.linalg.eigvalsh(centred.T @ centred), 0)
    if spectrum.sum() < 1e-9 * len(vectors):
        return 1.0
    shares = spectrum[spectrum > 0] / spectrum.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _hubness(vectors):
    """Returns the skewness of how often each row is among the nearest of the others."""
    _, near = nearest_others(vectors, min(_NEIGHBOURS, len(vectors) - 1))
    occurrences = np.bincount(near.ravel(), minlength=len(vectors))
    spread = occurrences.std()
    return float((((occurrences - occurrences.mean()) / spread) ** 3).mean()) if spread else 0.0
