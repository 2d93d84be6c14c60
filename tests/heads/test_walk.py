"""Walks over the graph of a batch and proxies, against the sum of their steps."""

import keras
import numpy as np
import pytest

from dml.heads import WalkHead
from tests.backend import value_and_grad
from tests.finite_differences import finite_differences

ALPHA = 0.8


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def walk(embeddings, proxies, context):
    """Returns what the head should, by walking many steps."""
    nodes = np.concatenate([embeddings, unit(proxies)])
    edges = np.maximum(nodes @ nodes.T, 0)
    np.fill_diagonal(edges, 0)
    degrees = edges.sum(axis=1)
    graph = edges / np.sqrt(np.maximum(np.outer(degrees, degrees), 1e-12))
    reached = start = np.eye(len(nodes))[:, -len(proxies) :] * (1 - ALPHA)
    for _ in range(200):
        reached = start + ALPHA * graph @ reached
    images = reached[: len(embeddings)]
    return images @ reached[len(embeddings) :].T if context else images


@pytest.fixture(params=[False, True])
def head(request):
    head = WalkHead(4, 5, ALPHA, context=request.param)
    head.build((None, 5))
    head.proxies.assign(np.random.default_rng(3).normal(size=(4, 1, 5)))
    return head


def test_agrees_with_walking(head):
    proxies = keras.ops.convert_to_numpy(head.proxies)[:, 0].astype("float64")
    x = unit(np.random.default_rng(0).normal(size=(6, 5)))
    found = keras.ops.convert_to_numpy(head(keras.ops.cast(x, "float32")))
    np.testing.assert_allclose(found, walk(x, proxies, head.context), atol=1e-5)


def test_context_compares_the_walks_from_all_proxies():
    # By inverting: F is symmetric, and of its rows the columns of the proxies are compared.
    head = WalkHead(4, 5, ALPHA, context=True)
    head.build((None, 5))
    x = unit(np.random.default_rng(0).normal(size=(6, 5)))
    nodes = np.concatenate([x, unit(keras.ops.convert_to_numpy(head.proxies)[:, 0])])
    edges = np.maximum(nodes @ nodes.T, 0) * (1 - np.eye(10))
    scale = np.diag(edges.sum(axis=1) ** -0.5)
    walks = (1 - ALPHA) * np.linalg.inv(np.eye(10) - ALPHA * scale @ edges @ scale)
    found = keras.ops.convert_to_numpy(head(keras.ops.cast(x, "float32")))
    np.testing.assert_allclose(found, walks[:6, 6:] @ walks[6:, 6:].T, atol=1e-5)


def test_gradient_agrees_with_finite_differences(head):
    proxies = keras.ops.convert_to_numpy(head.proxies)[:, 0].astype("float64")
    x = unit(np.random.default_rng(1).normal(size=(4, 5)))
    weights = np.random.default_rng(2).normal(size=(4, 4))
    _, grad = value_and_grad(
        lambda x: keras.ops.sum(head(x) * keras.ops.cast(weights, "float32")), x
    )
    expected = finite_differences(lambda x: (walk(x, proxies, head.context) * weights).sum(), x)
    np.testing.assert_allclose(grad, expected, rtol=1e-2, atol=2e-4)


def test_batches_of_any_size_keep_their_width(head):
    x = unit(np.random.default_rng(0).normal(size=(6, 5)))
    widths = []

    def total(x):
        walked = head(x)
        widths.append(walked.shape[1])
        return keras.ops.sum(walked)

    plain = value_and_grad(total, x)
    compiled = value_and_grad(total, x, compiled=True, any_batch=True)
    assert set(widths) == {4} and compiled[0] == pytest.approx(plain[0], rel=1e-5)


def test_agrees_with_walking_where_vectors_coincide_or_vanish(head):
    proxies = keras.ops.convert_to_numpy(head.proxies)[:, 0].astype("float64")
    x = np.random.default_rng(0).normal(size=(6, 5))
    same = np.repeat(unit(x[:1]), 6, axis=0)
    value, grad = value_and_grad(lambda x: keras.ops.sum(head(x)), same)
    assert value == pytest.approx(walk(same, proxies, head.context).sum(), rel=1e-5)
    expected = finite_differences(lambda x: walk(x, proxies, head.context).sum(), same)
    np.testing.assert_allclose(grad, expected, rtol=1e-2, atol=2e-4)
    # A vector of zeros has no edges, so that no walk reaches it.
    value, grad = value_and_grad(lambda x: keras.ops.sum(head(x)), np.zeros_like(x))
    assert value == 0 and (grad == 0).all()


def test_loads_as_saved(head):
    copy = WalkHead.from_config(head.get_config())
    assert (copy.alpha, copy.context, copy.classes) == (head.alpha, head.context, head.classes)
