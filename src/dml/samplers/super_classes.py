"""Super-labels, checked, and joined where a super-class is too small for its part of a batch."""

import numpy as np


def checked(super_labels, labels):
    """Returns the super-labels (N,) as codes from 0, in the order of the labels.

    Raises:
        ValueError: There are none, or not one for each class.
    """
    if super_labels is None:
        raise ValueError(
            "sampler hierarchical needs a super-label for each image, and this data set has none; "
            "m_per_class needs none"
        )
    super_labels, labels = np.asarray(super_labels), np.asarray(labels)
    if super_labels.shape != labels.shape:
        raise ValueError(
            "super_labels must be one for each image; "
            f"got the shapes {super_labels.shape} and {labels.shape}"
        )
    _, first, which = np.unique(labels, return_index=True, return_inverse=True)
    of_class = super_labels[first][which]
    if len(rows := np.flatnonzero(super_labels != of_class)):
        row = rows[0]
        raise ValueError(
            f"a class must have one super-class; class {labels[row]} has {of_class[row]} "
            f"and {super_labels[row]}"
        )
    return np.unique(super_labels, return_inverse=True)[1]


def joined(codes, labels, classes, images, repeats):
    """Returns the codes (N,) with those too small joined to one, and how many are left.

    Too small is a super-class that has not the classes or images to fill its part of a batch.
    Where they don't fill it together either, the next smallest joins them.

    Args:
        codes: Integers (N,) from 0: the super-class of each row.
        labels: Integers (N,).
        classes: P, classes in a part.
        images: K, images of a class.
        repeats: Whether a class with fewer images gives as many, by repeating them.

    Raises:
        ValueError: All of them together don't fill a part.
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
        raise ValueError(
            f"a part of {classes} classes with {images} images each can't be filled: there are "
            f"{number.sum()} classes, which give {int(room.sum())}; lower "
            "sampler.classes_per_super_class or sampler.images_per_class"
        )
    large = np.flatnonzero(~small)
    new = np.zeros(supers, np.int64)  # 0: the joined one
    new[large] = 1 + np.arange(len(large))
    return new[codes], 1 + len(large)
