"""What every sampler must do, whoever wrote it. Runs over the registry."""

import dataclasses

import numpy as np
import pytest

from dml.samplers import SAMPLERS, coverage

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 9))


@pytest.fixture(params=sorted(SAMPLERS))
def name(request):
    return request.param


@pytest.fixture
def sampler(name):
    return SAMPLERS[name]()


def test_batches_are_rows_of_one_shape(sampler):
    batches = sampler.batches(LABELS, epoch=0, seed=0)
    assert batches.dtype == np.int64
    assert batches.shape[1] == sampler.batch_size
    assert batches.min() >= 0 and batches.max() < len(LABELS)


def test_depends_on_epoch_and_seed_alone(sampler):
    first = sampler.batches(LABELS, epoch=3, seed=5)
    sampler.batches(LABELS, epoch=0, seed=0)
    np.testing.assert_array_equal(first, sampler.batches(LABELS, epoch=3, seed=5))
    for other in ({"epoch": 4, "seed": 5}, {"epoch": 3, "seed": 6}):
        batches = sampler.batches(LABELS, **other)
        assert batches.shape == first.shape
        assert (batches != first).mean() > 0.5


def test_no_batch_holds_an_image_twice(sampler):
    for epoch in range(5):
        assert coverage(sampler.batches(LABELS, epoch, seed=0), LABELS).copies == 0


def test_every_image_is_seen_over_epochs(sampler):
    batches = np.concatenate([sampler.batches(LABELS, epoch, seed=0) for epoch in range(8)])
    assert coverage(batches, LABELS).images == 1


def test_classes_may_have_any_codes(sampler):
    codes = np.sort(np.random.default_rng(1).choice(2**40, 40, replace=False))
    np.testing.assert_array_equal(
        sampler.batches(codes[LABELS], 1, seed=2), sampler.batches(LABELS, 1, seed=2)
    )


@pytest.mark.parametrize("labels", [np.zeros(0, np.int32), np.arange(3)])
def test_refuses_a_data_set_smaller_than_a_batch(sampler, labels):
    with pytest.raises(ValueError, match="lower"):
        sampler.batches(labels, epoch=0, seed=0)


def test_has_a_docstring_that_names_every_option(name):
    for field in dataclasses.fields(SAMPLERS[name]):
        assert f"{field.name}:" in SAMPLERS[name].__doc__, f"{name}: document {field.name!r}"
