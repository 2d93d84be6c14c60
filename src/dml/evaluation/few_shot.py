"""N-way K-shot episodes: new classes from a few images of each, by their prototypes."""

from dataclasses import dataclass

import numpy as np

from dml.evaluation._arrays import checked_embeddings, checked_labels, codes
from dml.evaluation._neighbours import TIE


@dataclass(frozen=True, eq=False)
class FewShot:
    """How often the nearest prototype is right.

    Args:
        accuracy: Mean over the episodes, in [0, 1].
        half_width: Of the 95 % interval of that mean over the episodes alone, as papers give it: of
            what other draws from the same images and classes would give. It narrows with
            `episodes`, and says nothing of other classes.
        episodes: Float64 (E,): accuracy of each.
    """

    accuracy: float
    half_width: float
    episodes: np.ndarray


def few_shot(embeddings, labels, ways=5, shots=1, queries=15, episodes=1000, seed=0):
    """Draws episodes and names each query by the most similar prototype (Snell et al., 2017).

    An episode draws `ways` classes and of each `shots` images, whose mean is its prototype, and
    `queries` others. By cosine similarity of embeddings of length 1; ties count as wrong.

    Args:
        embeddings: Numbers (N, D), of any length.
        labels: N labels of any hashable type, in any array-like.
        ways: Classes of an episode; at least 2. 5 and 20 are customary on Omniglot.
        shots: Images behind a prototype; positive. 1 and 5 are customary.
        queries: Images of each class to name; positive. Fewer where a class has no more.
        episodes: Positive.
        seed: Of the draws.

    Returns:
        A `FewShot`.

    Raises:
        ValueError: An array is of the wrong shape, a row is not finite, an option is out of its
            range, or fewer than `ways` classes have more than `shots` images.
    """
    vectors = checked_embeddings(embeddings, "embeddings")
    (classes,) = codes(checked_labels(labels, len(vectors), "labels"))
    if ways < 2 or min(shots, queries, episodes) < 1:
        raise ValueError(
            "ways must be at least 2, shots, queries and episodes positive; "
            f"got {ways}, {shots}, {queries}, {episodes}"
        )
    members = [np.flatnonzero(classes == code) for code in range(classes.max() + 1)]
    members = [rows for rows in members if len(rows) > shots]
    if len(members) < ways:
        raise ValueError(
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
