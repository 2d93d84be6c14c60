"""The features of a frozen network for a set of images, computed once and kept on disk."""

import collections
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from dml._options import check_integer, check_known, check_list
from dml._processes import from_each
from dml._storage.keyed_rows import KeyedRows
from dml._storage.unfinished import measuring
from dml._threads import reading_threads
from dml.augmentations import Augmentation
from dml.datasets._recorded import image_digests
from dml.errors import ArrayError, DataError, DmlError, OccupiedError, OptionError
from dml.reporting import SILENT, Reporter
from dml.training._view_features import ViewFeatures


class FeatureCache:
    """The pooled features of images under a frozen encoder, kept in a folder.

    It holds the features of each image as prepared in evaluation (`plain`), and of a few augmented
    versions of it (`views`). On them the embedding layer trains in seconds per epoch, with
    `feature_batches` and a `Learner` of `dml.encoding.head_of(encoder)`.

    Features in the folder are reused if they fit the network's architecture and weights, the
    preparation and the contents of the images. All others are computed, those that an interruption
    left out and those in damaged files, too. View v of image n is a function of the seed, v and n.

    Args:
        folder: Where they are kept; made if need be. Each of several processes that train together
            needs its own.
        encoder: A model of `dml.build_encoder`.
        paths: N paths as `dml.images.read_image` takes them; at least one.
        augmentation: A part of `dml.augmentations`; None if there are no views.
        views: Augmented versions of each image; at least 0.
        seed: The seed of the views; at least 0.
        dtype: `float16`, which halves the file and keeps three digits, or `float32`.
        batch_size: Images computed at once, the most that an interruption loses. Positive.
        threads: Threads that read images, positive; None for one per processor, at most 16.
        digests: Strings (N,): the SHA-256 of each image, if they are known; otherwise each image
            is read to see whether it has changed.
        reporter: Shows the progress.

    Attributes:
        dimension: Length of a vector of features, C.

    Raises:
        ArrayError: There are no images, or another number of digests.
        BusyError: Another process computes them.
        DivergenceError: A feature is not finite.
        ImageError: An image can't be read.
        OccupiedError: The folder is a file.
        OptionError: An option is out of its range, the encoder is an unsupported model, or float16
            can't hold the features.

    Example:
        >>> encoder = dml.build_encoder(dml.backbones.Conv4(input_size=28, resize_side=28))
        >>> items = dml.datasets.DATASETS["glyphs"](classes=8, samples=4, size=28).items()
        >>> augmentation = dml.augmentations.GlyphWarp()
        >>> cache = FeatureCache("features", encoder, items.paths, augmentation)  # doctest: +SKIP
        >>> cache.views.shape  # doctest: +SKIP
        (4, 32, 64)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        encoder: keras.Model,
        paths: Sequence[str] | np.ndarray,
        augmentation: Augmentation | None = None,
        views: int = 4,
        seed: int = 0,
        dtype: str = "float16",
        batch_size: int = 64,
        threads: int | None = None,
        digests: Sequence[str] | np.ndarray | None = None,
        reporter: Reporter = SILENT,
    ):
        check_integer(0, views=views, seed=seed)
        check_integer(1, batch_size=batch_size)
        check_list(paths=paths)
        threads = reading_threads(threads)
        check_known(("float16", "float32"), dtype=dtype)
        if views and augmentation is None:
            raise OptionError("augmentation", f"is missing: {views} views are to be made by it")
        if not len(paths):
            raise ArrayError("paths: there are no images")
        if digests is not None and len(digests) != len(paths):
            raise ArrayError(f"digests must be as many as paths, {len(paths)}; got {len(digests)}")
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise OccupiedError(folder, "is no folder, where features are to be kept")
        source = ViewFeatures(
            encoder, augmentation if views else None, views, seed, dtype, batch_size
        )
        self.dimension: int = source.dimension
        if digests is None:
            with reporter.progress("looking for changed images", len(paths)) as advance:
                digests = image_digests(paths, threads, advance)
        keys = source.keys(digests)
        store = KeyedRows(folder, dtype, (1 + views, self.dimension))
        rows = _read(store, SILENT)
        if not _all_have(rows, keys):
            unfinished = folder / "unfinished"
            with _locked(unfinished):
                rows = _read(store, reporter)  # which another process may have written by now
                if not _all_have(rows, keys):
                    parts = source.parts(paths, keys, rows, unfinished, threads, reporter)
                    if np.array_equal(rows["key"], keys):  # others need this one's help
                        collections.deque(parts, maxlen=0)
                    else:
                        store.write(keys, parts)
                    rows = _read(store, reporter)
            if not np.array_equal(rows["key"], keys):
                raise DataError(folder, "changed while its features were computed; try again")
        self._values = rows["values"]

    def __len__(self) -> int:
        return len(self._values)

    @property
    def plain(self) -> np.ndarray:
        """The features (N, C) of the images as prepared in evaluation."""
        return self._values[:, 0]

    @property
    def views(self) -> np.ndarray:
        """The features (views, N, C) of their augmented versions."""
        return self._values[:, 1:].transpose(1, 0, 2)

    def batch(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Returns the features float32 (B, C) of chosen images.

        Args:
            rows: Integers (B,) in [0, N).
            views: Integers (B,): which view of each image, from 1; 0 is the plain image.
        """
        return self._values[rows, views].astype("float32")


def _all_have(rows, keys):
    """Returns whether this process, and those that train with it, have the rows of all keys."""
    return all(from_each(np.array_equal(rows["key"], keys)))


@contextlib.contextmanager
def _locked(folder):
    """Locks the folder of unfinished parts as `measuring`; if one process can't, all raise that."""
    with contextlib.ExitStack() as stack:
        error = None
        try:
            stack.enter_context(measuring(folder))
        except DmlError as found:
            error = found
        for found in from_each(error):
            if found is not None:
                raise found
        yield


def _read(store, reporter):
    """Returns the stored rows; none if there are none, or if they are damaged."""
    try:
        rows = store.read()
    except DataError as error:
        reporter.warning(str(error))
        rows = None
    return np.empty(0, store.record) if rows is None else rows
