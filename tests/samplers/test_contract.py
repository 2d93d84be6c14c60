"""The contract of every sampler in the registry."""

import dataclasses
import itertools
import sys

import numpy as np
import pytest

from dml.samplers import SAMPLERS, coverage

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 9))


def ranks(labels):
    """Returns the place of each label among the different ones."""
    return np.unique(labels, return_inverse=True)[1]


def class_vectors(labels):
    return np.random.default_rng(2).normal(size=(len(np.unique(labels)), 8))


# Other inputs of samplers, derived from the labels.
INPUTS = {"super_labels": lambda labels: ranks(labels) // 10, "class_vectors": class_vectors}


def triplets(labels):
    """Returns triplets (T, 3) of an image, the next of its class and one of another class."""
    rows = np.argsort(labels, kind="stable")
    first = np.flatnonzero(labels[rows[1:]] == labels[rows[:-1]])
    beyond = np.bincount(labels).max()
    return np.stack([rows[first], rows[first + 1], np.roll(rows, -beyond)[first]], axis=1)


@pytest.fixture(params=sorted(SAMPLERS))
def name(request):
    return request.param


@pytest.fixture
def sampler(name, tmp_path):
    if name != "fixed_triplets":
        return SAMPLERS[name]()
    # Three pairs of each class, and its other three images with another's: each image once.
    pairs, rest = np.split(np.argsort(LABELS, kind="stable").reshape(40, 9), [6], axis=1)
    listed = np.c_[pairs.reshape(-1, 2), np.roll(rest, 1, axis=0).ravel()]
    path = tmp_path / "triplets.csv"
    np.savetxt(path, listed, "%d", ",", header="anchor,positive,negative", comments="")
    return SAMPLERS[name](path=str(path))


def batches_of(sampler, labels, epoch, seed):
    known = {name: INPUTS[name](labels) for name in sampler.wants if name in INPUTS}
    return sampler.batches(labels, epoch=epoch, seed=seed, **known)


def test_batches_are_rows_of_one_shape(sampler):
    batches = batches_of(sampler, LABELS, epoch=0, seed=0)
    assert batches.dtype == np.int64
    assert batches.shape[1] == sampler.batch_size
    assert batches.min() >= 0 and batches.max() < len(LABELS)


def test_depends_on_epoch_and_seed_alone(sampler):
    first = batches_of(sampler, LABELS, epoch=3, seed=5)
    batches_of(sampler, LABELS, epoch=0, seed=0)
    np.testing.assert_array_equal(first, batches_of(sampler, LABELS, epoch=3, seed=5))
    for other in ({"epoch": 4, "seed": 5}, {"epoch": 3, "seed": 6}):
        batches = batches_of(sampler, LABELS, **other)
        assert batches.shape == first.shape
        assert (batches != first).mean() > 0.5


def test_changes_nothing_that_it_is_given(sampler):
    labels = LABELS.copy()
    labels.flags.writeable = False
    known = {name: INPUTS[name](labels) for name in sampler.wants if name in INPUTS}
    for array in known.values():
        array.flags.writeable = False
    sampler.batches(labels, epoch=1, seed=0, **known)


def test_no_batch_holds_an_image_twice(sampler):
    for epoch in range(5):
        assert coverage(batches_of(sampler, LABELS, epoch, seed=0), LABELS).copies == 0


def test_every_epoch_visits_every_class(sampler):
    for epoch in range(5):
        assert coverage(batches_of(sampler, LABELS, epoch, seed=0), LABELS).classes == 1


def test_every_image_is_seen_over_epochs(sampler):
    batches = np.concatenate([batches_of(sampler, LABELS, epoch, seed=0) for epoch in range(8)])
    assert coverage(batches, LABELS).images == 1


def test_classes_may_have_any_codes(sampler):
    codes = np.sort(np.random.default_rng(1).choice(2**40, 40, replace=False))
    np.testing.assert_array_equal(
        batches_of(sampler, codes[LABELS], 1, seed=2), batches_of(sampler, LABELS, 1, seed=2)
    )


@pytest.mark.parametrize("labels", [np.zeros(0, np.int32), np.arange(3)])
def test_refuses_a_data_set_smaller_than_a_batch(sampler, labels):
    with pytest.raises(ValueError, match=r"lower it|training split has only"):
        batches_of(sampler, labels, epoch=0, seed=0)


def test_an_epoch_of_online_products_takes_few_calls_an_image(name, tmp_path):
    labels = np.random.default_rng(0).integers(0, 11_318, 60_000)
    labels[:11_318] = np.arange(11_318)
    options = {}
    if name == "fixed_triplets":
        import pandas as pd

        path = tmp_path / "triplets.parquet"
        listed = triplets(labels)[:20_000]
        pd.DataFrame(listed, columns=["anchor", "positive", "negative"]).to_parquet(path)
        options = {"path": str(path)}
    sampler = SAMPLERS[name](**options)
    known = {n: INPUTS[n](labels) for n in sampler.wants if n in INPUTS}
    calls = itertools.count()
    sys.setprofile(lambda frame, event, argument: event.endswith("call") and next(calls))
    try:
        batches = sampler.batches(labels, epoch=1, seed=0, **known)
    finally:
        sys.setprofile(None)
    # Whole arrays at once: a loop over the images calls a few functions for each. One over the
    # thousand super-classes and one over the names in a file of triplets may be.
    most = 10 if name in ("hierarchical", "fixed_triplets") else 1
    assert batches.size > 0.99 * 60_000 and next(calls) < most * 60_000


def test_what_it_wants_is_a_keyword_that_batches_of_gives(sampler):
    class Table:
        labels, ids = LABELS, np.array([f"{row}.jpg" for row in range(len(LABELS))], object)
        super_labels = INPUTS["super_labels"](LABELS)

    vectors = INPUTS["class_vectors"](LABELS)
    np.testing.assert_array_equal(
        sampler.batches_of(Table, 2, 1, vectors), batches_of(sampler, LABELS, 2, 1)
    )


def test_has_a_docstring_that_names_every_option(name):
    for field in dataclasses.fields(SAMPLERS[name]):
        assert f"{field.name}:" in SAMPLERS[name].__doc__, f"{name}: document {field.name!r}"
