"""Batches of triplets that a file lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from dml._options import check_integer
from dml._storage.places import expanded
from dml._text import number_of
from dml.errors import DataError, MissingDataError, OptionError
from dml.samplers._epochs import epoch_generator
from dml.samplers.base import SAMPLERS, Sampler

_COLUMNS = ("anchor", "positive", "negative")


@SAMPLERS.register("fixed_triplets")
@dataclass(frozen=True)
class FixedTriplets(Sampler):
    """Fills each batch with anchor, positive and negative of triplets from a file, in this order.

    For triplets chosen by people or by another model. Each occurs once per epoch, in random order;
    a partial last batch is filled up with the epoch's first triplets. An image in two triplets of a
    batch occurs twice. Losses still form all pairs and triplets of a batch from its labels, so a
    triplet must agree with them; images in no triplet are never seen.

    The file is a `.csv` or `.parquet` with the columns anchor, positive and negative. If all values
    are integers, they are rows of the training split, from 0, which depend on the validation split;
    otherwise they are ids of images, which are the paths as the data set lists them.

    Args:
        path: The file.
        triplets_per_batch: T. Positive; the batch has 3 T images. 21, for 63 images, is a choice of
            this project.

    Raises:
        OptionError: An option is out of its range, or there are fewer triplets than in a batch.
        DataError: The file can't be read, or a triplet names an unknown image or contradicts the
            labels.
        MissingDataError: There is no such file.

    Example:
        >>> with open("triplets.csv", "w") as file:
        ...     _ = file.write("anchor,positive,negative\\n0,1,2\\n2,3,0\\n")
        >>> sampler = dml.samplers.FixedTriplets("triplets.csv", triplets_per_batch=2)
        >>> sorted(sampler.batches([0, 0, 1, 1], epoch=0, seed=0).reshape(2, 3).tolist())
        [[0, 1, 2], [2, 3, 0]]
    """

    path: str = ""
    triplets_per_batch: int = 21

    wants: ClassVar[tuple[str, ...]] = ("ids",)

    def __post_init__(self):
        check_integer(1, triplets_per_batch=self.triplets_per_batch)
        if self.path and Path(self.path).suffix.lower() not in (".csv", ".parquet"):
            raise OptionError("path", f"must be a .csv or .parquet file; got {self.path!r}")

    @property
    def batch_size(self) -> int:
        return 3 * self.triplets_per_batch

    def batches(
        self, labels: ArrayLike, epoch: int, seed: int, ids: Sequence[str] | None = None
    ) -> np.ndarray:
        """Returns the rows of a whole epoch.

        Args:
            labels: As in every sampler.
            epoch: As in every sampler.
            seed: As in every sampler.
            ids: Strings (N,): the id of each row. None if the file contains rows.
        """
        classes = np.asarray(labels)
        triplets = _rows_of(_read_triplets(self.path), len(classes), ids, self.path)
        _check_labels(triplets, classes, self.path)
        if len(triplets) < self.triplets_per_batch:
            raise OptionError(
                "sampler.triplets_per_batch",
                f"is {self.triplets_per_batch}, but {self.path} has only "
                f"{number_of(len(triplets), 'triplet')}; lower it",
            )
        steps = -(-len(triplets) // self.triplets_per_batch)
        order = epoch_generator(seed, epoch).permutation(len(triplets))
        order = np.resize(order, steps * self.triplets_per_batch)  # repeats the first at the end
        return triplets[order].reshape(steps, self.batch_size)


def _read_triplets(path):
    """Returns the contents of a file: integers or an object array of strings, (T, 3).

    Raises:
        DataError: It is damaged, or a column or a value is missing.
        MissingDataError: There is no such file.
    """
    import pandas as pd

    file = expanded(path)
    if not file.is_file():
        raise MissingDataError(
            path or "sampler.path",
            "no such file of triplets; set sampler.path to a .csv or .parquet file with the "
            f"columns {', '.join(_COLUMNS)}",
        )
    try:
        if file.suffix.lower() == ".csv":
            frame = pd.read_csv(file, dtype=str, keep_default_na=False, na_values=[""])
        else:
            frame = pd.read_parquet(file)
    except (ValueError, OSError) as error:  # the bases of the errors of pandas and pyarrow
        raise DataError(path, f"can't be read as a table: {error}") from None
    for column in _COLUMNS:
        if column not in frame.columns:
            found = ", ".join(map(str, frame.columns))
            raise DataError(path, f"no column {column!r}; it has {found}")
    values = frame[list(_COLUMNS)]
    if len(empty := np.flatnonzero(values.isna().any(axis=1))):
        raise DataError(path, f"triplet {empty[0] + 1} is not complete")
    names = values.astype(str).to_numpy(object)
    # No row has more digits than int64 holds.
    whole = all(n.isascii() and n.isdigit() and len(n) < 19 for n in names.ravel())
    return names.astype(np.int64) if whole else names


def _rows_of(names, count, ids, path):
    """Returns the rows int64 (T, 3) of the images that triplets name.

    Raises:
        DataError: An image is missing, or there are no ids.
    """
    import pandas as pd

    if names.dtype == np.int64:
        rows = np.where(names < count, names, -1)
        what = f"the training split has only {number_of(count, 'image')}"
    elif ids is None:
        raise DataError(path, "names images by their ids, and this data set has none")
    else:
        index = pd.Index(np.asarray(ids, object))
        rows = index.get_indexer(names.ravel()).reshape(names.shape).astype(np.int64)
        what = f"no training image has this id; one that has is {str(ids[0])!r}" if count else ""
    if len(missing := np.argwhere(rows < 0)):
        triplet, column = missing[0]
        name = names[triplet, column]
        raise DataError(path, f"{_COLUMNS[column]} {name} of triplet {triplet + 1}: {what}")
    return rows


def _check_labels(triplets, labels, path):
    """Raises DataError unless anchor and positive are of one class, and the negative of another.

    Losses determine positives by the labels.
    """
    anchor, positive, negative = triplets.T
    same = anchor == positive
    wrong = (labels[anchor] != labels[positive]) | (labels[anchor] == labels[negative]) | same
    if len(found := np.flatnonzero(wrong)):
        classes = ", ".join(str(label) for label in labels[triplets[found[0]]])
        raise DataError(
            path,
            f"triplet {found[0] + 1} must have two images of one class and one of another; "
            f"got the rows {triplets[found[0]].tolist()} of the classes {classes}",
        )
