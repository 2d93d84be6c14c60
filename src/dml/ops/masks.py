"""Masks of pairs: boolean, or float weights in [0, 1] where relations are graded."""

from keras import backend, ops

from dml.ops.labels import is_relation, same_label


def pair_masks(labels):
    """Returns the masks (B, B) of positive and of negative pairs; self-pairs are neither.

    Args:
        labels: Integers (B,), for boolean masks; or a relation, floats (B, B), for float ones: r
            is a positive pair of weight r and a negative one of weight 1 - r, NaN is neither.
    """
    labels = ops.convert_to_tensor(labels)
    itself = ops.eye(ops.shape(labels)[0], dtype="bool")
    if is_relation(labels):
        return relation_masks(ops.where(itself, float("nan"), labels))
    same = same_label(labels)
    return ops.logical_and(same, ~itself), ~same


def class_sizes(labels):
    """Returns how many images of the batch are of each one's class, itself included, floats (B,).

    Args:
        labels: Integers (B,), or a relation (B, B), whose pairs count by how far they are related.
    """
    return 1.0 + ops.sum(as_weights(pair_masks(labels)[0]), axis=1)


def relation_masks(relation):
    """Returns the float masks (B, R) of positive and of negative pairs; NaN is neither.

    Args:
        relation: Floats (B, R) in [0, 1], or NaN.
    """
    known = ops.logical_not(ops.isnan(relation))
    safe = ops.where(known, relation, ops.zeros_like(relation))
    return safe, ops.where(known, 1.0 - safe, ops.zeros_like(relation))


def is_boolean(mask) -> bool:
    """Returns whether a mask is boolean rather than weights.

    Args:
        mask: Booleans, or floats in [0, 1], of any shape.
    """
    return backend.standardize_dtype(mask.dtype) == "bool"


def present(mask):
    """Returns, as booleans, where a mask (...) has a pair.

    Args:
        mask: Booleans, or floats in [0, 1], of any shape.
    """
    return mask if is_boolean(mask) else mask > 0


def complement(mask):
    """Returns the complement of a mask (...).

    Args:
        mask: Booleans, or floats in [0, 1], of any shape.
    """
    return ops.logical_not(mask) if is_boolean(mask) else 1.0 - mask


def as_weights(mask):
    """Returns a mask (...) as float32.

    Args:
        mask: Booleans, or floats in [0, 1], of any shape.
    """
    return ops.cast(mask, "float32")


def keep(mask, where):
    """Returns a mask (...) without the pairs where booleans `where` are false.

    Args:
        mask: Booleans, or floats in [0, 1], of any shape.
        where: Booleans of the same shape.
    """
    if is_boolean(mask):
        return ops.logical_and(mask, where)
    return ops.where(where, mask, ops.zeros_like(mask))
