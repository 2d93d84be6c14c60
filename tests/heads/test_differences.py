"""The running distribution of hard triplets' differences."""

import keras
import numpy as np
import pytest

from dml.heads import DifferenceHead
from tests.heads.test_walk import unit

BINS = 9


def made(embeddings, labels, head, training):
    x = head(
        keras.ops.cast(embeddings, "float32"),
        keras.ops.convert_to_tensor(labels),
        training=training,
    )
    return keras.ops.convert_to_numpy(x)


def shares(embeddings, labels):
    """Returns the histogram of a batch, triplet by triplet."""
    d = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=2)
    result = np.zeros(BINS)
    for a in range(len(labels)):
        for p in range(len(labels)):
            others = labels != labels[a]
            if a != p and labels[a] == labels[p] and others.any():
                place = (d[a, p] - min(d[a, others].min(), d[p, others].min()) + 2) / 4 * (BINS - 1)
                below = int(place)
                result[below] += 1 - (place - below)
                result[below + 1] += place - below
    return result / max(result.sum(), 1)


def test_pairs_of_one_image_have_no_difference():
    x = unit(np.random.default_rng(1).normal(size=(5, 4)))
    head = DifferenceHead(BINS, 0.25)
    head.build((None, 4))
    labels, samples = (
        keras.ops.convert_to_tensor(np.array(y, "int32"))
        for y in (
            [0, 0, 0, 1, 1],
            [3, 3, 4, 5, 6],
        )
    )
    found = head(keras.ops.cast(x, "float32"), labels, samples=samples, training=True)
    # Image 0 is image 1, so that the positive pairs are those of 2 with each, and of 3 and 4.
    d = np.linalg.norm(x[:, None] - x[None], axis=2)
    result = np.zeros(BINS)
    for a, p in ((0, 2), (1, 2), (3, 4)):
        others = [3, 4] if p == 2 else [0, 1, 2]
        place = (d[a, p] - min(d[a, others].min(), d[p, others].min()) + 2) / 4 * (BINS - 1)
        result[int(place)] += 1 - place % 1
        result[int(place) + 1] += place % 1
    found = keras.ops.convert_to_numpy(found)[0, 4:]
    np.testing.assert_allclose(found, np.cumsum(result / 3), atol=1e-5)


def test_the_distribution_is_a_running_mean_of_batches():
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 1, 1, 1, 2], "int32")
    batches = [unit(rng.normal(size=(6, 4))) for _ in range(3)]
    head = DifferenceHead(BINS, momentum=0.25)
    expected = shares(batches[0], labels)
    for number, embeddings in enumerate(batches):
        if number:
            expected = 0.75 * expected + 0.25 * shares(embeddings, labels)
        x = made(embeddings, labels, head, training=True)
        np.testing.assert_allclose(x[:, :4], embeddings, atol=1e-6)
        np.testing.assert_allclose(x[:, 4:], np.tile(np.cumsum(expected), (6, 1)), atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX tells how large arrays are")
def test_takes_no_memory_for_each_bin_of_each_pair():
    import jax

    head, pairs = DifferenceHead(512, momentum=0.25), np.zeros((32, 32), "float32")
    jaxpr = jax.make_jaxpr(head.histogram_of)(pairs, pairs)
    largest = max(v.aval.size for eqn in jaxpr.eqns for v in eqn.outvars)
    assert largest <= 2 * pairs.size


@pytest.mark.parametrize("labels", [[0, 1, 2], [3, 3, 3]])
def test_a_batch_without_triplets_leaves_it(labels):
    embeddings = unit(np.random.default_rng(1).normal(size=(3, 4)))
    head = DifferenceHead(BINS, momentum=0.25)
    other = np.array([0, 0, 1], "int32")
    before = made(embeddings, other, head, training=True)
    made(embeddings, np.array(labels, "int32"), head, training=True)
    np.testing.assert_array_equal(made(embeddings, other, head, training=False), before)


def test_evaluation_remembers_nothing():
    embeddings = unit(np.random.default_rng(1).normal(size=(4, 4)))
    head = DifferenceHead(BINS, momentum=0.25)
    made(embeddings, np.array([0, 0, 1, 1], "int32"), head, training=False)
    assert float(keras.ops.sum(head.histogram)) == 0.0
