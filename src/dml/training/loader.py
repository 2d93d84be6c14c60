"""Items, a sampler and an augmentation in; batches of images out, read by threads ahead of time."""

import contextlib
import functools
import logging
import sys
import threading

import grain
import numpy as np

from dml.images import ImageError, read_image
from dml.images._opencv import single_threaded_opencv

LOGGER = logging.getLogger(__name__)
ON_UNREADABLE = ("error", "skip")


def training_batches(
    items,
    sampler,
    augmentation,
    size,
    first_epoch=0,
    seed=0,
    on_unreadable="error",
    threads=2,
    class_vectors=None,
    samples=False,
):
    """Returns endless training batches for `fit(..., steps_per_epoch=batches.steps_per_epoch)`.

    Batch and crops are a function of (seed, epoch, step) alone: a training that starts at
    `first_epoch` sees what an uninterrupted one would have seen.

    Args:
        items: `dml.datasets.Items`: the training images.
        sampler: A part of `dml.samplers`.
        augmentation: A part of `dml.augmentations`; its `layers` are the model's to apply.
        size: Side of the images in pixels. Positive.
        first_epoch: Epoch of the first batch, from 0.
        seed: At least 0.
        on_unreadable: What an image that can't be read does. `error`: ends the training. `skip`:
            is replaced by another of its class that is not in the batch, or else of another class;
            named in the log once, and kept in `unreadable`.
        threads: Threads that read. Positive.
        class_vectors: Floats (classes, D): where each class is, for the samplers that want them.
        samples: Whether labels come as {"labels": ..., "samples": ...}, int32 (B,) each, which
            says which image of the items each is.

    Returns:
        A `TrainingBatches`, which is a `grain.IterDataset` of uint8 (B, size, size, 3) and int32
        (B,).

    Raises:
        ValueError: An option is out of its range, or the items can't fill the sampler's batches.
    """
    return TrainingBatches(
        TrainingReader(
            items, sampler, augmentation, size, seed, on_unreadable, class_vectors, samples
        ),
        first_epoch,
        threads,
    )


class TrainingBatches(grain.IterDataset):
    """The batches of `training_batches`, read ahead by threads; Keras' `fit` takes it as data.

    Args:
        reader: A `TrainingReader`.
        first_epoch: Epoch of the first batch.
        threads: Threads that read. Positive.
    """

    def __init__(self, reader, first_epoch, threads):
        super().__init__()
        check_at_least(0, first_epoch=first_epoch)
        self.reader = reader
        first = first_epoch * reader.steps_per_epoch
        self.stages = read_ahead(grain.MapDataset.range(first, sys.maxsize).map(reader), threads)

    def __iter__(self):
        return iter(self.stages)

    def tensorflow_dataset(self):
        """Returns the batches as a `tf.data.Dataset` without buffers that tune themselves.

        They are of no use here, and the thread that tunes them ends only when it next wakes: up
        to a minute after a training (TensorFlow 2.21).
        """
        import tensorflow as tf

        count, size = len(self.epoch_rows(0)[0]), self.reader.size
        images = tf.TensorSpec((count, size, size, 3), tf.uint8)
        labels = tf.TensorSpec((count,), tf.int32)
        if self.reader.samples:
            labels = {"labels": labels, "samples": labels}
        options = tf.data.Options()
        options.autotune.enabled = False
        batches = tf.data.Dataset.from_generator(
            lambda: self.stages, output_signature=(images, labels)
        )
        return batches.prefetch(1).with_options(options)

    @property
    def steps_per_epoch(self):
        """Batches in every epoch."""
        return self.reader.steps_per_epoch

    @property
    def unreadable(self):
        """Returns {path: reason} of the images that were replaced."""
        with self.reader.lock:
            return dict(self.reader.unreadable)

    def epoch_rows(self, epoch):
        """Returns the rows (steps, B) of the items that an epoch's batches are made of.

        Without those that replaced unreadable ones. Equal rows are copies of one image.
        """
        return self.reader.epoch_rows(epoch)

    @contextlib.contextmanager
    def named_errors(self):
        """Raises the `ImageError` of a training that an unreadable image has ended.

        TensorFlow gives the errors of its data another type and buries what they say:

            with batches.named_errors():
                learner.fit(batches, ...)
        """
        try:
            yield
        except Exception as error:
            cause = self.reader.error
            if cause is None or isinstance(error, ImageError) or str(cause) not in str(error):
                raise
            raise cause from None


