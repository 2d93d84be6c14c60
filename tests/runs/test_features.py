"""Features of the frozen network."""

import keras
import numpy as np
import pytest

from dml._storage.run_folder import RunFolder
from dml.datasets import RecordedItems
from dml.encoding import EmbeddingOptions, build_encoder, embed_images
from dml.recipe import load_recipe
from dml.reporting import SILENT
from dml.runs import _features
from dml.runs._features import FrozenFeatures
from dml.runs._times import StageTimes
from tests.runs.running import flags


@pytest.fixture(scope="module", params=["full", "head"])
def case(request, tmp_path_factory):
    """Returns the items, the features, and the network that ends with them."""
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    recipe = load_recipe("glyphs", flags(training__stage=request.param, head_stage__views=1))
    items = recipe.dataset.items()
    recorded = RecordedItems.of(items)
    recorded.write(folder.items)
    folder.begin(recipe.to_toml(), recipe.parts)
    folder.record(folder.items)
    keras.utils.set_random_seed(0)
    encoder = build_encoder(recipe.backbone, recipe.embedding)
    pooled = build_encoder(recipe.backbone, EmbeddingOptions(dim=0))
    size = len(pooled.variables)
    for variable, value in zip(pooled.variables, encoder.variables[:size], strict=True):
        variable.assign(value)
    features = FrozenFeatures(
        recipe, encoder, items, folder, folder.features, "train", StageTimes(), SILENT
    )
    return items, features, pooled


def test_they_are_the_pooled_features(case):
    items, features, pooled = case
    validation, train = items.select("val"), items.select("train")
    assert features.dimension == 8
    for found, part, places in (
        (features.validation, validation, 1e-5),
        (features.of(validation, "title"), validation, 1e-5),
        (features.for_components(), train, 2e-3),  # those that a head trains on are float16
    ):
        expected = embed_images(pooled, part.paths)
        found = found / np.linalg.norm(found, axis=1, keepdims=True)
        np.testing.assert_allclose(found, expected, atol=places)


def test_components_are_of_images_drawn_at_random(case, monkeypatch):
    _, features, _ = case
    every = features.for_components()
    monkeypatch.setattr(_features, "MOST_COMPONENT_IMAGES", 5)
    found = features.for_components()
    rows = [np.flatnonzero((every == row).all(axis=1))[0] for row in found]
    assert len(rows) == 5 and rows == sorted(set(rows)) and rows != list(range(5))
    np.testing.assert_array_equal(features.for_components(), found)
