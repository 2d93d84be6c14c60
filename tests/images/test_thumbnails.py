"""Images small enough to embed in a page."""

import base64

import numpy as np
import pytest
import simplejpeg

from dml.images._thumbnails import SIDE, shrunk, thumbnail_uri


def decoded(uri):
    kind, data = uri.split(",")
    assert kind == "data:image/jpeg;base64"
    return simplejpeg.decode_jpeg(base64.b64decode(data))


@pytest.mark.parametrize("shape", [(300, 400, 3), (10, 7, 3), (50, 50), (50, 60, 1)])
def test_any_image_becomes_a_square(shape):
    image = np.full(shape, 200, np.uint8)
    shown = decoded(thumbnail_uri(image))
    assert shown.shape == (SIDE, SIDE, 3)
    np.testing.assert_allclose(shown, 200, atol=3)


def test_shows_the_middle_in_its_colours():
    image = np.zeros((40, 120, 3), np.uint8)
    image[:, 40:80] = (250, 20, 20)
    assert (np.abs(decoded(thumbnail_uri(image, side=32)).astype(int) - (250, 20, 20)) < 12).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_refuses_what_is_no_image(image):
    with pytest.raises(ValueError, match="an image must be uint8"):
        thumbnail_uri(image)


@pytest.mark.parametrize(
    "shape, wanted",
    [((300, 900, 3), (100, 300, 3)), ((10, 7), (10, 7, 3)), ((2000, 1, 3), (300, 1, 3))],
)
def test_a_whole_image_fits(shape, wanted):
    assert shrunk(np.zeros(shape, np.uint8), 300).shape == wanted
