"""Chooses by the frozen network whether images are cropped or stretched to squares."""

import dataclasses

from dml.datasets import Items
from dml.recipe import Recipe, options_of
from dml.reporting import Reporter
from dml.runs._measuring import embed
from dml.runs._selection import Scores
from dml.runs._validation import is_measured


def with_best_aspect(recipe: Recipe, validation: Items, reporter: Reporter) -> Recipe:
    """Returns a recipe with the aspect in which the frozen network finds more validation images.

    The recipe's own aspect stays unless R@1 with the other one is higher by more than a standard
    error, and without a validation split of two classes.

    Args:
        recipe: A recipe with `training.select_aspect`.
        validation: The validation split.
        reporter: Receives the scores and progress.
    """
    own = recipe.backbone.aspect
    if not is_measured(validation):
        return _with_aspect(recipe, own)
    left_out = validation.left_out_keys(recipe.evaluation.exclude)
    scores = {}
    for aspect in ("keep", "stretch"):
        vectors = _features(_with_aspect(recipe, aspect), validation, reporter)
        scores[aspect] = Scores.of(vectors, validation.search_labels, left_out)
    other = next(aspect for aspect in scores if aspect != own)
    gain, error = scores[other].difference(scores[own])
    chosen = other if gain > error else own
    reporter.info(
        f"frozen network in validation: R@1 {100 * scores['keep'].recall:.1f} with the middle "
        f"square of each image, {100 * scores['stretch'].recall:.1f} with the whole image "
        f"stretched to a square: aspect = {chosen}"
    )
    return _with_aspect(recipe, chosen)


def _with_aspect(recipe: Recipe, aspect: str) -> Recipe:
    """Returns a recipe with an aspect in place of the choice."""
    augmentation = recipe.augmentation
    if "aspect" in (option.name for option in options_of(type(augmentation))):
        augmentation = dataclasses.replace(augmentation, aspect=aspect)
    return dataclasses.replace(
        recipe,
        backbone=dataclasses.replace(recipe.backbone, aspect=aspect),
        augmentation=augmentation,
        training=dataclasses.replace(recipe.training, select_aspect=False),
    )


def _features(recipe: Recipe, items: Items, reporter: Reporter):
    """Returns the pooled features (N, C) of the network that the training begins with."""
    import keras

    from dml.encoding import build_encoder
    from dml.encoding._stages import feature_encoder

    keras.utils.set_random_seed(recipe.training.seed)  # random weights are those of the training
    encoder = feature_encoder(build_encoder(recipe.backbone, recipe.embedding))
    size, threads = recipe.evaluation.batch_size, recipe.training.threads
    title = f"frozen network, aspect {recipe.backbone.aspect}"
    return embed(encoder, items.paths, size, threads, title, reporter)
