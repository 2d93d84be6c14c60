"""The squares that encoders resize images to, in any runtime."""

import keras
import pytest

from dml.backbones import Conv4
from dml.encoding import OnnxEncoder, build_encoder
from dml.encoding._interface import Preparation, preparation_of
from dml.errors import OptionError
from tests.bundles import write_bundle


def test_keras_and_onnx_encoders_say_which_squares_they_see(tmp_path):
    model = build_encoder(Conv4(input_size=16, resize_side=18, aspect="stretch"))
    assert preparation_of(model) == Preparation(18, 16, "stretch")
    bundle = write_bundle(tmp_path / "bundle", side=24)
    assert preparation_of(OnnxEncoder(bundle)) == Preparation(24, 24, "keep")


def test_another_model_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(OptionError, match=r"encoder must be a model of dml\.build_encoder"):
        preparation_of(model)


@pytest.mark.parametrize(
    "sides, aspect, option",
    [
        ((0, 0), "keep", "input_size"),
        ((16, 18), "keep", "input_size"),
        ((8193, 16), "keep", "input_size"),
        ((16.0, 16), "keep", "input_size"),
        ((True, True), "keep", "input_size"),
        ((16, 16), "crop", "aspect"),
    ],
)
def test_squares_that_can_not_be_are_refused(sides, aspect, option):
    with pytest.raises(OptionError) as caught:
        Preparation(*sides, aspect)
    assert caught.value.option == option
