"""The stages that a recipe describes."""

import keras
import numpy as np
import pytest

from dml._storage.run_folder import RunFolder
from dml.ops import unit_length
from dml.recipe import load_recipe
from dml.reporting import SILENT
from dml.runs._stages import Stages
from dml.runs.trainer import Trainer
from tests.runs.running import flags


def fine_tuning(path, **changes):
    """Returns the items and the fine-tuning of a small recipe."""
    recipe, folder = load_recipe("glyphs", flags(**changes)), RunFolder(path)
    items = recipe.dataset.items()
    learner, train = Trainer(recipe)._prepare(recipe, items).learner, items.select("train")
    stages = Stages(recipe, learner, 1, train, None, None, folder, folder, SILENT)
    return train, stages.fine_tuning()


def test_batches_are_a_function_of_the_seed_and_the_epoch(tmp_path):
    def first(seed, epoch=0):
        _, stage = fine_tuning(tmp_path, training__seed=seed)
        images, labels = next(iter(stage.batches(epoch, None)))
        return np.asarray(images), np.asarray(labels).tolist()

    images, labels = first(0)
    assert images.shape == (12, 16, 16, 3)
    np.testing.assert_array_equal(first(0)[0], images)
    assert first(0)[1] == labels
    assert first(1)[1] != labels and first(0, epoch=1)[1] != labels


@pytest.mark.parametrize("loss", ["proxy_anchor", "multi_similarity"])
def test_classes_are_where_their_proxies_or_their_images_are(tmp_path, loss):
    changes = {"sampler__name": "hard_class", "loss__name": loss}
    items, stage = fine_tuning(tmp_path, **changes)
    if loss == "proxy_anchor":
        expected = unit_length(stage.learner.head.proxies)[:, 0]
        expected = keras.ops.convert_to_numpy(expected)
    else:
        import dml

        vectors = dml.embed_images(stage.learner.encoder, items.paths)
        expected = np.stack([vectors[items.labels == code].sum(axis=0) for code in range(4)])
    found = stage.class_vectors()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert fine_tuning(tmp_path)[1].class_vectors is None  # this sampler does not read them


def test_a_stage_without_validation_does_not_validate(tmp_path):
    _, stage = fine_tuning(tmp_path)
    assert stage.validate is None and not stage.has_begun
