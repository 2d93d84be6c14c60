"""Operations on a batch's similarity matrix, safe where the obvious formula overflows.

A mask of pairs is boolean, or float weights in [0, 1]: of labels, and of graded relations.
"""

from keras import backend, ops


def unit_length(x):
    """Returns float x (..., D) divided by its length; zero, with gradient 0, of a zero vector.

    So it is of vectors shorter than 1e-34, whose gradient float32 can't hold.
    """
    # Squares of tiny entries underflow float32 and those of large ones overflow: scale first.
    largest = ops.stop_gradient(ops.max(ops.abs(x), axis=-1, keepdims=True))
    there = ~(largest <= 1e-34)  # what is not a number is there, too
    x = x / ops.where(there, largest, ops.ones_like(largest))
    squares = ops.sum(ops.square(x), axis=-1, keepdims=True)  # at least 1, but of zero vectors
    inverse = ops.rsqrt(ops.where(there, squares, ops.ones_like(squares)))
    return x * ops.where(there, inverse, ops.zeros_like(inverse))


@ops.custom_gradient
def cosines_to(embeddings, rows):
    """Returns the cosines (B, N) of embeddings (B, D) of length 1 to rows (N, D) of any length.

    0, with gradient 0, of rows shorter than 1e-12 or longer than 1e19. Its own gradient holds two
    (N, D) arrays at most, where that of the formula holds four: rows may be millions of proxies.
    """
    inverse = inverse_length(ops.sum(ops.square(rows), axis=1))
    # Dividing (B, N) products is cheaper than (N, D) rows, where these are many.
    cosines = ops.matmul(embeddings, ops.transpose(rows)) * inverse

    def gradient(*arguments, upstream=None):
        upstream = arguments[0] if upstream is None else upstream
        scaled = upstream * inverse
        along = ops.sum(upstream * cosines, axis=0) * ops.square(inverse)
        turned = ops.matmul(ops.transpose(scaled), embeddings) - along[:, None] * rows
        return ops.matmul(scaled, rows), turned

    return cosines, gradient


def inverse_length(squares):
    """Returns 1 / length of vectors of these squared lengths (...); 0 below a length of 1e-12."""
    there = squares > 1e-24
    return ops.where(there, ops.rsqrt(ops.where(there, squares, 1.0)), 0.0)


def products(x, y):
    """Returns the inner products (B, R) of the rows of x (B, D) and y (R, D).

    Of one matrix with itself, the gradient takes one matrix product in place of two.
    """
    return products_within(x) if x is y else ops.matmul(x, ops.transpose(y))


@ops.custom_gradient
def products_within(x):
    """Returns the inner products (B, B) of the rows of x (B, D)."""

    def gradient(*arguments, upstream=None):
        upstream = arguments[0] if upstream is None else upstream
        return ops.matmul(upstream + ops.transpose(upstream), x)

    return ops.matmul(x, ops.transpose(x)), gradient


def is_relation(labels):
    """Tells whether `labels` is a matrix of relations, not one class for each sample.

    Raises:
        ValueError: TensorFlow, which has compiled the step for labels of other axes, does not say.
    """
    if getattr(labels.shape, "rank", 0) is None:
        raise ValueError(
            "labels have another number of axes than in an earlier call: compile() the model again"
        )
    return len(labels.shape) == 2 and labels.shape[1] != 1


def relation_of(labels):
    """Returns the relation (B, B) that a matrix of labels says.

    One-hot labels of a batch as large as its classes look like a relation. What tells them apart
    is that an image belongs to itself: a relation has ones on its diagonal, and so more of them in
    the rows of images with a positive.

    Args:
        labels: Floats (B, B): a relation, or one-hot labels, whose rows hold a single 1 each.

    Raises:
        ValueError: The matrix is not square; in a graph of TensorFlow for batches of any size, an
            `InvalidArgumentError`.
    """
    rows, columns = labels.shape
    wanted = "labels must be one class for each image, (B,), or a relation, (B, B)"
    remedy = f"got ({rows or 'B'}, {columns}): of one-hot labels, pass np.argmax(labels, axis=1)"
    if rows is None:  # TensorFlow knows it in each step only
        import tensorflow as tf

        same = tf.debugging.assert_equal(tf.shape(labels)[0], columns, f"{wanted}; {remedy}")
        with tf.control_dependencies([same]):
            labels = tf.identity(labels)
    elif rows != columns:
        raise ValueError(f"{wanted}; {remedy}")
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


def relation_masks(relation):
    """Returns the float masks (B, R) of positive and of negative pairs; NaN is neither."""
    known = ops.logical_not(ops.isnan(relation))
    safe = ops.where(known, relation, ops.zeros_like(relation))
    return safe, ops.where(known, 1.0 - safe, ops.zeros_like(relation))


def places_of_samples(samples):
    """Returns the first place (B,) of each sample in the batch, which float32 tells apart.

    Negative ones, of which is not known which image they are, stay so.
    """
    first = ops.argmax(samples[:, None] == samples[None, :], axis=1)
    return ops.where(samples < 0, -1, ops.cast(first, "int32"))


