"""Vectors are in the order of the images, for any batch size."""

import keras
import numpy as np
import pytest

from dml.backbones import Conv4
from dml.encoding.embed import embed_images
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.errors import DivergenceError, OptionError
from dml.images import ImageError, read_image

# Of the size that the encoder wants: OpenCV and Keras do not resize alike to the last digit.
PATHS = [f"glyph:seed=0,size=20,class={c},sample=0" for c in range(7)]


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    backbone = Conv4(input_size=16, resize_side=20, filters=16)
    return build_encoder(backbone, EmbeddingOptions(dim=8))


@pytest.fixture(scope="module")
def vectors(encoder):
    """Returns the vectors of the images one by one, past `embed`."""
    images = [read_image(path)[None] for path in PATHS]
    return np.concatenate([keras.ops.convert_to_numpy(encoder(image)) for image in images])


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_row_i_is_path_i(encoder, vectors, batch_size):
    found = embed_images(encoder, PATHS, batch_size)
    assert found.dtype == np.float32 and found.shape == (7, 8)
    np.testing.assert_allclose(found, vectors, atol=1e-5)
    assert len(np.unique(found.round(3), axis=0)) == 7


def test_no_images_give_no_vectors(encoder):
    assert embed_images(encoder, []).shape == (0, 8)


def test_a_single_path_is_no_list_of_letters(encoder):
    with pytest.raises(OptionError, match=r"paths must be a list, such as \['a\.jpg'\]"):
        embed_images(encoder, "a.jpg")


def test_says_how_far_it_is(encoder):
    done = []
    embed_images(encoder, PATHS, batch_size=3, advance=done.append)
    assert done == [3, 3, 1]


def test_names_the_image_that_cannot_be_read(encoder, tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        embed_images(encoder, [PATHS[0], str(path)])


def test_a_diverged_encoder_is_no_answer(encoder):
    diverged = keras.models.clone_model(encoder)
    diverged.set_weights([np.full_like(w, np.nan) for w in encoder.get_weights()])
    with pytest.raises(DivergenceError, match=r"class=0,sample=0 is not finite: training diverged"):
        embed_images(diverged, PATHS)