class TrainingReader:
    """Makes a training batch from its number; called by several threads at once.

    Args:
        items: `dml.datasets.Items`.
        sampler: A part of `dml.samplers`.
        augmentation: A part of `dml.augmentations`.
        size: Side of the images in pixels.
        seed: At least 0.
        on_unreadable: `error` or `skip`.
        class_vectors: Floats (classes, D) or None.
        samples: Whether to say which image each is.
    """

    def __init__(
        self, items, sampler, augmentation, size, seed, on_unreadable, class_vectors, samples
    ):
        check_at_least(1, size=size)
        check_at_least(0, seed=seed)
        if on_unreadable not in ON_UNREADABLE:
            raise ValueError(
                f"on_unreadable must be one of {', '.join(ON_UNREADABLE)}; got {on_unreadable!r}"
            )
        self.items = items
        self.sampler = sampler
        self.augmentation = augmentation
        self.size = size
        self.seed = seed
        self.on_unreadable = on_unreadable
        self.class_vectors = class_vectors
        self.samples = samples
        self.unreadable = {}
        self.error = None
        self.lock = threading.Lock()
        # Two, because threads that read ahead cross from one epoch into the next.
        self.cached_rows = functools.lru_cache(maxsize=2)(self.sampled_rows)
        self.steps_per_epoch = len(self.epoch_rows(0))

    def __call__(self, number):
        """Returns the uint8 images (B, size, size, 3) and int32 labels (B,) of a batch."""
        epoch, step = divmod(number, self.steps_per_epoch)
        rows = self.epoch_rows(epoch)[step].copy()
        images = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        with single_threaded_opencv():
            for place in range(len(rows)):
                images[place] = self.image(rows, place, (self.seed, epoch, step + 1, place))
        labels = self.items.labels[rows].astype(np.int32)
        if self.samples:
            return images, {"labels": labels, "samples": rows.astype(np.int32)}
        return images, labels

    def epoch_rows(self, epoch):
        with self.lock:  # or each thread would sample the new epoch for itself
            return self.cached_rows(epoch)

    def sampled_rows(self, epoch):
        return self.sampler.batches_of(self.items, epoch, self.seed, self.class_vectors)

    def image(self, rows, place, key):
        """Returns the image of a place in a batch; puts its row there if it is another one."""
        for row in self.candidates(rows, place):
            try:
                image = read_image(self.items.paths[row], self.augmentation.decode_side(self.size))
            except ImageError as error:
                if self.on_unreadable == "error":
                    self.error = error
                    raise
                self.remember(self.items.paths[row], error)
                continue
            rows[place] = row
            return self.augmentation.crop(image, self.size, np.random.default_rng(key))
        self.error = ImageError(
            self.items.paths[rows[place]],
            "can't be read, and no other image can take its place: all of them are in the batch "
            "or can't be read either",
        )
        raise self.error

    def candidates(self, rows, place):
        """Yields the place's row and, should that be unreadable, what can stand in for it.

        An image that is in the batch already can't: it would be its own positive.
        """
        row = rows[place]
        yield row
        labels = self.items.labels
        following = np.roll(np.arange(len(labels)), -row - 1)
        following = following[~np.isin(following, rows)]
        same = labels[following] == labels[row]
        yield from following[same]
        yield from following[~same]

    def remember(self, path, error):
        with self.lock:
            if path not in self.unreadable:
                self.unreadable[path] = str(error)
                LOGGER.warning("left out of the training: %s", error)


def read_ahead(batches, threads):
    """Returns a grain dataset's batches, read by threads a few ahead of their use."""
    check_at_least(1, threads=threads)
    # Each thread makes one batch at a time, and two are ready when the model asks.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2)
    return batches.to_iter_dataset(options)


def check_at_least(least, **options):
    """Raises ValueError for the first option that is smaller."""
    for name, value in options.items():
        if value < least:
            raise ValueError(f"{name} must be at least {least}; got {value}")
