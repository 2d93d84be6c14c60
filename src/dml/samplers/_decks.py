"""Shuffled decks from which the images of classes are dealt, without state between epochs."""

import numpy as np
from numpy.typing import ArrayLike

SMALL_CLASSES = ("once", "repeat_augmented", "skip")  # of fewer images than a visit takes


def rows_by_class(labels: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the rows sorted by class, and the first position and the count of each class."""
    classes = np.asarray(labels)
    rows = np.argsort(classes, kind="stable").astype(np.int64)
    _, starts, counts = np.unique(classes[rows], return_index=True, return_counts=True)
    return rows, starts, counts


def visit_numbers(visited, taken, planned):
    """Returns how often each class was visited before each visit; the planned ones come first.

    Images of visits that only fill up a batch may be cut off, so these must not use a number.
    """
    extra = taken.copy()
    extra[:, :planned] = False
    sequence = np.concatenate([visited[:, :planned].ravel(), visited[extra]])
    rows, starts, counts = rows_by_class(sequence)
    numbers = np.empty(len(sequence), np.int64)
    numbers[rows] = np.arange(len(sequence)) - np.repeat(starts, counts)
    result = np.zeros(visited.shape, np.int64)
    result[:, :planned] = numbers[: len(visited) * planned].reshape(-1, planned)
    result[extra] = numbers[len(visited) * planned :]
    return result


def deal(rows, starts, counts, classes, visits, size, seed):
    """Returns the rows (V, K) that V visits of classes deal from their decks.

    A deck is dealt in ceil(n / K) hands; the last is filled from the same deck's beginning, so
    no hand holds an image twice unless the class has fewer than K. Then it is reshuffled.
    """
    deck, hand = np.divmod(visits, -(-counts // size))
    _, first, which = np.unique(
        classes * (deck.max() + 1) + deck, return_index=True, return_inverse=True
    )
    lengths = counts[first]
    offsets = np.cumsum(lengths) - lengths
    of = np.repeat(np.arange(len(first)), lengths)  # the deck of each card
    cards = rows[starts[first][of] + np.arange(len(of)) - offsets[of]]
    # The high bits separate decks; 40 random bits order the cards of each.
    keys = scrambled(cards, deck[first][of], seed) >> np.uint64(24)
    cards = cards[np.argsort((of.astype(np.uint64) << np.uint64(40)) | keys, kind="stable")]
    place = (hand[:, None] * size + np.arange(size)) % counts[:, None]
    return cards[offsets[which][:, None] + place]


def scrambled(cards, deck, seed):
    """Returns a random uint64 for each card, a function of card, deck and seed alone."""
    seed = np.array([seed % 2**64], np.uint64)
    deck_key = mixed(deck.astype(np.uint64) + mixed(seed))
    return mixed(cards.astype(np.uint64) + deck_key)


def mixed(x):
    """Returns each uint64 with its bits mixed by a bijection (splitmix64, Steele et al., 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
