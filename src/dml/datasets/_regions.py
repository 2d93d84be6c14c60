"""The columns of a table that name a part of each image: a box, a mask."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dml.errors import DataError
from dml.images import ImageRef
from dml.images._references import CropRef, MaskedRef
from dml.images._regions import Box, BoxUnit

if TYPE_CHECKING:
    import pandas as pd

BOX = ("x0", "y0", "x1", "y1")
MASK = "mask"
REGION_COLUMNS = (*BOX, MASK)
SOURCE_COLUMNS = ("camera", "sequence")
_ROWS = 1 << 16  # that are in memory at once, as texts


def images_of(
    frame: "pd.DataFrame", file: str | os.PathLike[str]
) -> tuple[Iterator[ImageRef], str]:
    """Returns the image of each row of a table, or the part of it that its box and mask name.

    Args:
        frame: The column `path`; perhaps `mask`, the path of an image; and perhaps a box, as for
            `parts_of`.
        file: Where it was read, for messages.

    Returns:
        (references whose paths are as written, made as they are taken; a line that says the boxes'
        unit, empty without boxes).

    Raises:
        DataError: A box is incomplete or invalid, or a mask is missing; the message names the row.
    """
    import pandas as pd

    images = map(ImageRef.parse, texts_of(frame["path"]))
    if MASK in frame:
        frame = frame.assign(
            **{MASK: [None if pd.isna(m) else ImageRef.parse(str(m).strip()) for m in frame[MASK]]}
        )
    return parts_of(images, frame, file, lambda row: f"row {row + 1}")


def texts_of(column: "pd.Series") -> Iterator[str]:
    """Yields the text of each value, without spaces around it; not all are in memory at once."""
    for start in range(0, len(column), _ROWS):
        yield from map(str.strip, column.iloc[start : start + _ROWS].astype(str).to_numpy())


def parts_of(
    images: Iterable[ImageRef],
    frame: "pd.DataFrame",
    file: str | os.PathLike[str],
    name_of: Callable[[int], str],
) -> tuple[Iterator[ImageRef], str]:
    """Returns images, or the part of each that its box and mask name.

    Args:
        images: N references.
        frame: N rows; perhaps with `x0`, `y0`, `x1` and `y1`, which are shares of width and height
            if none of them exceeds 1, and pixels otherwise; and perhaps `mask`, references.
        file: Where it was read, for messages.
        name_of: Returns what a row is called in messages.

    Returns:
        (references, made as they are taken; a line that says the boxes' unit, empty without boxes).

    Raises:
        DataError: A box is incomplete or a mask is missing; or, when its reference is taken, its
            box is invalid. The message names the row.
    """
    parts = iter(images)
    if MASK in frame:
        parts = map(MaskedRef, parts, _complete(frame, MASK, file, name_of))
    if not set(BOX) & set(frame.columns):
        return parts, ""
    corners = _corners(frame, file, name_of)
    unit = BoxUnit.SHARES if corners.max() <= 1 else BoxUnit.PIXELS
    parts = _crops(parts, corners, unit, file, name_of)
    if unit == BoxUnit.PIXELS:
        return parts, "boxes are in pixels"
    return parts, "boxes are in shares of width and height, since none of their numbers exceeds 1"


def _crops(images, corners, unit, file, name_of):
    """Yields the part of each image in its box; the arguments are those of `parts_of`."""
    for row, (image, numbers) in enumerate(zip(images, corners.tolist(), strict=True)):
        try:
            yield CropRef(image, Box(*numbers, unit))
        except ValueError as error:
            box, why = ", ".join(f"{number:g}" for number in numbers), ""
            if unit == BoxUnit.PIXELS:
                above = int(np.argmax(corners.max(axis=1) > 1))
                why = f" (in pixels, since {name_of(above)} has {corners[above].max():g})"
            raise DataError(file, f"{name_of(row)}: the box {box}{why} {error}") from None


def _corners(frame, file, name_of):
    """Returns the numbers of the boxes, float64 (N, 4)."""
    import pandas as pd

    if absent := [name for name in BOX if name not in frame]:
        columns = ", ".join(BOX)
        raise DataError(file, f"no column {absent[0]!r}: a box has the columns {columns}")
    corners = np.empty((len(frame), len(BOX)))
    for place, name in enumerate(BOX):
        column = _complete(frame, name, file, name_of)
        try:
            corners[:, place] = pd.to_numeric(column, errors="coerce")
        except OverflowError:  # hundreds of digits
            raise DataError(file, f"{name} holds a number that is too large") from None
        if len(wrong := np.flatnonzero(np.isnan(corners[:, place]))):
            row = int(wrong[0])
            raise DataError(file, f"{name_of(row)}: {name} is {column.iloc[row]!r}, not a number")
    return corners


def _complete(frame: "pd.DataFrame", name: str, file, name_of) -> Any:
    """Returns a column that has a value in every row."""
    column = frame[name]
    if len(empty := np.flatnonzero(column.isna())):
        raise DataError(file, f"{name_of(int(empty[0]))} has no {name}")
    return column