def without_twins(labels, samples):
    """Returns the relation (B, B) of labels in which no pair of one image is known.

    Args:
        labels: Integers (B,), or a relation (B, B).
        samples: Integers (B,): which image each is; negative where it is not known.
    """
    twins = (samples[:, None] == samples[None, :]) & (samples >= 0)[:, None]
    same = labels if is_relation(labels) else labels[:, None] == labels[None, :]
    return ops.where(twins, float("nan"), ops.cast(same, "float32"))


def memberships(labels, classes):
    """Returns the mask (B, classes) of each sample's own classes.

    Args:
        labels: Integers (B,), for a boolean mask; or floats (B, classes) in [0, 1], returned as
            they are: how far each sample belongs to each class.
        classes: Positive.
    """
    if is_relation(labels):
        return labels
    return labels[:, None] == ops.arange(classes, dtype=labels.dtype)[None, :]


def own_column(x, labels):
    """Returns the entry (B, 1) of x (B, classes) that belongs to each sample's own class.

    Of a class that is not there, as of images of other classes in evaluation, it is the last.
    """
    last = x.shape[1] - 1
    return ops.take_along_axis(x, ops.clip(labels, 0, last)[:, None], axis=1)


def is_boolean(mask):
    """Tells a boolean mask from one of weights."""
    return backend.standardize_dtype(mask.dtype) == "bool"


def present(mask):
    """Returns where a mask (...) has a pair at all, as booleans."""
    return mask if is_boolean(mask) else mask > 0


def others(mask):
    """Returns the mask (...) of what `mask` leaves out."""
    return ops.logical_not(mask) if is_boolean(mask) else 1.0 - mask


def weights(mask):
    """Returns a mask (...) as float32."""
    return ops.cast(mask, "float32")


def keep(mask, where):
    """Returns a mask (...) without the pairs where booleans `where` are false."""
    if is_boolean(mask):
        return ops.logical_and(mask, where)
    return ops.where(where, mask, ops.zeros_like(mask))


def log_sum_exp(x, mask, axis):
    """Returns the logarithm of the sum of exp(x) over `axis`, each entry by its mask's weight.

    Minus infinity where there is no entry, with gradient 0; never forms exp(x), which overflows
    float32 above 88.
    """
    return ops.logsumexp(masked(x, mask), axis=axis)


def masked(x, mask):
    """Returns exponents x (...) by their mask's weights: minus infinity where there is none."""
    if not is_boolean(mask):
        x = x + ops.log(ops.where(mask > 0, mask, ops.ones_like(mask)))
    return ops.where(present(mask), x, -float("inf"))


def log1p_sum_exp(x, where, axis):
    """Returns log(1 + sum of exp(x)) over `axis`, each entry by the weight of its mask `where`.

    0 where there is no entry. Its gradient, exp(x - result), keeps no array but x.
    """

    @ops.custom_gradient
    def result_of(x):
        result = ops.softplus(ops.logsumexp(x, axis=axis))

        def gradient(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream
            at = [ops.expand_dims(array, axis) for array in (result, upstream)]
            return ops.exp(x - at[0]) * at[1]

        return result, gradient

    return result_of(masked(x, where))


def weighted_sum(values, by):
    """Returns the sum of values (B, N), each times its weight; no gradient reaches the weights."""

    @ops.custom_gradient
    def result_of(values):
        def gradient(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream
            return upstream * by

        return ops.sum(values * by), gradient

    return result_of(values)


def ratio(total, count):
    """Returns total / count, and 0 where the count is 0."""
    return total / ops.where(count > 0, count, ops.ones_like(count))


def shares(mask):
    """Returns the weights of a mask (B, N) divided by their sum in each row; 0 in empty rows."""
    return ratio(weights(mask), ops.sum(weights(mask), axis=1, keepdims=True))


def mean_over(values, mask, axis=None):
    """Returns the mean of values by a mask's weights, over `axis` or all; 0 where it is empty.

    Values that the mask leaves out may be infinite.
    """
    share = weights(mask)
    chosen = ops.where(share > 0, values, ops.zeros_like(values))
    return ratio(ops.sum(chosen * share, axis=axis), ops.sum(share, axis=axis))


@ops.custom_gradient
def spread_within_classes(proxies):
    """Returns the summed distances of all pairs of a class's directions, of proxies (C, K, D).

    A proxy shorter than 1e-12 or longer than 1e19 is at sqrt(2) from all others, with gradient 0.
    Its own gradient is one array (C, K, D).
    """
    inner = ops.matmul(proxies, ops.transpose(proxies, (0, 2, 1)))
    inverse = inverse_length(ops.diagonal(inner, axis1=1, axis2=2))  # (C, K)
    lengths = inverse[:, :, None] * inverse[:, None, :]
    cosines = ops.where(lengths == 0, 0.0, inner * lengths)  # products of long ones are infinite
    # The 1e-5 of SoftTriple's authors: the root's gradient is infinite where proxies coincide.
    distances = ops.sqrt(ops.maximum(2.0 + 1e-5 - 2.0 * cosines, 1e-5))
    itself = ops.eye(proxies.shape[1])
    pairs = 1.0 - itself

    def gradient(*arguments, upstream=None):
        upstream = arguments[0] if upstream is None else upstream
        by_cosine = -upstream * pairs / distances
        along = ops.sum(by_cosine * cosines, axis=2) * ops.square(inverse)
        return ops.matmul(by_cosine * lengths - itself * along[:, :, None], proxies)

    return 0.5 * ops.sum(distances * pairs), gradient
