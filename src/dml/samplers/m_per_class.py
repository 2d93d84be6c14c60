"""Batches of P classes with K images each."""

from dataclasses import dataclass

import numpy as np

from dml.samplers.base import SAMPLERS, Sampler, epoch_generator

SMALL_CLASSES = ("once", "repeat_augmented", "skip")


@SAMPLERS.register("m_per_class")
@dataclass(frozen=True)
class MPerClass(Sampler):
    """Fills each batch with the same number of images of each of some classes.

    So every image has positives in its batch, which pair losses live on. An epoch goes through
    the classes in random rounds and visits each at least once, all about equally often. Each
    class deals its images from a shuffled deck of its own, K at a time; where the deck stands is
    a function of epoch and seed, so over epochs every image is dealt, and resuming needs no state.

    Args:
        classes_per_batch: P. Positive.
        images_per_class: K. Positive; pair losses need at least 2.
        small_classes: What a class with fewer than K images does. `once`: gives each image once,
            and images of further classes fill the batch. `repeat_augmented`: repeats its images,
            each copy with its own augmentation; a class with one image is then its own positive.
            `skip`: is left out.
        steps: Batches in an epoch. 0 takes as many as hold as many images as the data set, and
            never fewer than visit every class.

    Raises:
        ValueError: An option is out of its range, or the classes can't fill such batches.
    """

    classes_per_batch: int = 16
    images_per_class: int = 4
    small_classes: str = "once"
    steps: int = 0

    def __post_init__(self):
        if self.classes_per_batch < 1 or self.images_per_class < 1:
            raise ValueError(
                "classes_per_batch and images_per_class must be positive; "
                f"got {self.classes_per_batch} and {self.images_per_class}"
            )
        if self.small_classes not in SMALL_CLASSES:
            raise ValueError(
                f"small_classes must be one of {', '.join(SMALL_CLASSES)}; "
                f"got {self.small_classes!r}"
            )
        if self.steps < 0:
            raise ValueError(f"steps must be at least 0; got {self.steps}")

    @property
    def batch_size(self):
        return self.classes_per_batch * self.images_per_class

    def batches(self, labels, epoch, seed):
        rows, starts, counts = rows_by_class(labels)
        if self.small_classes == "skip":
            large = counts >= self.images_per_class
            starts, counts = starts[large], counts[large]
        # Images that one visit of a class adds to the batch.
        given = np.full_like(counts, self.images_per_class)
        if self.small_classes == "once":
            given = np.minimum(counts, given)
        self.check_enough(given)
        round_steps = -(-len(counts) // self.classes_per_batch)  # a round: each class at least once
        steps = self.steps or max(round_steps, int(counts.sum()) // self.batch_size)
        if steps < round_steps:
            raise ValueError(
                f"sampler.steps is {steps}, but {round_steps} are needed to visit each of the "
                f"{len(counts)} classes; raise it, or set 0"
            )
        visited, taken = self.classes_of_batches(given, steps, round_steps, epoch, seed)
        # Visits before this epoch, without those that fill up: the same for all classes, so that
        # the place in the deck needs no memory. Consecutive epochs leave no gap.
        first = epoch * (steps // round_steps)
        visits = first + visit_numbers(visited, taken, self.classes_per_batch)
        classes = visited[taken]
        images = self.deal(rows, starts[classes], counts[classes], classes, visits[taken], seed)
        there = np.arange(self.images_per_class) < given[classes][:, None]
        step = np.broadcast_to(np.nonzero(taken)[0][:, None], there.shape)[there]
        place = np.arange(len(step)) - np.searchsorted(step, np.arange(steps))[step]
        return images[there][place < self.batch_size].reshape(steps, self.batch_size)

    def check_enough(self, given):
        """Raises ValueError unless the classes can fill a batch without repeating an image."""
        wanted, least = self.classes_per_batch, self.images_per_class
        if len(given) < wanted:
            which = f" with at least {least} images" if self.small_classes == "skip" else ""
            raise ValueError(
                f"sampler.classes_per_batch is {wanted}, but only {len(given)} training "
                f"classes{which} are there; lower it"
            )
        if given.sum() < self.batch_size:
            raise ValueError(
                f"a batch of {self.batch_size} images can't be filled: with at most {least} of "
                f"each class there are {given.sum()}; lower sampler.classes_per_batch or "
                "sampler.images_per_class"
            )

    def classes_of_batches(self, given, steps, round_steps, epoch, seed):
        """Returns the classes (steps, W) that each batch may visit, and which it takes.

        It takes the first P, and where they give too few images, those that follow.
        """
        classes, rounds = len(given), -(-steps // round_steps)
        order = np.tile(np.arange(classes), (rounds, 1))
        order = epoch_generator(seed, epoch).permuted(order, axis=1)
        short = bool((given < self.images_per_class).any())
        width = min(classes, self.batch_size) if short else self.classes_per_batch
        step = np.arange(steps)[:, None]
        # The last batch of a round is filled from the round's beginning.
        column = (step % round_steps) * self.classes_per_batch + np.arange(width)
        visited = order[step // round_steps, column % classes]
        before = np.cumsum(given[visited], axis=1) - given[visited]
        return visited, before < self.batch_size

    def deal(self, rows, starts, counts, classes, visits, seed):
        """Returns the rows (V, K) that V visits of classes deal from their decks.

        A deck is dealt in ceil(n / K) hands; the last is filled from the same deck's beginning, so
        no hand holds an image twice unless the class has fewer than K. Then it is shuffled anew.
        """
        size = self.images_per_class
        deck, hand = np.divmod(visits, -(-counts // size))
        _, first, which = np.unique(
            classes * (deck.max() + 1) + deck, return_index=True, return_inverse=True
        )
        lengths = counts[first]
        offsets = np.cumsum(lengths) - lengths
        of = np.repeat(np.arange(len(first)), lengths)  # the deck of each card
        cards = rows[starts[first][of] + np.arange(len(of)) - offsets[of]]
        # Decks stay apart in the high bits; 40 random bits order the cards of one.
        keys = scrambled(cards, deck[first][of], seed) >> np.uint64(24)
        cards = cards[np.argsort((of.astype(np.uint64) << np.uint64(40)) | keys, kind="stable")]
        place = (hand[:, None] * size + np.arange(size)) % counts[:, None]
        return cards[offsets[which][:, None] + place]


def rows_by_class(labels):
    """Returns the rows sorted by class, and each class's first place and number in them."""
    labels = np.asarray(labels)
    rows = np.argsort(labels, kind="stable").astype(np.int64)
    _, starts, counts = np.unique(labels[rows], return_index=True, return_counts=True)
    return rows, starts, counts


def visit_numbers(visited, taken, planned):
    """Returns how often each class was visited before each visit; the planned ones come first.

    The images of visits that only fill a batch may be cut off, so these must not use up a number.
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
