"""Histograms that have gradients."""

from keras import ops

from dml.ops.masks import as_weights


def soft_histogram(x, mask, low, high, bins):
    """Returns the histograms (B, bins + 1) of the rows of x (B, R), by its mask's weights.

    Each value is divided between the two bin centres around it, in proportion to nearness. Takes
    one pass for any number of bins.

    Args:
        x: Floats (B, R).
        mask: Booleans, or floats in [0, 1], (B, R).
        low: The first bin centre.
        high: The last one.
        bins: Steps from the one to the other; positive.
    """
    places = ops.clip((x - low) * (bins / (high - low)), 0.0, float(bins))
    lower = ops.clip(ops.floor(ops.stop_gradient(places)), 0.0, float(bins - 1))
    upper_share = places - lower
    rows = ops.shape(x)[0]
    row = ops.arange(rows, dtype="int32")[:, None] * (bins + 1)
    first = ops.reshape(ops.cast(lower, "int32") + row, (-1,))
    chosen = as_weights(mask)

    def counts(share, cells):
        return ops.segment_sum(ops.reshape(share * chosen, (-1,)), cells, rows * (bins + 1))

    total = counts(1.0 - upper_share, first) + counts(upper_share, first + 1)
    return ops.reshape(total, (-1, bins + 1))
