"""PyTorch compiles the loss and the head into one graph, which computes what they compute."""

import functools
import shutil

import keras
import numpy as np
import pytest
import torch
from keras import layers

from dml.losses import CrossBatchMemory, MultiSimilarity, ProxyAnchor, Triplet
from dml.regularizers import KoLeo
from dml.training.learner import Learner

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's compiler")
RNG = np.random.default_rng(0)
ON, OFF = {"jit_compile": True}, {"jit_compile": False}
FEATURES, LABELS = RNG.normal(size=(12, 6)).astype("float32"), np.arange(12) % 4


@pytest.fixture
def traced(monkeypatch):
    """Traces a function as the compiler does, and then runs it: machine code takes seconds."""
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))


def losses_of(loss, jit, batches=(12, 12, 8), **options):
    """Returns the losses of training steps on a new encoder of features."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6,))
    x = layers.Dense(5, name="embedding")(x)
    encoder = keras.Model(inputs, layers.UnitNormalization(name="unit_length")(x))
    learner = Learner(encoder, loss, classes=4, **options)
    learner.compile(keras.optimizers.SGD(0.1), **jit)
    return [float(learner.train_on_batch(FEATURES[:n], LABELS[:n])[0]) for n in batches], learner


@pytest.mark.filterwarnings("error:.*is not compiled")
def test_one_graph_trains_as_the_operations_do(traced):
    expected, _ = losses_of(CrossBatchMemory(MultiSimilarity(), size=32), OFF)
    found, learner = losses_of(CrossBatchMemory(MultiSimilarity(), size=32), ON)
    assert learner.program is not None
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert len(set(found)) == 3


def test_what_cannot_be_one_graph_runs_by_operations(traced):
    expected, _ = losses_of(Triplet(margin=0.3), OFF)
    with pytest.warns(UserWarning, match="Triplet is not compiled, as PyTorch can't: Data-dep"):
        found, _ = losses_of(Triplet(margin=0.3), ON)
    assert found == expected


@pytest.mark.skipif(not shutil.which("g++"), reason="PyTorch compiles with g++")
def test_machine_code_trains_as_the_operations_do():
    torch._dynamo.reset()
    options = {"batches": (12, 12), "regularizer": KoLeo(0.1)}
    expected, _ = losses_of(ProxyAnchor(), OFF, **options)
    found, _ = losses_of(ProxyAnchor(), ON, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_step_is_compiled_only_if_asked_for():
    assert losses_of(ProxyAnchor(), {})[1].program is None
