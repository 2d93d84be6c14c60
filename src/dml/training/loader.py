"""Training batches from image files, read ahead by threads."""

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import grain
import numpy as np
from numpy.typing import ArrayLike

from dml._options import check_integer, check_known
from dml._processes import check_alone
from dml._threads import reading_threads
from dml.augmentations import Augmentation
from dml.images import ImageError, read_image
from dml.images._opencv import single_threaded_opencv
from dml.samplers import Sampler
from dml.samplers.base import Samples
from dml.training._reader import BatchReader
from dml.training._stopwatch import Waiting

_LOGGER = logging.getLogger(__name__)
_ON_UNREADABLE = ("error", "skip")


class ImageSamples(Samples, Protocol):
    """The attributes of items that training batches need; `dml.datasets.Items` has them."""

    @property
    def paths(self) -> Sequence[str] | np.ndarray: ...


def training_batches(
    items: ImageSamples,
    sampler: Sampler,
    augmentation: Augmentation,
    size: int,
    first_epoch: int = 0,
    seed: int = 0,
    on_unreadable: str = "error",
    threads: int | None = None,
    class_vectors: ArrayLike | None = None,
    samples: bool = False,
    targets: Callable[[np.ndarray], np.ndarray] | None = None,
) -> "TrainingBatches":
    """Returns endless training batches for `fit(..., steps_per_epoch=batches.steps_per_epoch)`.

    Batches and crops are a function of (seed, epoch, step): a training that starts at `first_epoch`
    sees the same batches as one that was not interrupted. Each of several processes that train
    together (`dml.join_processes`) reads its share of every batch.

    Args:
        items: The training images, such as `dml.datasets.Items`.
        sampler: A part of `dml.samplers`.
        augmentation: A part of `dml.augmentations`; its `layers` are applied by the model.
        size: Side of the images in pixels. Positive.
        first_epoch: Epoch of the first batch, from 0.
        seed: At least 0.
        on_unreadable: How to handle unreadable images. `error`: raise an error. `skip`: replace
            each by another image of its class that is not in the batch, or else of another class;
            it is logged once and listed in `unreadable`.
        threads: Threads that read images, positive; None for one per processor, at most 16.
        class_vectors: Floats (classes, D): the position of each class, for samplers that need it.
        samples: Whether labels are {"labels": ..., "samples": ...}, int32 (B,) each, where samples
            are the rows of the images among the items.
        targets: A function from the labels (B,) of a batch to what takes their place, such as
            memberships (B, classes) or a relation (B, B), of one shape for all batches.

    Returns:
        Batches of uint8 (B, size, size, 3) and int32 (B,), or what `targets` returns.

    Raises:
        OptionError: An option is out of its range, the items can't fill the sampler's batches, or
            several processes are to skip images, of which they would replace different ones.
        ArrayError: The items lack what the sampler needs.

    Example:
        >>> items = dml.datasets.Glyphs(classes=4, samples=4, size=32).items()
        >>> sampler = dml.samplers.MPerClass(classes_per_batch=2, images_per_class=2)
        >>> batches = dml.training_batches(items, sampler, dml.augmentations.GlyphWarp(), size=16)
        >>> images, labels = next(iter(batches))
        >>> images.shape, labels.shape
        ((4, 16, 16, 3), (4,))
    """
    if on_unreadable == "skip":
        check_alone("on_unreadable = 'skip'")
    return TrainingBatches(
        _ImageReader(
            items,
            sampler,
            augmentation,
            size,
            seed,
            on_unreadable,
            class_vectors,
            samples,
            targets,
        ),
        first_epoch,
        threads,
    )


