"""A network of one's own: the size of its images, and models that take something else."""

import keras
import numpy as np
import pytest

from dml.backbones import Own
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.errors import DataError, OptionError
from dml.recipe import load_recipe
from dml.runs import Trainer


def saved(folder, *shapes):
    """Returns the path of a saved model of inputs of these shapes."""
    images = [keras.Input(shape) for shape in shapes]
    features = [keras.layers.Flatten()(image) for image in images if None not in image.shape[1:]]
    features += [keras.layers.GlobalMaxPooling2D()(i) for i in images if None in i.shape[1:]]
    whole = keras.layers.Concatenate()(features) if shapes[1:] else features[0]
    keras.Model(images, whole).save(folder / "own.keras")
    return str(folder / "own.keras")


@pytest.mark.parametrize(
    "shape, sides",
    [((28, 28, 3), (28, 32)), ((None, None, 3), (224, 256)), ((None, 28, 3), (28, 32))],
)
def test_the_size_of_images_is_the_models(tmp_path, shape, sides):
    backbone = Own(path=saved(tmp_path, shape)).resolved()
    assert (backbone.input_size, backbone.resize_side) == sides  # the other is 8/7 of it
    encoder = build_encoder(Own(path=backbone.path), EmbeddingOptions(dim=2))
    assert encoder.predict_on_batch(np.zeros((1, 40, 30, 3), "uint8")).shape == (1, 2)


def test_a_model_of_any_size_takes_the_size_that_is_given(tmp_path):
    encoder = build_encoder(Own(path=saved(tmp_path, (None, None, 3)), input_size=32))
    assert encoder.get_layer("network").input_shape == (None, 32, 32, 3)


def test_another_size_than_the_models_is_refused(tmp_path):
    path = saved(tmp_path, (28, 28, 3))
    text = r"backbone\.input_size is 32, but .*own\.keras takes images of 28 x 28: set it to 28"
    with pytest.raises(OptionError, match=text):
        build_encoder(Own(path=path, input_size=32))


@pytest.mark.parametrize(
    "shapes, message",
    [
        ([(28, 28, 1)], r"takes \(28, 28, 1\): a backbone takes RGB images \(S, S, 3\)"),
        ([(28, 32, 3)], r"takes \(28, 32, 3\): a backbone"),
        ([(3, 28, 28)], r"takes \(3, 28, 28\): a backbone"),
        ([(7,)], r"takes \(7\): a backbone"),
        ([(28, 28, 3), (28, 28, 3)], "takes 2 inputs: a backbone takes one, images"),
    ],
)
@pytest.mark.parametrize("size", [0, 28])
def test_a_model_of_something_else_is_refused(tmp_path, shapes, message, size):
    path = saved(tmp_path, *shapes)
    with pytest.raises(DataError, match=rf"own\.keras: {message}"):
        build_encoder(Own(path=path, input_size=size))


def test_a_recipe_needs_no_size(tmp_path):
    path = saved(tmp_path, (28, 28, 3))
    flags = ["--dataset.name", "glyphs", "--backbone.name", "own", "--backbone.path", path]
    backbone = Trainer(load_recipe("adapt", flags)).recipe.backbone
    assert (backbone.input_size, backbone.resize_side) == (28, 32)
