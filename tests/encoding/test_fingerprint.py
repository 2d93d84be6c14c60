"""Models that compute the same have one fingerprint, others have others."""

import keras
import pytest

from dml.backbones import Conv4
from dml.encoding._fingerprint import fingerprint
from dml.encoding._stages import features_of
from dml.encoding.encoder import EmbeddingOptions, build_encoder


def encoder(seed=0, pooling="average", **options):
    keras.utils.set_random_seed(seed)
    backbone = Conv4(**{"input_size": 16, "resize_side": 16, "filters": 4, **options})
    return build_encoder(backbone, EmbeddingOptions(dim=4, pooling=pooling))


def of(model):
    return fingerprint(features_of(model))


def test_is_the_same_for_another_model_with_the_same_weights(tmp_path):
    first = encoder()
    keras.layers.GlobalAveragePooling2D(), keras.layers.Conv2D(1, 1)  # names are counted up
    assert of(encoder()) == of(first) == of(first)
    first.save(tmp_path / "encoder.keras")
    assert of(keras.saving.load_model(tmp_path / "encoder.keras")) == of(first)


def test_does_not_depend_on_what_is_trained():
    model = encoder()
    before = of(model)
    model.get_layer("network").get_layer("conv4").trainable = False
    model.get_layer("network").get_layer("embedding").kernel.assign_add(
        keras.ops.ones((4, 4))
    )  # behind the features
    assert of(model) == before


@pytest.mark.parametrize(
    "options", [{"seed": 1}, {"pooling": "max"}, {"filters": 5}, {"input_size": 17}]
)
def test_differs_for_other_networks(options):
    options = {"resize_side": 17, **options}
    assert of(encoder(**options)) != of(encoder(resize_side=17))


def test_differs_for_another_number_type():
    before = keras.config.dtype_policy()
    expected = of(encoder())
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert of(encoder()) != expected
    finally:
        keras.config.set_dtype_policy(before)


def test_differs_for_one_other_weight():
    model = encoder()
    before = of(model)
    statistics = model.get_layer("network").get_layer("conv4").weights[-1]
    statistics.assign_add(keras.ops.full(statistics.shape, 1e-6))
    assert of(model) != before
