"""Checks super-labels, and merges super-classes too small for their part of a batch."""

import numpy as np
from numpy.typing import ArrayLike

from dml._text import number_of
from dml.errors import ArrayError, OptionError


def checked(super_labels: ArrayLike | None, labels: ArrayLike) -> np.ndarray:
    """Returns the super-labels (N,) as codes from 0, in the order of the labels.

    Raises:
        ArrayError: There are none, or not one for each class.
    """
    if super_labels is None:
        raise ArrayError(
            "sampler hierarchical needs a super-label for each image, and this data set has none; "
            "m_per_class needs none"
        )
    supers, classes = np.asarray(super_labels), np.asarray(labels)
    if supers.shape != classes.shape:
        raise ArrayError(
            "super_labels must be one for each image; "
            f"got the shapes {supers.shape} and {classes.shape}"
        )
    _, first, which = np.unique(classes, return_index=True, return_inverse=True)
    of_class = supers[first][which]
    if len(rows := np.flatnonzero(supers != of_class)):
        row = rows[0]
        raise ArrayError(
            f"a class must have one super-class; class {classes[row]} has {of_class[row]} "
            f"and {supers[row]}"
        )
    return np.unique(supers, return_inverse=True)[1]


def joined(
    codes: np.ndarray, labels: np.ndarray, classes: int, images: int, repeats: bool
) -> tuple[np.ndarray, int]:
    """Returns the codes (N,) with those too small merged, and the number of codes left.

    A super-class is too small if its classes or images don't fill its part of a batch. If they
    don't fill it together either, they are merged with the next smallest.

    Args:
        codes: Integers (N,) from 0: the super-class of each row.
        labels: Integers (N,).
        classes: P, classes in a part.
        images: K, images of a class.
        repeats: Whether a class with fewer images gives as many, by repeating them.

    Raises:
        OptionError: All of them together don't fill a part.
    """
    _, first, counts = np.unique(labels, return_index=True, return_counts=True)
    supers = int(codes.max(initial=-1)) + 1
    number = np.bincount(codes[first], minlength=supers)
    given = np.where(repeats, images, np.minimum(counts, images))
    room = np.bincount(codes[first], weights=given, minlength=supers)

    def too_small(number, room):
        return (number < classes) | (room < classes * images)

    small = too_small(number, room)
    if not small.any():
        return codes, supers
    for smallest in np.argsort(np.where(small, 0, number), kind="stable"):
        small[smallest] |= too_small(number[small].sum(), room[small].sum())
    if too_small(number[small].sum(), room[small].sum()):
        given = number_of(int(room.sum()), "image")
        raise OptionError(
            "sampler.classes_per_super_class",
            f"is {classes}, with {number_of(images, 'image')} each, but the training split has "
            f"{number_of(int(number.sum()), 'class')}, which give {given}; "
            "lower it or sampler.images_per_class",
        )
    large = np.flatnonzero(~small)
    new = np.zeros(supers, np.int64)  # 0: the joined one
    new[large] = 1 + np.arange(len(large))
    return new[codes], 1 + len(large)
