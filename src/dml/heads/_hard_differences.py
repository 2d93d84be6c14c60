"""Differences of distances in the hardest triplets of a batch."""

from keras import ops

from dml.ops import as_weights, euclidean, pair_masks, present


def hard_differences(embeddings, labels):
    """Returns how much farther each positive is than the pair's nearest negative, and its weight.

    Both (B, B), for anchors and positives, by Euclidean distance; the negative is the nearest to
    either of the two. Weight 0 where the pair is not positive or has no negative.
    """
    d = euclidean(embeddings, embeddings)
    positive, negative = pair_masks(labels)
    nearest = ops.amin(ops.where(present(negative), d, 4.0), axis=1)  # no distance exceeds 2
    nearest = ops.minimum(nearest[:, None], nearest[None, :])
    found = ops.cast(nearest < 3.0, "float32")
    return ops.where(nearest < 3.0, d - nearest, ops.zeros_like(d)), as_weights(positive) * found
