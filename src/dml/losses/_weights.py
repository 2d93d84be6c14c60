"""Weights of single images, which losses that compare images do not have."""

from dml.errors import ArrayError


def check_no_weights(sample_weight: object) -> None:
    """Raises ArrayError if Keras is given weights of samples or classes."""
    if sample_weight is not None:
        raise ArrayError(
            "a metric learning loss compares images with each other and has no weights of single "
            "ones (sample_weight, class_weight). Draw some classes more often, by "
            "dml.samplers.Weighted, or let all count alike: "
            "dml.losses.reduced(loss, dml.reductions.ClassWeighted())"
        )
