"""N-way K-shot episodes: classification into new classes by prototypes of a few images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dml._arrays import Labels
from dml._options import check_integer
from dml.errors import ArrayError
from dml.evaluation._arrays import checked_embeddings, checked_labels, codes
from dml.evaluation._neighbours import TIE


@dataclass(frozen=True, eq=False)
class FewShot:
    """Accuracy of the nearest prototype over episodes.

    Args:
        accuracy: Mean over the episodes, in [0, 1].
        half_width: Half width of the 95 % interval of that mean over the episodes, as papers
            report it: the variation over other draws from the same images and classes. It narrows
            with the number of episodes, and does not cover other classes.
        episodes: Float64 (E,): accuracy of each episode.
    """

    accuracy: float
    half_width: float
    episodes: np.ndarray


def few_shot(
    embeddings: ArrayLike,
    labels: Labels,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    episodes: int = 1000,
    seed: int = 0,
) -> FewShot:
    """Classifies queries of random episodes by the nearest prototype (Snell et al., NIPS 2017).

    An episode draws `ways` classes and, of each, `shots` images whose mean is the prototype, and
    `queries` others. Prototypes are compared by cosine similarity; ties count as wrong.

    Args:
        embeddings: Numbers (N, D), of any length.
        labels: N labels of any hashable type, in any array-like.
        ways: Classes of an episode; at least 2. 5 and 20 are customary on Omniglot.
        shots: Images behind a prototype; positive. 1 and 5 are customary.
        queries: Images of each class to classify; positive. 15 is customary; fewer if a class has
            no more.
        episodes: Number of episodes; positive. 1000 are customary.
        seed: Seed of the draws; at least 0.

    Returns:
        A `FewShot`.

    Raises:
        ArrayError: An array is of the wrong shape, a row is not finite, or fewer than `ways`
            classes have more than `shots` images.
        OptionError: An option is out of its range.

    Example:
        >>> x = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
        >>> few_shot(x, ["cat", "cat", "dog", "dog"], ways=2, episodes=10).accuracy
        1.0
    """
    vectors = checked_embeddings(embeddings, "embeddings")
    (classes,) = codes(checked_labels(labels, len(vectors), "labels"))
    check_integer(2, ways=ways)
    check_integer(1, shots=shots, queries=queries, episodes=episodes)
    check_integer(0, seed=seed)
    by_class = np.split(np.argsort(classes, kind="stable"), np.cumsum(np.bincount(classes))[:-1])
    members = [rows for rows in by_class if len(rows) > shots]
    if len(members) < ways:
        raise ArrayError(
            f"an episode of {ways} classes and {shots} shots needs as many with more than {shots} "
            f"images; {len(members)} have"
        )
    generator = np.random.default_rng(seed)
    accuracies = np.empty(episodes)
    for episode in range(episodes):
        drawn = [
            generator.permutation(members[c])
            for c in generator.choice(len(members), ways, replace=False)
        ]
        prototypes = np.stack([vectors[rows[:shots]].mean(axis=0) for rows in drawn])
        lengths = np.linalg.norm(prototypes, axis=1, keepdims=True)
        prototypes /= np.where(lengths > 0, lengths, 1)
        rows = [r[shots : shots + queries] for r in drawn]
        own = np.repeat(np.arange(ways), [len(r) for r in rows])
        similarities = vectors[np.concatenate(rows)] @ prototypes.T
        place = np.arange(len(own))
        mine = similarities[place, own].copy()
        similarities[place, own] = -np.inf
        accuracies[episode] = (mine > similarities.max(axis=1) + TIE).mean()
    spread = accuracies.std(ddof=1) if episodes > 1 else 0.0
    return FewShot(float(accuracies.mean()), float(1.96 * spread / episodes**0.5), accuracies)
