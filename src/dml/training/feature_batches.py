"""Training batches from cached features."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from dml.errors import ArrayError
from dml.samplers import Sampler
from dml.samplers.base import Samples
from dml.training._reader import BatchReader
from dml.training.feature_cache import FeatureCache
from dml.training.loader import TrainingBatches


def feature_batches(
    cache: FeatureCache,
    items: Samples,
    sampler: Sampler,
    first_epoch: int = 0,
    seed: int = 0,
    class_vectors: ArrayLike | None = None,
    samples: bool = False,
    targets: Callable[[np.ndarray], np.ndarray] | None = None,
    plain: bool = False,
) -> TrainingBatches:
    """Returns endless batches of cached features, for a learner of `dml.encoding.head_of(encoder)`.

    The rows are the sampler's; the view of each is a function of (seed, epoch, step, place), and
    copies of an image in a batch are different views of it while there are enough. Batches may be
    as large as the set.

    Args:
        cache: The features of the items, in their order.
        items: The training images, such as `dml.datasets.Items`.
        sampler: A part of `dml.samplers`.
        first_epoch: Epoch of the first batch, from 0.
        seed: At least 0.
        class_vectors: As in `training_batches`.
        samples: As in `training_batches`.
        targets: As in `training_batches`: what takes the place of class codes.
        plain: Whether the plain image is one of the views. Always if there are no others.

    Returns:
        Batches of float32 (B, C) and int32 (B,), or what `targets` returns.

    Raises:
        OptionError: An option is out of its range, or the items can't fill the sampler's batches.
        ArrayError: The cache is of other items, or these lack what the sampler needs.

    Example:
        >>> items = dml.datasets.Glyphs(classes=4, samples=4, size=32).items()
        >>> encoder = dml.build_encoder(dml.backbones.Conv4(input_size=16, resize_side=16))
        >>> cache = dml.FeatureCache("features", encoder, items.paths, views=0)
        >>> sampler = dml.samplers.MPerClass(classes_per_batch=2, images_per_class=2)
        >>> features, labels = next(iter(dml.feature_batches(cache, items, sampler)))
        >>> features.shape, labels.shape
        ((4, 64), (4,))
    """
    if len(cache) != len(items.labels):
        raise ArrayError(
            f"the cache must hold the features of the items, {len(items.labels)} images; it holds "
            f"{len(cache)}"
        )
    reader = _FeatureReader(cache, items, sampler, seed, class_vectors, samples, targets, plain)
    return TrainingBatches(reader, first_epoch, threads=1)


class _FeatureReader(BatchReader):
    """Creates batches of cached features.

    Args:
        cache: A `FeatureCache`.
        items: As in `feature_batches`, like the other arguments.
        sampler: A part of `dml.samplers`.
        seed: At least 0.
        class_vectors: Floats (classes, D) or None.
        samples: Whether to return the rows of the images.
        targets: Returns what takes the place of labels (B,), or None.
        plain: Whether the plain image is one of the views.
    """

    def __init__(
        self,
        cache: FeatureCache,
        items: Samples,
        sampler: Sampler,
        seed: int,
        class_vectors: ArrayLike | None,
        samples: bool,
        targets: Callable[[np.ndarray], np.ndarray] | None,
        plain: bool,
    ):
        shape = (cache.dimension,)
        super().__init__(items, sampler, seed, class_vectors, samples, shape, "float32", targets)
        self.cache = cache
        self.first_view = 0 if plain or not len(cache.views) else 1

    def inputs(self, rows, places, epoch, step):
        views = 1 + len(self.cache.views) - self.first_view
        generator = np.random.default_rng((self.seed, epoch, step + 1))
        first = generator.integers(views, size=len(rows))
        # Copies of an image take the views after that of its first place.
        order = np.argsort(rows, kind="stable")
        starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
        start = np.repeat(starts, np.diff(starts, append=len(rows)))
        chosen = np.empty(len(rows), np.int64)
        chosen[order] = (first[order[start]] + np.arange(len(rows)) - start) % views
        own = slice(places.start, places.stop)
        return self.cache.batch(rows[own], self.first_view + chosen[own])
