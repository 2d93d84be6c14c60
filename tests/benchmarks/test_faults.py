"""The faults of dml-tf are what they are said to be."""

import faults
import keras
import numpy as np
import pytest

from dml.backbones import Conv4
from dml.encoding import EmbeddingOptions, build_encoder
from dml.losses import ProxyNCA
from dml.training import OptimizerOptions, build_optimizer

CONV4 = Conv4(input_size=16, resize_side=16, filters=4)


def test_pixels_are_multiplied_and_nothing_else_changes():
    backbone = faults.with_pixels_times(CONV4, 1 / 255)
    images = np.full((1, 16, 16, 3), 51, "uint8")
    scaled = keras.ops.convert_to_numpy(backbone.scaling()(images))
    np.testing.assert_allclose(scaled, 0.2, rtol=1e-5)
    assert vars(backbone) == vars(CONV4)


def test_proxies_of_64_dimensions_have_entries_of_deviation_1():
    head = faults.LongProxyNCA().head(2_000, 64)
    head.build((None, 64))
    assert np.std(keras.ops.convert_to_numpy(head.proxies)) == pytest.approx(1, abs=0.01)


def test_the_first_loss_is_that_of_the_paper_where_it_is_positive():
    labels, cosines = np.array([0, 1]), np.array([[0.1, 0.5, 0.2], [0.3, 0.2, 0.4]])
    loss = faults.FirstProxyNCA(scale=4.0)(labels, cosines)
    assert float(loss) == pytest.approx(
        float(ProxyNCA(scale=4.0, form="cosine")(labels, cosines)), rel=1e-5
    )


def test_the_first_loss_ends_at_0():
    # Of the first image log(e^-4 + e^-4) - 4 < 0, of the second log(e^0 + e^2) - 0 = 2.127.
    cosines = np.array([[1.0, -1.0, -1.0], [0.0, 0.0, 0.5]])
    loss = faults.FirstProxyNCA(scale=4.0)(np.array([0, 1]), cosines)
    assert float(loss) == pytest.approx(2.127 / 2, abs=1e-3)


def test_orthogonality_by_hand():
    # Products of pairs: 2, 0 and 3; (4 + 0 + 9) / (2 * 2), times 0.1.
    proxies = np.array([[[1.0, 0.0]], [[2.0, 3.0]], [[0.0, 1.0]]], "float32")
    assert float(faults.LongOrthogonality(0.1)(proxies)) == pytest.approx(1.3 / 4, rel=1e-5)


@pytest.mark.usefixtures("eager_training")
def test_decay_takes_its_share_at_any_rate():
    keras.utils.set_random_seed(0)
    learner = faults.UnscaledDecay(
        build_encoder(CONV4, EmbeddingOptions(dim=4)), ProxyNCA(), classes=2
    )
    options = OptimizerOptions(learning_rate=1e-12, head_learning_rate=1e-12, weight_decay=1e-4)
    learner.compile(build_optimizer(learner, options, steps_per_epoch=2, epochs=1))
    before = [keras.ops.convert_to_numpy(v) for v in learner.trainable_variables]
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype="uint8")
    learner.fit(images, np.arange(8) % 2, batch_size=4, epochs=1, verbose=0)
    for value, variable in zip(before, learner.trainable_variables, strict=True):
        after = keras.ops.convert_to_numpy(variable)
        np.testing.assert_allclose(after, value * (1 - 1e-4) ** 2, rtol=1e-5, atol=1e-7)
