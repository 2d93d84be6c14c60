"""Each family of weights gets the input range it was trained on, as in keras.applications."""

import keras
import numpy as np
import pytest
from keras import ops

from dml.backbones._scaling import MODES, InputScaling

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), dtype="uint8")


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_agrees_with_keras(mode):
    preprocess_input = keras.applications.imagenet_utils.preprocess_input
    expected = preprocess_input(IMAGES.astype("float32"), mode=mode)
    found = ops.convert_to_numpy(InputScaling(mode)(IMAGES))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_none_leaves_the_values():
    np.testing.assert_array_equal(ops.convert_to_numpy(InputScaling("none")(IMAGES)), IMAGES)


def test_tf_by_hand():
    ends = ops.convert_to_numpy(InputScaling("tf")(np.full((1, 1, 1, 3), 255, "uint8")))
    np.testing.assert_allclose(ends, 1)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_saves_and_loads(mode):
    layer = InputScaling(mode)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.mode == mode
    assert copy.compute_output_shape((None, 8, 8, 3)) == (None, 8, 8, 3)
