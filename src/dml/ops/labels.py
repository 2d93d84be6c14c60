"""Interpretation of labels: integers, relations, and memberships of classes."""

from keras import ops

from dml.errors import ArrayError


def is_relation(labels) -> bool:
    """Returns whether `labels` is a matrix, of relations or memberships, not one class each.

    Args:
        labels: Integers (B,) or (B, 1), or floats (B, N).

    Raises:
        ArrayError: TensorFlow compiled the step for labels of another rank, and does not know it.
    """
    if getattr(labels.shape, "rank", 0) is None:
        raise ArrayError(
            "labels have another number of axes than in an earlier call: compile() the model again"
        )
    return len(labels.shape) == 2 and labels.shape[1] != 1


def relation_of(labels):
    """Returns the relation (B, B) in a matrix of labels.

    One-hot labels of a batch as large as its classes look like a relation. The difference is that
    a relation has ones on its diagonal, and so more than one in the rows of images with a positive.

    Args:
        labels: Floats (B, B): a relation, or one-hot labels, whose rows hold a single 1 each.

    Raises:
        ArrayError: The matrix is not square; in a graph of TensorFlow for batches of any size, an
            `InvalidArgumentError`.
    """
    rows, columns = labels.shape
    wanted = "labels must be one class for each image, (B,), or a relation, (B, B)"
    remedy = f"got ({rows or 'B'}, {columns}): of one-hot labels, pass np.argmax(labels, axis=1)"
    if rows is None:  # TensorFlow only knows it in each step
        import tensorflow as tf

        same = tf.debugging.assert_equal(tf.shape(labels)[0], columns, f"{wanted}; {remedy}")
        with tf.control_dependencies([same]):
            labels = tf.identity(labels)
    elif rows != columns:
        raise ArrayError(f"{wanted}; {remedy}")
    labels = ops.cast(labels, "float32")
    ones = ops.sum(ops.cast(labels == 1.0, "int32"), axis=1)
    zeros = ops.sum(ops.cast(labels == 0.0, "int32"), axis=1)
    one_hot = ops.all(ops.logical_and(ones == 1, zeros == columns - 1))
    return ops.where(one_hot, ops.matmul(labels, ops.transpose(labels)), labels)


def same_label(labels):
    """Returns the boolean (B, B) matrix of pairs of one class, self-pairs included.

    Args:
        labels: Integers (B,), or a relation (B, B), of which pairs above 0.5 are of one class.
    """
    labels = ops.convert_to_tensor(labels)
    if is_relation(labels):
        return ops.logical_or(labels > 0.5, ops.eye(ops.shape(labels)[0], dtype="bool"))
    return labels[:, None] == labels[None, :]


def relation_of_distinct(labels, samples):
    """Returns the relation (B, B) of labels, with NaN (unknown) for pairs of one image.

    Args:
        labels: Integers (B,), or a relation (B, B).
        samples: Integers (B,), the image of each row; negative where it is not known.
    """
    twins = (samples[:, None] == samples[None, :]) & (samples >= 0)[:, None]
    same = labels if is_relation(labels) else labels[:, None] == labels[None, :]
    return ops.where(twins, float("nan"), ops.cast(same, "float32"))


def relation_of_memberships(shares):
    """Returns the relation (B, B) of images by the classes that they share.

    The sum over the classes of the product of two images' shares, at most 1.

    Args:
        shares: Memberships, floats (B, classes) in [0, 1].
    """
    shares = ops.cast(shares, "float32")
    return ops.minimum(ops.matmul(shares, ops.transpose(shares)), 1.0)


def memberships(labels, classes: int):
    """Returns the mask (B, classes) of each sample's own classes.

    Args:
        labels: Integers (B,), for a boolean mask; or floats (B, classes) in [0, 1], returned
            unchanged: the degree to which each sample belongs to each class.
        classes: Positive.
    """
    if is_relation(labels):
        return labels
    return labels[:, None] == ops.arange(classes, dtype=labels.dtype)[None, :]


def own_column(x, labels):
    """Returns the entry (B, 1) of x (B, classes) at each sample's own class.

    The last entry, if x has no such class, as for unseen classes in evaluation.

    Args:
        x: Floats (B, classes).
        labels: Integers (B,).
    """
    last = x.shape[1] - 1
    places = ops.where(has_column(labels, x.shape[1]), labels, last)
    return ops.take_along_axis(x, places[:, None], axis=1)


def has_column(labels, classes: int):
    """Returns whether each of integer labels (B,) is one of the classes, booleans (B,).

    Args:
        labels: Integers (B,).
        classes: Positive.
    """
    return ops.logical_and(labels >= 0, labels < classes)
