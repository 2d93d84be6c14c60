"""Batches of classes that are near each other."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from dml.errors import ArrayError
from dml.samplers.base import SAMPLERS
from dml.samplers.m_per_class import MPerClass

_SEEDS = 64  # compared with all other classes at once; limits the memory, not the result


@SAMPLERS.register("hard_class")
@dataclass(frozen=True)
class HardClass(MPerClass):
    """Fills each batch with a random class and the classes nearest to it.

    The more classes there are, the fewer hard negatives a batch of random classes contains; here,
    classes that the model confuses share a batch. For pair losses on thousands of classes.
    Mislabelled and duplicate classes are preferred, so start from a model trained with
    `m_per_class`.

    The class vectors of `dml train` are the proxies or, without them, the means of the training
    images' embeddings, which take a pass over these images before each epoch except the first.

    A round draws an unvisited class, adds the P - 1 unvisited classes that are most similar to it
    (by cosine), and repeats this until none is left, so that every class is visited, as with
    `m_per_class`. The last batch of a round is filled up from its first one and, if small classes
    leave room, with images of the next batch's classes. Without class vectors, as in the first
    epoch, the batches are those of `m_per_class`.

    Args:
        classes_per_batch: P. Positive; 16, with 4 images of each, as with `m_per_class`.
        images_per_class: K. Positive; pair losses need at least 2.
        small_classes: How to sample classes with fewer than K images: `once`, `repeat_augmented`
            or `skip`, as with `m_per_class`.
        steps: Batches in an epoch. 0 uses as many as the images of the data set fill, and at least
            enough to visit every class.

    Raises:
        OptionError: An option is out of its range, or the classes can't fill such batches.
        ArrayError: `class_vectors` does not have one finite vector for each class.

    Example:
        >>> labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 3])
        >>> positions = [[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 0.9]]  # of the four classes
        >>> sampler = dml.samplers.HardClass(classes_per_batch=2, images_per_class=2)
        >>> batches = sampler.batches(labels, epoch=0, seed=0, class_vectors=positions)
        >>> sorted({tuple(sorted(set(labels[rows].tolist()))) for rows in batches})
        [(0, 2), (1, 3)]

    References:
        - [Sohn, NIPS 2016](https://papers.nips.cc/paper/6200-improved-deep-metric-learning-with-multi-class-n-pair-loss-objective)
    """

    wants: ClassVar[tuple[str, ...]] = ("class_vectors",)

    def batches(
        self, labels: ArrayLike, epoch: int, seed: int, class_vectors: ArrayLike | None = None
    ) -> np.ndarray:
        """Returns the rows of a whole epoch.

        Args:
            labels: As in every sampler.
            epoch: As in every sampler.
            seed: As in every sampler.
            class_vectors: Floats (C, D), of any length: proxies or centres of the C different
                labels, in their order. None for random classes.
        """
        if class_vectors is None:
            return super().batches(labels, epoch, seed)
        vectors = _unit_vectors(class_vectors, classes=len(np.unique(labels)))

        def orders(kept, rounds, generator):
            near, size = vectors[kept], self.classes_per_batch
            return np.stack([_near_order(near, size, generator) for _ in range(rounds)])

        return self._batches_in_orders(labels, epoch, seed, orders)


def _unit_vectors(class_vectors, classes):
    """Returns float32 (C, D) of unit length; a zero vector stays zero.

    Raises:
        ArrayError: There are not `classes` rows, or a number is not finite.
    """
    vectors = np.asarray(class_vectors, "float32")
    if vectors.ndim != 2 or len(vectors) != classes:
        raise ArrayError(
            f"class_vectors must have one row for each of the {classes} training classes; "
            f"got the shape {vectors.shape}"
        )
    if not np.isfinite(vectors).all():
        row = int(np.argmin(np.isfinite(vectors).all(axis=1)))
        raise ArrayError(f"class_vectors must be finite; row {row} is not")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def _near_order(vectors: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """Returns all classes (C,), in groups of `size`: a random one and its nearest of the rest.

    Args:
        vectors: Float32 (C, D), of unit length.
        size: Classes of a batch; the last may have fewer. Positive.
        generator: Draws the random classes.
    """
    left = generator.permutation(len(vectors))
    order = []
    while len(left):
        seeds = min(_SEEDS, len(left))
        # Enough for each seed to find its nearest, whatever earlier seeds take.
        depth = min(seeds * size, len(left))
        others = vectors[left]
        similarity = others[:seeds] @ others.T
        nearest = np.argpartition(-similarity, depth - 1, axis=1)[:, :depth]
        ranked = np.argsort(-np.take_along_axis(similarity, nearest, axis=1), axis=1, kind="stable")
        nearest = np.take_along_axis(nearest, ranked, axis=1)
        taken = np.zeros(len(left), bool)
        for seed in range(seeds):
            if taken[seed]:
                continue
            taken[seed] = True
            free = nearest[seed][~taken[nearest[seed]]][: size - 1]
            taken[free] = True
            order.append(left[np.append(seed, free)])
        left = left[~taken]
    return np.concatenate(order)
