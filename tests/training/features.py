"""Small images on disk, and a small encoder, for the tests of cached features."""

import cv2
import keras
import numpy as np

from dml.backbones import Conv4
from dml.datasets.items import Items
from dml.encoding.encoder import EmbeddingOptions, build_encoder

CLASSES, EACH = 4, 5
SIZE = 16


def write_image(path, seed):
    """Writes a picture of 40 x 50 pixels that no other seed has."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(noise, (50, 40), interpolation=cv2.INTER_CUBIC))


def pictures(folder, count=CLASSES * EACH):
    """Returns the items of pictures of a few classes, half of them JPEG."""
    paths = [str(folder / f"{i:02}.{'jpg' if i % 2 else 'png'}") for i in range(count)]
    for i, path in enumerate(paths):
        write_image(path, i)
    names = [f"class {i // EACH}" for i in range(count)]
    return Items.build(paths, names, "train", paths, "zero-shot")


def small_encoder(dim=6, seed=0, **options):
    """Returns an encoder of images of 16 pixels whose BatchNormalization is not the identity."""
    keras.utils.set_random_seed(seed)
    backbone = Conv4(input_size=SIZE, resize_side=20, filters=8)
    encoder = build_encoder(backbone, EmbeddingOptions(dim=dim, **options))
    for weight in encoder.get_layer("network").get_layer("conv4").non_trainable_weights:
        low, high = (-0.5, -0.1) if "mean" in weight.path else (0.1, 0.5)  # few zeros behind ReLU
        weight.assign(keras.random.uniform(weight.shape, low, high, seed=1))
    return encoder