class TrainingBatches(grain.IterDataset):
    """The batches of `training_batches` or `feature_batches`, made ahead; data for Keras' `fit`.

    Args:
        reader: Makes each batch.
        first_epoch: Epoch of the first batch.
        threads: Threads that make batches ahead, positive; None for one per processor, at most 16.

    Attributes:
        waiting: How long a training has waited for them.
    """

    def __init__(self, reader: BatchReader, first_epoch: int, threads: int | None):
        super().__init__()
        check_integer(0, first_epoch=first_epoch)
        self.reader = reader
        self.waiting = Waiting()
        first = first_epoch * reader.steps_per_epoch
        self._stages = _read_ahead(grain.MapDataset.range(first, sys.maxsize).map(reader), threads)

    def __iter__(self):
        return self.waiting.timed(self._stages)

    def tensorflow_dataset(self) -> Any:
        """Returns the batches as a `tf.data.Dataset` without autotuning.

        Autotuning is useless here, and its thread ends up to a minute after the training
        (TensorFlow 2.21).
        """
        import tensorflow as tf

        rows = self.epoch_rows(0)[0]
        inputs = tf.TensorSpec((len(rows), *self.reader.shape), self.reader.dtype)
        targets = self.reader.targets(self.reader.labels[rows])
        labels: Any = tf.TensorSpec(targets.shape, targets.dtype)
        if self.reader.samples:
            labels = {"labels": labels, "samples": tf.TensorSpec((len(rows),), tf.int32)}
        options = tf.data.Options()
        options.autotune.enabled = False
        batches = tf.data.Dataset.from_generator(
            lambda: self.waiting.watched(self._stages), output_signature=(inputs, labels)
        )
        return batches.prefetch(1).with_options(options)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in every epoch."""
        return self.reader.steps_per_epoch

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the images or features of this process's share of every batch."""
        rows = self.epoch_rows(0)[0]
        return len(rows[self.reader.own(len(rows))]), *self.reader.shape

    @property
    def unreadable(self) -> dict[str, str]:
        """{path: reason} of the images that were replaced."""
        with self.reader.lock:
            return dict(self.reader.unreadable)

    def epoch_rows(self, epoch: int) -> np.ndarray:
        """Returns the rows int64 (steps, B) of the items in an epoch's batches.

        As the sampler chose them, before unreadable images are replaced. Equal rows are copies of
        one image.
        """
        return self.reader.epoch_rows(epoch)

    @contextlib.contextmanager
    def named_errors(self) -> Iterator[None]:
        """Raises the `ImageError` of a training that was stopped by an unreadable image.

        TensorFlow wraps errors of its data sets in another type with a long message:

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


class _ImageReader(BatchReader):
    """Creates batches of images.

    Args:
        items: As in `training_batches`, like all of the arguments.
        sampler: A part of `dml.samplers`.
        augmentation: A part of `dml.augmentations`.
        size: Side of the images in pixels.
        seed: At least 0.
        on_unreadable: `error` or `skip`.
        class_vectors: Floats (classes, D) or None.
        samples: Whether to return the rows of the images.
        targets: Returns what takes the place of labels (B,), or None.
    """

    def __init__(
        self,
        items: ImageSamples,
        sampler: Sampler,
        augmentation: Augmentation,
        size: int,
        seed: int,
        on_unreadable: str,
        class_vectors: ArrayLike | None,
        samples: bool,
        targets: Callable[[np.ndarray], np.ndarray] | None,
    ):
        check_integer(1, size=size)
        check_known(_ON_UNREADABLE, on_unreadable=on_unreadable)
        shape = (size, size, 3)
        super().__init__(items, sampler, seed, class_vectors, samples, shape, "uint8", targets)
        self.paths = items.paths
        self.augmentation = augmentation
        self.size = size
        self.on_unreadable = on_unreadable

    def inputs(self, rows, places, epoch, step):
        images = np.empty((len(places), *self.shape), np.uint8)
        with single_threaded_opencv():
            for image, place in zip(images, places, strict=True):
                image[:] = self._image(rows, place, (self.seed, epoch, step + 1, place))
        return images

    def _image(self, rows, place, key):
        """Returns the image of a place in a batch; sets its row if it is a replacement."""
        for row in self._candidates(rows, place):
            try:
                image = read_image(self.paths[row], self.augmentation.decode_side(self.size))
            except ImageError as error:
                if self.on_unreadable == "error":
                    self.error = error
                    raise
                self._remember(self.paths[row], error)
                continue
            rows[place] = row
            return self.augmentation.crop(image, self.size, np.random.default_rng(key))
        self.error = ImageError(
            str(self.paths[rows[place]]),
            "can't be read, and no other image can take its place: all of them are in the batch or "
            "can't be read either",
        )
        raise self.error

    def _candidates(self, rows: np.ndarray, place: int) -> Iterator[int]:
        """Yields the row of the place, and then the rows that can replace it if it is unreadable.

        Not those in the batch: a copy would be its own positive.
        """
        row = rows[place]
        yield row
        labels = self.labels
        following = np.roll(np.arange(len(labels)), -row - 1)
        following = following[~np.isin(following, rows)]
        same = labels[following] == labels[row]
        yield from following[same]
        yield from following[~same]

    def _remember(self, path, error):
        with self.lock:
            if path not in self.unreadable:
                self.unreadable[path] = str(error)
                _LOGGER.warning("skipped in training: %s", error)


def _read_ahead(batches, threads):
    """Returns the batches of a grain dataset, read a few in advance by threads."""
    threads = reading_threads(threads)
    # Each thread makes one batch at a time, and two are ready when the model asks.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2)
    return batches.to_iter_dataset(options)
