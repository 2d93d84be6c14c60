"""Characters of random strokes: the same for the same seed, similar within a class."""

import hashlib

import numpy as np
import pytest

from dml.images import _strokes as strokes


def drawn(classes, samples, size=32):
    images = [strokes.render(c, s, size) for c in range(classes) for s in range(samples)]
    return np.stack(images), np.repeat(np.arange(classes), samples)


def test_a_drawing_is_dark_strokes_on_a_light_ground():
    image = strokes.render(0, 0, 64)
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    dark = (image < 128).mean()
    assert 0.01 < dark < 0.5 and image.max() > 200
    assert (image[..., 0] == image[..., 1]).all()


def test_bytes_depend_on_class_sample_size_and_seed_alone():
    def digest(*arguments):
        return hashlib.sha256(strokes.render(*arguments).tobytes()).hexdigest()

    assert digest(3, 7, 64, 0) == digest(3, 7, 64, 0)
    others = {digest(*a) for a in [(3, 7, 64, 0), (4, 7, 64, 0), (3, 8, 64, 0), (3, 7, 64, 1)]}
    assert len(others) == 4


def test_drawings_of_a_class_are_more_alike_than_those_of_others():
    images, labels = drawn(20, 10)
    flat = 255.0 - images[..., 0].reshape(len(images), -1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    similarity = flat @ flat.T
    same = labels[:, None] == labels[None]
    other = similarity[~same].mean()
    assert similarity[same & ~np.eye(len(flat), dtype=bool)].mean() > other + 0.05


@pytest.mark.parametrize("size", [16, 64, 200])
def test_the_character_lies_inside_at_every_size(size):
    for number in range(10):
        image = strokes.render(number, 0, size)
        assert image.shape == (size, size, 3) and (image < 128).any()
