"""Tests specific to sampling by the size of classes."""

import numpy as np
import pytest

from dml.samplers import Weighted

LABELS = np.repeat([0, 1, 2], [400, 100, 25])


def visits(power, epochs=200):
    sampler = Weighted(batch_size=25, power=power)
    rows = np.concatenate([sampler.batches(LABELS, e, seed=0) for e in range(epochs)])
    return np.bincount(rows.ravel(), minlength=len(LABELS)) / epochs


def test_by_hand():
    # Square roots of the counts are 20, 10 and 5: 300, 150 and 75 of the epoch's 525 images.
    per_class = np.bincount(LABELS, weights=visits(0.5))
    np.testing.assert_allclose(per_class, [300, 150, 75], rtol=0.02)


def test_from_all_images_alike_to_all_classes_alike():
    np.testing.assert_allclose(visits(0.0), 1)
    np.testing.assert_allclose(np.bincount(LABELS, weights=visits(1.0)), 175, rtol=0.02)


def test_images_of_a_class_are_visited_alike():
    seen = visits(0.5, epochs=400)
    for label in range(3):
        own = seen[label == LABELS]
        np.testing.assert_allclose(own, own.mean(), rtol=0.25)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"power": 2.0}])
def test_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Weighted(**options)


def test_the_only_image_of_a_class_is_in_every_batch_where_all_classes_are_alike():
    # 7 classes share batches of 7: an image of the first is needed once in each of the 5.
    labels = np.repeat(np.arange(7), [1, 15, 8, 9, 2, 3, 1])
    for epoch in range(5):
        batches = Weighted(batch_size=7, power=1.0).batches(labels, epoch, seed=0)
        assert [sorted(np.bincount(batch, minlength=39)[[0, 38]]) for batch in batches] == [
            [1, 1]
        ] * 5
        assert all(len(set(batch)) == 7 for batch in batches.tolist())


@pytest.mark.parametrize("classes", range(2, 12))
def test_rounding_refuses_no_batch_of_one_image_of_each_class(classes):
    rng = np.random.default_rng(classes)
    for _ in range(20):
        sizes = np.append(1, rng.integers(1, 20, classes - 1))
        batches = Weighted(batch_size=classes, power=1.0).batches(
            np.repeat(np.arange(classes), sizes), 0, seed=1
        )
        assert (batches == 0).sum(axis=1).tolist() == [1] * (sizes.sum() // classes)


def test_refuses_to_take_an_image_twice_for_a_batch():
    with pytest.raises(ValueError, match="lower it"):
        Weighted(batch_size=50, power=1.0).batches(np.repeat([0, 1], [99, 1]), 0, 0)
