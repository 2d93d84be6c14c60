"""A head of one's own: what the learner asks of it, in which order."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
from keras import ops

from dml.backbones import Conv4
from dml.encoding import EmbeddingOptions, build_encoder, head_of
from dml.heads import Head
from dml.losses import MetricLoss, MultipleLosses
from dml.training import Learner

FEATURES = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
LABELS = np.array([0, 0, 1, 1, 2, 2, 3, 3])


class Scale(Head):
    """Multiplies embeddings by a learned number; each step knows all classes as class 5."""

    classes = 4

    def build(self, input_shape):
        self.factor = self.add_weight(name="factor", shape=(), initializer="ones")
        for name in ("before", "after", "highest"):
            variable = self.add_weight(name=name, shape=(), initializer="zeros", trainable=False)
            setattr(self, name, variable)
        super().build(input_shape)

    def prepare_step(self, targets):
        self.before.assign(self.factor)
        self.highest.assign(ops.cast(ops.max(targets), "float32"))

    def step_labels(self, labels):
        return ops.full_like(labels, 5)

    def finish_step(self):
        self.after.assign(self.factor)

    def call(self, embeddings, labels, training=False):
        return embeddings * self.factor


@dataclass(eq=False)
class Shrinking(MetricLoss):
    """The mean of the labels and of the scaled embeddings' squares."""

    def head(self, classes, embedding_dim):
        return Scale()

    def batch_loss(self, labels, x):
        return ops.mean(ops.cast(labels, "float32")) + ops.sum(ops.square(x)) / len(LABELS)


def learner_of(loss):
    backbone = Conv4(input_size=16, resize_side=16, filters=4)
    made = Learner(head_of(build_encoder(backbone, EmbeddingOptions(dim=3))), loss)
    made.compile(keras.optimizers.SGD(0.1))
    return made


def number(variable):
    return float(ops.convert_to_numpy(variable))


def test_a_step_is_prepared_with_its_targets_and_finished_after_the_update():
    learner = learner_of(Shrinking())
    (loss,) = learner.fit(FEATURES, LABELS, batch_size=8, verbose=0).history["loss"]
    head = learner.head
    assert loss == pytest.approx(6)  # labels of 5 and embeddings of length 1
    assert number(head.before) == 1 and number(head.highest) == 3
    assert number(head.after) == number(head.factor) == pytest.approx(0.8)
    before = number(head.before), number(head.after)
    value = learner.evaluate(FEATURES, LABELS, batch_size=8, return_dict=True, verbose=0)["loss"]
    assert value == pytest.approx(1.5 + 0.8**2, abs=1e-5)  # the labels as they are
    assert before == (number(head.before), number(head.after))


def test_labels_must_be_of_its_classes():
    with pytest.raises(ValueError, match=r"\[0, 4\)"):
        learner_of(Shrinking()).fit(FEATURES, LABELS + 1, verbose=0)


def test_another_layer_is_refused():
    class Plain(Shrinking):
        def head(self, classes, embedding_dim):
            return keras.layers.Dense(3)

    for loss in (Plain(), MultipleLosses([Plain(), Shrinking()])):
        with pytest.raises(ValueError, match=r"loss has a head of the class Dense, which must"):
            learner_of(loss)
