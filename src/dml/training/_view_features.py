"""Computing the features of images under a frozen network: plain ones and those of views."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dml._devices import apart, predicted, predicted_share, share_of
from dml._processes import exchanged, process_count, process_index
from dml._storage.records import text_sha256
from dml._storage.unfinished import read_part, write_part
from dml.augmentations import Augmentation
from dml.encoding._fingerprint import fingerprint
from dml.encoding._interface import preparation_of
from dml.encoding._stages import features_of
from dml.errors import DataError, DivergenceError, OptionError
from dml.images import ImageRef
from dml.images._ahead import read_ahead
from dml.images._resizing import square
from dml.reporting import Reporter


class ViewFeatures:
    """Computes the features of images as prepared in evaluation, and of augmented views of them.

    Args:
        encoder: A model of `dml.build_encoder`.
        augmentation: Makes the views; None if there are none.
        views: Number of them.
        seed: The seed of the views.
        dtype: The type of the features: `float16` or `float32`.
        batch_size: Images computed at once. The colours of a view are drawn for such a batch.

    Attributes:
        dimension: Length of a vector of features, C.
    """

    def __init__(
        self,
        encoder: Any,
        augmentation: Augmentation | None,
        views: int,
        seed: int,
        dtype: str,
        batch_size: int,
    ):
        self.network = features_of(encoder)
        self.preparation = preparation_of(encoder)
        self.augmentation = augmentation
        self.views = views
        self.seed = seed
        self.dtype = dtype
        self.batch_size = batch_size
        self.dimension: int = self.network.output_shape[-1]

    def keys(self, digests: Sequence[str] | np.ndarray) -> np.ndarray:
        """Returns a text for each image, made of all that affects its features: ASCII (N,).

        Args:
            digests: Strings (N,): the SHA-256 of each image.
        """
        owner = [fingerprint(self.network), dataclasses.asdict(self.preparation)]
        if self.augmentation is not None:
            kind = type(self.augmentation)
            options = {name: repr(value) for name, value in vars(self.augmentation).items()}
            owner += [f"{kind.__module__}.{kind.__qualname__}", options, self.views, self.seed]
            if self.augmentation.layers(self.seed):
                owner.append(self.batch_size)
        about = text_sha256([*owner, self.dtype])
        texts = (f"{about} {row} {digest}" for row, digest in enumerate(digests))
        return np.array([hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts], "S")

    def parts(
        self,
        paths: Sequence[str] | np.ndarray,
        keys: np.ndarray,
        before: np.ndarray,
        folder: Path,
        threads: int | None,
        reporter: Reporter,
    ) -> Iterator[np.ndarray]:
        """Yields the features of all images in order, in arrays (n, 1 + views, C).

        Of several processes that train together, each reads and computes its share of the parts
        that one of them lacks.

        Args:
            paths: N paths.
            keys: As `keys` returns them.
            before: Rows of earlier features, with fields `key` and `values`. Row i is used for
                image i if it has its key.
            folder: Keeps what has been computed, in parts.
            threads: Threads that read images.
            reporter: Shows the progress.

        Raises:
            ImageError: An image can't be read.
            DivergenceError: A feature is not finite.
            OptionError: float16 can't hold the features.
        """
        known = np.zeros(len(paths), bool)
        both = min(len(paths), len(before))
        known[:both] = before["key"][:both] == keys[:both]
        parts, here = [], known.copy()
        for start in range(0, len(paths), self.batch_size):
            rows = np.arange(start, min(start + self.batch_size, len(paths)))
            file = folder / f"{hashlib.sha256(keys[rows].tobytes()).hexdigest()[:32]}.part"
            parts.append((rows, file))
            here[rows] |= not known[rows].all() and read_part(file) is not None
        everywhere = exchanged(here).all(axis=0)
        pending = [part for part in parts if not everywhere[part[0]].all()]
        count = process_count()
        own = (rows for rows, _ in pending[process_index() :: count])
        missing = [row for rows in own for row in rows if not everywhere[row]]
        images = read_ahead(
            lambda row: self._crops(paths[row], row), missing, threads, ahead=self.batch_size
        )
        done = int(everywhere.sum())
        progress = reporter.progress("computing features", len(paths), done=done)
        with contextlib.closing(images), progress as advance:
            for first in range(0, len(pending), count):
                together = pending[first : first + count]  # a part for each process
                is_busy = process_index() < len(together)
                rows = together[process_index()][0] if is_busy else np.arange(0)
                places = np.flatnonzero(~everywhere[rows])
                crops = self._empty()
                for place in places:
                    crops[:, place] = next(images)
                found = self._features(crops, int(rows[0]) // self.batch_size if is_busy else 0)
                kept = np.zeros(found.shape, self.dtype)
                kept[places] = self._fitting(found[places], [paths[row] for row in rows[places]])
                for (rows, file), values in zip(together, exchanged(kept), strict=False):
                    if not here[rows].all():
                        part, old = values[: len(rows)].copy(), known[rows]
                        part[old] = before["values"][rows[old]]
                        write_part(file, [part])
                    advance(int((~everywhere[rows]).sum()))
        for rows, file in parts:
            yield before["values"][rows] if known[rows].all() else _kept(file)

    def _empty(self):
        """Returns black crops, uint8 (1 + views, batch, S, S, 3)."""
        size = self.preparation.input_size
        return np.zeros((1 + self.views, self.batch_size, size, size, 3), "uint8")

    def _crops(self, path, row):
        """Returns the crops of an image, uint8 (1 + views, S, S, 3): plain, then augmented."""
        side, size = self.preparation.resize_side, self.preparation.input_size
        image = ImageRef.parse(str(path))
        data = image.read_bytes()
        start = (side - size) // 2
        whole = square(image.decode(data, side), side, self.preparation.aspect)
        crops = [whole[start : start + size, start : start + size]]
        if self.augmentation is not None:
            pixels = image.decode(data, self.augmentation.decode_side(size))
            for view in range(1, 1 + self.views):
                generator = np.random.default_rng((self.seed, view, row))
                crops.append(self.augmentation.crop(pixels, size, generator))
        return np.stack(crops)

    def _features(self, crops, batch):
        """Returns the features float32 (B, 1 + views, C) of the crops of a whole batch.

        Args:
            crops: Uint8 (1 + views, B, S, S, 3).
            batch: Its number, with which the colours of its views are drawn.
        """
        features = [self._predicted(crops[0])]
        for view in range(1, 1 + self.views):
            images = crops[view]
            state = np.random.SeedSequence((self.seed, view, batch)).generate_state(1)
            with apart():
                for layer in self.augmentation.layers(int(state[0]) >> 1):
                    images = layer(images, training=True)
            features.append(self._predicted(images))
        return np.stack(features, axis=1)

    def _predicted(self, images):
        if (count := process_count()) == 1:
            return predicted(self.network, images).astype("float32")
        share = np.zeros((share_of(count * len(images)), *images.shape[1:]), images.dtype)
        share[: len(images)] = images
        return predicted_share(self.network, share)[: len(images)].astype("float32")

    def _fitting(self, features, paths):
        """Returns features in the type in which they are kept, after a check that it holds them."""
        for path, found in zip(paths, features, strict=True):
            if not np.isfinite(found).all():
                raise DivergenceError(
                    f"the features of {path} are not finite: the weights of the network are "
                    "damaged, or its training diverged"
                )
        with np.errstate(over="ignore"):
            kept = features.astype(self.dtype)
        for path, found, original in zip(paths, kept, features, strict=True):
            if not np.isfinite(found).all():
                raise OptionError(
                    "dtype",
                    f"float16 holds numbers up to 65504, and the features of {path} reach "
                    f"{np.abs(original).max():.4g}: check the network's weights and the range that "
                    "they expect (scaling_mode of the backbone `own`), or use float32 in Python",
                )
        return kept


def _kept(file):
    """Returns the features of a part that has just been computed, or was read before."""
    part = read_part(file)
    if part is None:
        raise DataError(file, "damaged since it was written: compute the features again")
    return part[0]
