"""Batches of classes that are near one another (in the manner of N-pair loss, Sohn, NIPS 2016)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dml.samplers.base import SAMPLERS
from dml.samplers.m_per_class import MPerClass

SEEDS = 64  # compared with all other classes at once; bounds the memory, not the result


@SAMPLERS.register("hard_class")
@dataclass(frozen=True)
class HardClass(MPerClass):
    """Fills each batch with a random class and those that are nearest to it.

    A batch of random classes holds ever fewer hard negatives the more classes there are; here the
    classes that the model confuses meet. For pair losses on thousands of classes; with mislabelled
    or duplicate classes it seeks these out, so start from a model that `m_per_class` trained.

    Where classes are: `dml train` takes the proxies, or without them the means of the training
    images' embeddings, which costs a pass over all of these before each epoch but the first.

    A round of the epoch draws a class of those that it has not visited, puts the P - 1 most similar
    ones (by cosine) of the others beside it, and goes on until none is left; so every class is
    visited, as with `m_per_class`. The last batch of a round is filled from its first, and where
    small classes leave room, images of the next batch's classes fill it. Without class vectors,
    as in the first epoch, the batches are those of `m_per_class`.

    Args:
        classes_per_batch: P. Positive.
        images_per_class: K. Positive; pair losses need at least 2.
        small_classes: What a class with fewer than K images does: `once`, `repeat_augmented` or
            `skip`, as with `m_per_class`.
        steps: Batches in an epoch. 0 takes as many as hold as many images as the data set, and
            never fewer than visit every class.

    Raises:
        ValueError: An option is out of its range, the classes can't fill such batches, or the
            class vectors are not one finite vector for each class.
    """

    wants: ClassVar[tuple[str, ...]] = ("class_vectors",)

    def batches(self, labels, epoch, seed, class_vectors=None):
        """Returns the rows of a whole epoch.

        Args:
            labels: As of every sampler.
            epoch: As of every sampler.
            seed: As of every sampler.
            class_vectors: Floats (C, D), of any length: proxies or centres of the C different
                labels, in their order. None for random classes.
        """
        if class_vectors is None:
            return super().batches(labels, epoch, seed)
        vectors = unit_vectors(class_vectors, classes=len(np.unique(labels)))

        def orders(kept, rounds, generator):
            near, size = vectors[kept], self.classes_per_batch
            return np.stack([near_order(near, size, generator) for _ in range(rounds)])

        return self.batches_in_orders(labels, epoch, seed, orders)


def unit_vectors(class_vectors, classes):
    """Returns float32 (C, D) of length 1; a zero vector stays as it is.

    Raises:
        ValueError: There are not `classes` rows, or a number is not finite.
    """
    vectors = np.asarray(class_vectors, "float32")
    if vectors.ndim != 2 or len(vectors) != classes:
        raise ValueError(
            f"class_vectors must have one row for each of the {classes} training classes; "
            f"got the shape {vectors.shape}"
        )
    if not np.isfinite(vectors).all():
        row = int(np.argmin(np.isfinite(vectors).all(axis=1)))
        raise ValueError(f"class_vectors must be finite; row {row} is not")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def near_order(vectors, size, generator):
    """Returns all classes (C,): each `size` of them are a random one and its nearest of the rest.

    Args:
        vectors: Float32 (C, D), of length 1.
        size: Classes that belong together; the last may be fewer. Positive.
        generator: Of the random classes.
    """
    left = generator.permutation(len(vectors))
    order = []
    while len(left):
        seeds = min(SEEDS, len(left))
        # So many that, whatever the seeds before it take, each finds its nearest among them.
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
