"""The usual compile and fit train encoder and proxies, on every backend."""

import os
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import torch

from dml.augmentations import GlyphWarp
from dml.backbones import Conv4, Own
from dml.encoding import head_of
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.errors import DmlError, OptionError
from dml.losses import (
    LOSSES,
    Contrastive,
    CrossBatchMemory,
    Margin,
    Matryoshka,
    Mined,
    MultipleLosses,
    MultiSimilarity,
    NTXent,
    ProxyAnchor,
    SelfSupervised,
)
from dml.miners import BatchHardMiner
from dml.regularizers import REGULARIZERS, KoLeo, Orthogonality
from dml.training.learner import Learner


class OneBlock(Conv4):
    """Conv4's last block alone: each operation less is one less to compile."""

    def architecture(self, weights):
        x = inputs = keras.Input((self.input_size, self.input_size, 3))
        x = keras.layers.Conv2D(self.filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        return keras.Model(inputs, keras.layers.MaxPooling2D()(x))


def encoder(kind=OneBlock):
    keras.utils.set_random_seed(0)
    backbone = kind(input_size=16, resize_side=16, filters=8)
    return build_encoder(backbone, EmbeddingOptions(dim=8))


def eager(loss=None, classes=4, optimizer=None, kind=OneBlock, **options):
    """Returns a learner that is not compiled, except on JAX, which compiles each operation else.

    Compiling takes seconds. Tests of what may differ when compiled, and of the defaults, compile
    their own.
    """
    learner = Learner(encoder(kind), loss or ProxyAnchor(), classes=classes, **options)
    learner.compile(optimizer, run_eagerly=keras.backend.backend() != "jax")
    return learner


def stripes(count=48, classes=4, side=16, seed=0):
    """Returns images whose class is the period of their stripes, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    x = np.arange(side)[None, None, :] + rng.integers(0, side, (count, 1, 1))
    period = (2 + 2 * labels)[:, None, None]
    image = np.where(x % period < period // 2, 220, 30) + rng.integers(0, 30, (count, side, side))
    return np.repeat(image[..., None], 3, axis=-1).astype("uint8"), labels


def clusters(count):
    """Returns features (N, 8), of which the first half tells four classes apart, and labels."""
    features, labels = np.random.default_rng(0).normal(size=(count, 8)), np.arange(count) % 4
    features[:, :4] = 0.05 * features[:, :4] + 0.5 * np.eye(4)[labels]
    return features.astype("float16"), labels


QUICK = ("proxy_anchor", "multi_similarity", "triplet")
# These are meant to be combined with another loss: they separate no classes.
BESIDE = {"center", "instance", "intra_pair_variance", "threshold_consistent_margin"}


def assert_falls(learner, x, labels, epochs=12, batch_size=24):
    """Asserts that the loss is finite and falls; returns the history."""
    options = {"batch_size": batch_size, "epochs": epochs, "verbose": 0}
    history = learner.fit(x, labels, **options).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]
    return history


def assert_trains(learner, x, labels):
    history = assert_falls(learner, x, labels)
    gap = np.subtract(history["positive_similarity"], history["negative_similarity"])
    assert gap[-1] > gap[0]


@pytest.mark.parametrize("name", QUICK)
def test_losses_of_each_kind_train(name):
    learner = Learner(encoder(Conv4), LOSSES[name](), classes=4)
    learner.compile(keras.optimizers.Adam(3e-3))
    assert_trains(learner, *stripes())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(LOSSES) - {*QUICK, *BESIDE}))
def test_every_other_loss_trains(name):
    learner = Learner(head_of(encoder(Conv4)), LOSSES[name](), classes=4)
    # Compiling takes long, and tests/losses/test_contract.py compiles every loss.
    learner.compile(keras.optimizers.Adam(0.02), run_eagerly=True)
    assert_falls(learner, *clusters(48), epochs=8, batch_size=48)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="traces no steps")
def test_a_step_is_traced_once(monkeypatch):
    images, labels = stripes(24)
    learner, traced = Learner(encoder(), Contrastive()), []
    compute_loss = learner.compute_loss
    monkeypatch.setattr(
        learner, "compute_loss", lambda *a, **k: traced.append(a) or compute_loss(*a, **k)
    )
    learner.compile()
    learner.fit(images, labels, batch_size=12, epochs=2, verbose=0)
    assert len(traced) == 1


class Black(keras.layers.Layer):
    """An augmentation that makes all images black."""

    def call(self, images, training=False):
        return keras.ops.zeros_like(images) if training else images


def test_augmentation_is_applied_in_training_only():
    images = stripes(8)[0]
    plain = Learner(encoder(), MultiSimilarity())
    learner = Learner(encoder(), MultiSimilarity(), augmentation=[Black()])
    seen = keras.ops.convert_to_numpy(learner(images, training=False))
    np.testing.assert_array_equal(seen, keras.ops.convert_to_numpy(plain(images)))
    black = keras.ops.convert_to_numpy(learner(images, training=True))
    np.testing.assert_allclose(black, black[:1].repeat(8, axis=0), atol=1e-6)


def test_an_augmentation_of_files_is_no_layer():
    with pytest.raises(OptionError, match=r"augmentation must be Keras layers; got GlyphWarp"):
        Learner(encoder(), MultiSimilarity(), augmentation=[GlyphWarp()])


def test_default_compile_moves_the_proxies():
    images, labels = stripes()
    learner = Learner(encoder(), ProxyAnchor(), classes=4)
    learner.compile()
    before = keras.ops.convert_to_numpy(learner.head.trainable_variables[0])
    learner.fit(images, labels, batch_size=24, epochs=1, verbose=0)
    after = keras.ops.convert_to_numpy(learner.head.trainable_variables[0])
    assert np.abs(after - before).max() > 1e-3


def test_telemetry_of_a_collapsed_batch():
    learner = Learner(encoder(), MultiSimilarity())
    same = keras.ops.array(np.tile([[1.0, 0.0]], (4, 1)).astype("float32"))
    learner.compute_loss(y=keras.ops.array([0, 0, 1, 1]), y_pred=same)
    values = {n: float(m.result()) for n, m in learner.telemetry.items()}
    assert values["positive_similarity"] == values["negative_similarity"] == pytest.approx(1)
    assert values["effective_rank"] == pytest.approx(1)


@pytest.mark.parametrize(
    "x, rank",
    [
        (np.zeros((4, 2)), 0),
        ([[1, 0], [1, 0], [0, 0], [0, 0]], 1),
        ([[1, 0], [0, 1], [0, 0], [0, 0]], 2),
    ],
)
def test_the_effective_rank_of_a_dead_network(x, rank):
    learner = Learner(encoder(), MultiSimilarity())
    embeddings = keras.ops.cast(np.array(x), "float32")
    learner.compute_loss(y=keras.ops.array([0, 0, 1, 1]), y_pred=embeddings)
    assert float(learner.telemetry["effective_rank"].result()) == pytest.approx(rank)


def test_telemetry_of_a_relation_counts_pairs_by_how_far_they_belong():
    learner = Learner(encoder(), CrossBatchMemory(Contrastive(), size=8))
    related = np.array([[1, 0.25, 0], [0.25, 1, 0.5], [0, 0.5, 1]], "float32")
    x = np.zeros((3, 8), "float32")
    x[:, :2] = [[1, 0], [0.6, 0.8], [0, 1]]  # cosines 0.6, 0 and 0.8
    y = {"related": related, "samples": np.arange(3)}
    learner.compute_loss(y=y, y_pred=keras.ops.array(x))
    values = {n: float(m.result()) for n, m in learner.telemetry.items()}
    assert values["positive_similarity"] == pytest.approx((0.25 * 0.6 + 0.5 * 0.8) / 0.75)
    assert values["negative_similarity"] == pytest.approx((0.75 * 0.6 + 0.5 * 0.8) / 2.25)


def test_telemetry_leaves_out_pairs_of_one_image():
    learner = Learner(encoder(), Contrastive())
    x = np.zeros((4, 8), "float32")
    x[:, :2] = [[1, 0], [1, 0], [0.6, 0.8], [0, 1]]
    y = {"labels": np.array([0, 0, 0, 1]), "samples": np.array([5, 5, 6, 7])}
    learner.compute_loss(y=y, y_pred=keras.ops.array(x))
    values = {n: float(m.result()) for n, m in learner.telemetry.items()}
    assert values["positive_similarity"] == pytest.approx(0.6)
    assert values["negative_similarity"] == pytest.approx((0 + 0 + 0.8) / 3)
    # Both positives, 0.89 apart, pull; of the negatives, one is within 1, 0.63 apart.
    assert values["active_share"] == pytest.approx((2 + 1) / 5)


def test_telemetry_of_memberships_counts_pairs_by_the_classes_that_they_share():
    learner = Learner(encoder(), ProxyAnchor(), classes=4)
    shares = np.array([[1, 0, 0, 0], [0.5, 0, 0, 1], [0, 0, 0, 1]], "float32")  # 0.5, 0 and 1
    x = np.zeros((3, 8), "float32")
    x[:, :2] = [[1, 0], [0.6, 0.8], [0, 1]]  # cosines 0.6, 0 and 0.8
    learner.compute_loss(y=keras.ops.array(shares), y_pred=keras.ops.array(x))
    values = {n: float(m.result()) for n, m in learner.telemetry.items()}
    assert values["positive_similarity"] == pytest.approx((0.5 * 0.6 + 1 * 0.8) / 1.5)
    assert values["negative_similarity"] == pytest.approx((0.5 * 0.6 + 1 * 0) / 1.5)


@pytest.mark.slow
def test_telemetry_of_one_hot_labels_is_that_of_their_classes():
    features, labels = clusters(25)  # the last batch is a single image

    def similarities(y):
        learner = Learner(head_of(encoder()), ProxyAnchor(), classes=4)
        learner.compile("sgd")
        options = {"batch_size": 12, "shuffle": False, "verbose": 0}
        history = learner.fit(features, y, **options).history
        return history["positive_similarity"] + history["negative_similarity"]

    found = similarities(np.eye(4)[labels])
    assert found[0] != 0
    np.testing.assert_allclose(found, similarities(labels), rtol=1e-5)


def test_pair_losses_work_in_anyones_model():
    images, labels = stripes()
    model = keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Dense(8),
            keras.layers.UnitNormalization(),
        ]
    )
    model.compile("adam", loss=MultiSimilarity())
    history = model.fit(images, labels, epochs=4, batch_size=24, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_says_what_is_missing():
    with pytest.raises(ValueError, match="classes must be given: ProxyAnchor"):
        Learner(encoder(), ProxyAnchor())
    with pytest.raises(ValueError, match="MultiSimilarity has none"):
        Learner(encoder(), MultiSimilarity(), regularizer=Orthogonality())
    with pytest.raises(ValueError, match="loss is the Learner's own"):
        Learner(encoder(), MultiSimilarity()).compile(loss="mse")


@pytest.mark.parametrize("name", sorted(REGULARIZERS))
def test_every_regularizer_is_added(name):
    images, labels = stripes(8)

    def loss_of(regularizer):
        learner = Learner(encoder(), ProxyAnchor(), classes=4, regularizer=regularizer)
        learner.head.proxies.assign(np.random.default_rng(0).normal(size=(4, 1, 8)))
        embeddings = learner(images)
        return float(learner.compute_loss(images, keras.ops.array(labels), embeddings))

    part = REGULARIZERS[name](weight=0.5)
    if name == "sparse_centers":  # one proxy a class has none that are superfluous
        assert loss_of(part) == pytest.approx(loss_of(None))
    else:
        assert abs(loss_of(part) - loss_of(None)) > 1e-4


def test_a_memory_fills_while_training_and_not_while_evaluating():
    images, labels = stripes()
    learner = Learner(encoder(), CrossBatchMemory(Contrastive(), size=36, start=1))
    learner.compile(keras.optimizers.Adam(1e-3))
    learner.fit(images, labels, batch_size=12, epochs=1, verbose=0)
    filled = keras.ops.convert_to_numpy(learner.head.memory_labels)
    assert (filled >= 0).all() and int(learner.head.steps) == 4
    learner.evaluate(images, labels, batch_size=12, verbose=0)
    assert int(learner.head.steps) == 4


def test_an_evaluation_with_a_memory_is_of_its_own_images():
    images, labels = stripes(24)
    learner = eager(CrossBatchMemory(Contrastive(), size=24, start=0))
    learner.fit(images, labels, batch_size=12, epochs=1, verbose=0)
    plain = Learner(learner.encoder, Contrastive())
    plain.compile(run_eagerly=keras.backend.backend() != "jax")
    options = {"batch_size": 12, "verbose": 0, "return_dict": True}
    expected = plain.evaluate(images, labels, **options)["loss"]
    for moved in (labels, labels + 100, labels - 4):
        found = learner.evaluate(images, moved, **options)["loss"]
        assert found == pytest.approx(expected, rel=1e-5)


def test_a_memory_keeps_the_newest_where_the_last_batch_is_smaller():
    images, labels = stripes(36)
    learner = eager(CrossBatchMemory(Contrastive(), size=30, start=0))
    y = {"labels": labels, "samples": np.arange(36)}
    for _ in range(2):
        learner.fit(images, y, batch_size=24, epochs=1, shuffle=False, verbose=0)
        known = keras.ops.convert_to_numpy(learner.head.memory_samples)
        assert sorted(known) == list(range(6, 36))


@pytest.mark.parametrize(
    "loss", [NTXent(), CrossBatchMemory(NTXent(), size=36, start=0), ProxyAnchor()]
)
def test_pairs_of_one_image_are_left_out(loss):
    images, labels = stripes(12)
    twice, again = np.concatenate([images, images]), np.concatenate([labels, labels])
    samples = np.tile(np.arange(12), 2) + 2**24  # neighbours are one float32

    def step(y):
        learner = eager(loss, optimizer=keras.optimizers.SGD(0.0))
        return learner.fit(twice, y, batch_size=24, epochs=2, shuffle=False, verbose=0).history

    plain, known = step(again), step({"labels": again, "samples": samples})
    assert np.isfinite(known["loss"]).all()
    if isinstance(loss, ProxyAnchor):  # has no pairs of images
        assert known["loss"] == plain["loss"]
    else:
        assert known["loss"][0] > plain["loss"][0]  # a twin's distance of 0 lowers the mean
    if isinstance(loss, CrossBatchMemory):
        assert known["loss"][1] > plain["loss"][1]


@pytest.mark.parametrize("loss", [Contrastive(), CrossBatchMemory(Contrastive(), 24, start=1)])
def test_how_far_all_images_are_related_does_as_their_labels_do(loss):
    images, labels = stripes(36)
    samples = np.arange(36)
    related = (labels[:, None] == labels[None, :]).astype("float32")

    def losses(y):
        learner = eager(loss)
        history = learner.fit(images, y, batch_size=12, epochs=2, shuffle=False, verbose=0)
        assert np.isfinite(learner.evaluate(images, y, batch_size=12, verbose=0)).all()
        return history.history["loss"]

    found = losses({"related": related, "samples": samples})
    np.testing.assert_allclose(found, losses({"labels": labels, "samples": samples}), rtol=1e-5)


def test_views_take_a_relation_as_they_take_labels():
    images, labels = stripes(8)
    samples = np.arange(8)
    related = (labels[:, None] == labels[None, :]).astype("float32")

    def values(y, loss):
        learner = eager(loss, optimizer=keras.optimizers.SGD(0.0))
        history = learner.fit(images, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
        assert learner.evaluate(images, y, batch_size=8, verbose=0, return_dict=True)["loss"] > 0
        return history["loss"], history["positive_similarity"]

    memory = CrossBatchMemory(Contrastive(), 16, start=1)
    for parts in ([NTXent()], [NTXent(), Contrastive()], [NTXent(), memory]):
        loss = SelfSupervised(parts[0])
        loss = MultipleLosses([loss, *parts[1:]]) if parts[1:] else loss
        found = values({"related": related, "samples": samples}, loss)
        for y in (labels, {"labels": labels, "samples": samples}):
            if memory not in parts or y is not labels:
                np.testing.assert_allclose(found, values(y, loss), rtol=1e-5)


def test_targets_that_are_none_are_named():
    images, labels = stripes(12)
    related, samples = np.eye(12), np.arange(12)
    learner = eager(Contrastive())
    for wrong in ({"related": related}, {"label": labels, "samples": samples}):
        with pytest.raises(ValueError, match=r'targets are labels, \{"labels", "samples"\}'):
            learner.fit(images, wrong, verbose=0)
    with pytest.raises(ValueError, match="ProxyAnchor compares images with proxies"):
        eager(ProxyAnchor()).fit(images, {"related": related, "samples": samples}, verbose=0)


@pytest.mark.parametrize("loss", [Margin(), MultipleLosses([Contrastive(), Margin()])])
def test_boundaries_of_classes_need_classes(loss):
    images, related = stripes(12)[0], np.eye(12) + 0.25 * (1 - np.eye(12))
    learner = eager(loss)
    for fit in (
        lambda: learner.fit(images, {"related": related, "samples": np.arange(12)}, verbose=0),
        lambda: learner.train_on_batch(images, related),
    ):
        with pytest.raises(ValueError, match=r"boundary for each class: .*per_class=False"):
            fit()


@pytest.mark.parametrize(
    "loss, why",
    [
        (Contrastive(), "Orthogonality acts on proxies, and Contrastive has none: take a loss"),
        (Matryoshka(ProxyAnchor(), [4, 8]), "Matryoshka has several sets of them"),
        (MultipleLosses([ProxyAnchor(), Contrastive()]), "MultipleLosses has several sets of them"),
    ],
)
def test_a_regularizer_of_proxies_says_which_are_missing(loss, why):
    with pytest.raises(ValueError, match=why):
        Learner(encoder(), loss, classes=4, regularizer=Orthogonality())


def test_a_miner_chooses_the_pairs():
    images, labels = stripes()
    learner = eager(Mined(Contrastive(), BatchHardMiner()))
    history = learner.fit(images, labels, batch_size=24, epochs=2, verbose=0).history
    assert 0 < history["active_share"][-1] < 0.3


@pytest.mark.parametrize("name", ["magface", "adaface", "margin", "curricularface", "elasticface"])
def test_a_loss_with_a_head_of_its_own_trains(name):
    features, labels = clusters(48)
    learner = Learner(head_of(encoder()), LOSSES[name](), classes=4)
    learner.compile(keras.optimizers.Adam(3e-3))
    history = learner.fit(features, labels, batch_size=24, epochs=8, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    np.testing.assert_allclose(np.linalg.norm(learner.embed(features), axis=1), 1, atol=1e-5)


def test_two_views_without_labels():
    images, labels = stripes(24)
    noise = keras.layers.RandomBrightness(0.2, seed=0)
    learner = Learner(encoder(), SelfSupervised(NTXent()), augmentation=[noise])
    learner.compile(keras.optimizers.Adam(1e-3))
    losses = learner.fit(images, np.zeros(24), batch_size=12, epochs=6, verbose=0).history["loss"]
    assert min(losses[1:]) < losses[0]
    views = keras.ops.convert_to_numpy(learner(images[:12], training=True))
    assert len(views) == 24 and (views[:12] != views[12:]).any()
    assert np.isfinite(learner.evaluate(images, labels, verbose=0, return_dict=True)["loss"])


def test_a_relation_in_place_of_labels():
    images, labels = stripes(24)
    relation = (labels[:, None] == labels[None, :]).astype("float32")
    one = eager(MultiSimilarity()).train_on_batch(images, relation)
    again = eager(MultiSimilarity()).train_on_batch(images, labels)
    np.testing.assert_allclose(one, again, rtol=1e-4)


def test_lengths_need_an_encoder_whose_last_step_is_known():
    model = keras.Sequential([keras.Input((4,)), keras.layers.UnitNormalization()])
    with pytest.raises(ValueError, match=r"encoder must be a model of dml.* reads the length"):
        Learner(model, LOSSES["magface"](), classes=3)


def test_the_head_of_an_encoder_trains_on_features():
    whole = encoder()
    head = head_of(whole)
    features, labels = clusters(24)
    learner = Learner(head, ProxyAnchor(), classes=4)
    learner.compile()
    assert list(learner.parts()) == ["embedding", "head"]
    before = keras.ops.convert_to_numpy(whole.get_layer("network").get_layer("embedding").kernel)
    losses = learner.fit(features, labels, batch_size=24, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    after = keras.ops.convert_to_numpy(whole.get_layer("network").get_layer("embedding").kernel)
    assert (before != after).any()
    np.testing.assert_allclose(np.linalg.norm(learner.embed(features), axis=1), 1, rtol=1e-5)
    assert np.isfinite(learner.evaluate(features, labels, verbose=0)).all()
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(learner))
    assert copy.encoder.name == "head" and copy.predict(features, verbose=0).shape == (24, 8)


def test_a_head_takes_features_and_does_not_augment_them():
    learner = Learner(head_of(encoder()), MultiSimilarity())
    learner.compile()
    for wrong in (np.zeros((4, 7)), np.zeros((4, 16, 16, 3), "uint8"), [1.0, 2.0]):
        with pytest.raises(ValueError, match=r"features must be \(N, 8\)"):
            learner.fit(wrong, [0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"no images: got \(0, 8\)"):
        learner.fit(np.zeros((0, 8)), [])
    for options in (
        {"loss": SelfSupervised(NTXent())},
        {"augmentation": [keras.layers.Dropout(1)]},
    ):
        with pytest.raises(ValueError, match=r"encoder takes features.*Train on images"):
            Learner(head_of(encoder()), **{"loss": MultiSimilarity(), **options})


def test_a_regularizer_of_embeddings_needs_no_proxies():
    images, labels = stripes()
    learner = eager(MultiSimilarity(), regularizer=KoLeo())
    history = learner.fit(images, labels, batch_size=24, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_ancestors_are_learned_with_any_loss():
    images, labels = stripes()
    hierarchy = REGULARIZERS["hier"](ancestors=8, neighbours=4, triplets=50)
    learner = Learner(encoder(), MultiSimilarity(), regularizer=hierarchy)
    learner.compile()
    before = keras.ops.convert_to_numpy(learner.regularizer_head.points)
    learner.fit(images, labels, batch_size=24, epochs=2, verbose=0)
    assert (keras.ops.convert_to_numpy(learner.regularizer_head.points) != before).any()
    assert [v.name for v in learner.parts()["head"]] == ["ancestors"]


@pytest.mark.parametrize("count", [8, 4])  # of images, with four classes: as large, or not
def test_ancestors_of_memberships_are_those_of_their_labels(count):
    hierarchy = REGULARIZERS["hier"](ancestors=8, neighbours=2, triplets=50)
    learner = Learner(encoder(), ProxyAnchor(), classes=4, regularizer=hierarchy)
    labels = np.arange(count) // 2
    x = keras.ops.cast(np.eye(8)[:count], "float32")

    def loss_of(y):
        loss = learner.compute_loss(y=keras.ops.array(y), y_pred=x, training=False)
        return float(keras.ops.convert_to_numpy(loss))

    assert loss_of(np.eye(4)[labels]) == pytest.approx(loss_of(labels), rel=1e-5)


REPLICAS = """
import keras, tensorflow as tf
from dml.training.learner import Learner
from dml.losses import MultiSimilarity
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = keras.Sequential([keras.Input((4,)), keras.layers.UnitNormalization()])
    Learner(model, MultiSimilarity()).compile("adam")
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's own replicas")
def test_replicas_that_see_a_part_of_the_batch_are_refused():
    done = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True, text=True)
    assert "2 replicas would each see the pairs of their own part" in done.stderr


RANKS = """
import sys, keras, numpy as np, torch
from dml.errors import DmlError
from dml.losses import MultiSimilarity
from dml.training.learner import Learner
model = keras.Sequential([keras.Input((4,)), keras.layers.UnitNormalization()])
learner = Learner(model, MultiSimilarity())
learner.compile("adam")
rank, file = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", f"file://{file}", rank=rank, world_size=2)
images, labels = np.zeros((4, 4), "float32"), np.arange(4) // 2
for attempt in (
    lambda: learner.compile("adam"),
    lambda: learner.fit(images, labels, verbose=0),
    lambda: learner.train_on_batch(images, labels),
):
    try:
        attempt()
    except DmlError as error:
        print(error)
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="once, in processes of its own")
def test_ranks_that_see_a_part_of_the_batch_are_refused(tmp_path):
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "KERAS_BACKEND": "torch"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANKS, str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    for process in processes:
        lines = process.communicate(timeout=300)[0].splitlines()
        assert len(lines) == 3 and process.returncode == 0
        for line in lines:
            assert line.startswith("2 ranks would each see the pairs of their own part")
            assert "KERAS_BACKEND=jax" in line


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX's loss sees the whole batch")
def test_devices_that_see_a_part_of_the_batch_are_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.UnitNormalization()])
    learner = Learner(model, MultiSimilarity())
    mesh = keras.distribution.DeviceMesh((2,), ["batch"], ["cpu:0", "cpu:1"])
    keras.distribution.set_distribution(keras.distribution.DataParallel(mesh))
    try:
        with pytest.raises(DmlError, match="2 devices would each see the pairs of their own"):
            learner.compile("adam")
    finally:
        keras.distribution.set_distribution(None)
    learner.compile("adam")


def test_a_loss_that_holds_variables_is_refused():
    loss = MultiSimilarity()
    loss.proxies = keras.Variable(np.zeros(2, "float32"))
    with pytest.raises(ValueError, match="holds variables"):
        Learner(encoder(), loss)


@pytest.mark.parametrize("labels", [np.arange(1, 5), np.array([-1, 0, 1, 2]), [0, 1, 2, 7]])
def test_labels_without_a_proxy_are_refused(labels):
    with pytest.raises(ValueError, match=r"labels must be in \[0, 4\)"):
        eager(ProxyAnchor()).fit(np.zeros((4, 16, 16, 3), "uint8"), labels)


@pytest.mark.parametrize("name", ["proxy_anchor", "proxy_nca", "soft_triple", "arcface", "margin"])
def test_evaluates_images_of_other_classes(name):
    images, labels = stripes(24)
    found = eager(LOSSES[name](), classes=2).evaluate(images, labels, verbose=0, return_dict=True)
    assert np.isfinite(list(found.values())).all() and "effective_rank" in found


def test_embeds_images_of_any_size():
    vectors = Learner(encoder(), MultiSimilarity()).embed(np.zeros((2, 40, 30, 3), "uint8"))
    assert vectors.shape == (2, 8)


def test_nothing_has_no_embeddings():
    learner = eager()
    for nothing in (np.zeros((0, 40, 30, 3), "uint8"), np.zeros(0), []):
        vectors = learner.embed(nothing)
        assert vectors.shape == (0, 8) and vectors.dtype == np.float32


def test_nothing_is_not_trained_on():
    images, labels = stripes(4)
    learner = eager()
    for attempt in (
        lambda: learner.fit(images[:0], labels[:0], verbose=0),
        lambda: learner.evaluate(images[:0], labels[:0], verbose=0),
        lambda: learner.predict(images[:0], verbose=0),
        lambda: learner.train_on_batch(images[:0], labels[:0]),
    ):
        with pytest.raises(ValueError, match=r"no images: got \(0, 16, 16, 3\)"):
            attempt()


def test_labels_of_one_batch_are_checked():
    images, labels = stripes(8)
    with pytest.raises(ValueError, match="got 4 in row 3"):
        eager().train_on_batch(images, labels + 1)


def test_images_scaled_to_1_are_refused_everywhere():
    images, labels = stripes(24)
    shares, learner = images / 255.0, eager()
    tf_data = pytest.importorskip("tensorflow").data
    batches = [(shares[:12], labels[:12]), (shares[12:], labels[12:])]
    for attempt in (
        lambda: learner.embed(shares),
        lambda: learner.predict(shares, verbose=0),
        lambda: learner.predict((each[0] for each in batches), verbose=0),
        lambda: learner.fit(shares, labels, verbose=0),
        lambda: learner.fit((batch for batch in batches), verbose=0),
        lambda: learner.fit(tf_data.Dataset.from_tensors(batches[0]), verbose=0),
        lambda: learner.fit(images, labels, validation_data=batches[0], verbose=0),
        lambda: learner.fit(images, labels, validation_data=(b for b in batches), verbose=0),
        lambda: learner.evaluate(shares, labels, verbose=0),
        lambda: learner.evaluate((batch for batch in batches), verbose=0),
        lambda: learner.train_on_batch(*batches[0]),
        lambda: learner.test_on_batch(*batches[0]),
        lambda: learner.predict_on_batch(shares),
    ):
        with pytest.raises(ValueError, match="multiply them by 255"):
            attempt()


def test_images_in_other_numbers_are_the_same_images():
    images, _ = stripes(6)
    learner = eager()
    expected = learner.embed(images)
    for same in (images.astype("float32"), torch.tensor(images), list(images)):
        np.testing.assert_allclose(learner.embed(same), expected, atol=1e-6)


def test_labels_in_any_container_train_and_count_alike():
    images, labels = stripes(24)
    options = {"batch_size": 12, "verbose": 0}

    def fitted(y):
        learner = eager()
        learner.fit(images, y, validation_data=(images, y), shuffle=False, **options)
        return learner

    learner, other = fitted(labels), fitted(torch.tensor(labels)[:, None])
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(
            other.history.history[name], learner.history.history[name], rtol=1e-6
        )
    expected = learner.evaluate(images, labels, **options)
    tensor = pytest.importorskip("tensorflow").constant
    for kind in (list, pd.Series, torch.tensor, tensor, lambda y: y[:, None], np.float32):
        found = learner.evaluate(images, kind(labels), **options)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's compiler")
def test_the_compiler_of_pytorch_is_refused():
    learner = Learner(encoder(), ProxyAnchor(), classes=4)
    with pytest.raises(ValueError, match="jit_compile can't be True on PyTorch"):
        learner.compile(jit_compile=True)
    learner.compile(jit_compile="auto")
    assert not learner.jit_compile


@pytest.mark.parametrize("saved", [False, True])  # as TensorFlow on CPU saves it, and JAX
def test_a_loaded_learner_is_compiled_as_a_new_one_of_its_backend(saved):
    learner = Learner(encoder(), ProxyAnchor(), classes=4)
    learner.compile()
    expected = learner.jit_compile
    learner.compile_from_config({**learner.get_compile_config(), "jit_compile": saved})
    assert learner.jit_compile == expected


@pytest.mark.parametrize("weights", [{"sample_weight": np.ones(24)}, {"class_weight": {0: 2.0}}])
def test_weights_of_images_and_classes_are_refused(weights):
    images, labels = stripes(24)
    with pytest.raises(ValueError, match="no weights of single ones"):
        eager().fit(images, labels, verbose=0, **weights)
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(8)])
    model.compile("adam", loss=MultiSimilarity())
    with pytest.raises(ValueError, match="no weights of single ones"):
        model.fit(images, labels, verbose=0, **weights)


def test_weights_in_a_data_set_and_of_losses_are_refused():
    images, labels = stripes(12)
    with pytest.raises(ValueError, match="no weights of single ones"):
        eager().fit(((images, labels, np.ones(12)) for _ in range(2)), verbose=0)
    with pytest.raises(ValueError, match="no weights of single ones"):
        eager().evaluate(images, labels, sample_weight=np.ones(12), verbose=0)
    with pytest.raises(ValueError, match="MultipleLosses"):
        eager().compile(loss_weights=[1.0])


@pytest.mark.parametrize(
    "loss, data",
    [(ProxyAnchor(), "generator"), (Matryoshka(ProxyAnchor(), dims=[4, 8]), "tf.data")],
)
def test_unknown_labels_of_a_later_batch_end_the_epoch(loss, data):
    images, labels = stripes(36)
    labels[-1] = 4
    batches = [(images[i : i + 12], labels[i : i + 12]) for i in (0, 12, 24)]
    x = (batch for batch in batches)
    if data == "tf.data":
        tf_data = pytest.importorskip("tensorflow").data
        x = tf_data.Dataset.from_tensor_slices((images, labels)).batch(12)
    compiled = Learner(encoder(), loss, classes=4)
    compiled.compile()
    with pytest.raises(ValueError, match=r"in \[0, 4\), .*the data set had 0 to 4 in epoch 1"):
        compiled.fit(x, epochs=2, verbose=0)


def test_one_hot_labels_are_memberships_of_classes_and_nothing_else():
    images, labels = stripes(24)
    one_hot = np.eye(4)[labels]

    def loss_of(loss, y):
        options = {"batch_size": 12, "shuffle": False, "verbose": 0}
        return eager(loss).fit(images, y, **options).history["loss"]

    np.testing.assert_allclose(
        loss_of(ProxyAnchor(), one_hot), loss_of(ProxyAnchor(), labels), rtol=1e-5
    )
    for y in (one_hot, np.eye(24)[labels]):  # as many as the batch
        with pytest.raises(ValueError, match=r"np.argmax\(labels, axis=1\)"):
            eager(MultiSimilarity()).fit(images, y, batch_size=24, verbose=0)
    with pytest.raises(ValueError, match="memberships must be"):
        eager(ProxyAnchor()).fit(images, np.eye(5)[labels], verbose=0)
    learner, again = eager(MultiSimilarity()), eager(MultiSimilarity())
    unchecked = keras.Model.train_on_batch  # as a data set's later batches are
    batch = unchecked(learner, images[:12], np.eye(12)[labels[:12]])
    expected = again.train_on_batch(images[:12], labels[:12])
    np.testing.assert_allclose(batch, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "loss", [ProxyAnchor(), pytest.param(LOSSES["magface"](), marks=pytest.mark.slow)]
)
def test_is_saved_completely_and_continues_where_it_stopped(tmp_path, loss):
    images, labels = stripes(24)
    options = {"batch_size": 12, "shuffle": False, "verbose": 0}
    learner = Learner(encoder(), loss, classes=4, regularizer=Orthogonality(), chunks=2)
    learner.compile()  # chunks are faster so, on JAX
    whole = keras.callbacks.ModelCheckpoint(tmp_path / "learner.keras")
    weights = keras.callbacks.ModelCheckpoint(tmp_path / "x.weights.h5", save_weights_only=True)
    learner.fit(images, labels, epochs=2, callbacks=[whole, weights], **options)
    again = keras.saving.load_model(tmp_path / "learner.keras")
    np.testing.assert_allclose(again.embed(images), learner.embed(images), atol=1e-6)
    losses = [x.fit(images, labels, epochs=2, **options).history["loss"] for x in (learner, again)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert int(again.optimizer.iterations) == 8
    other = Learner(encoder(), loss, classes=4, regularizer=Orthogonality(), chunks=2)
    other.load_weights(tmp_path / "x.weights.h5")


def frozen_paths(learner):
    """Returns the places of the blocks of which nothing is trainable."""
    blocks = learner.blocks()
    assert len(blocks) == 4
    return [i for i, block in enumerate(blocks) if not any(v.trainable for v in block)]


def test_only_the_last_blocks_train():
    learner = eager(train_blocks=1, kind=Conv4)
    assert frozen_paths(learner) == [0, 1, 2]
    before = [[keras.ops.convert_to_numpy(v).copy() for v in b] for b in learner.blocks()]
    learner.fit(*stripes(24), verbose=0)
    for place, (old, block) in enumerate(zip(before, learner.blocks(), strict=True)):
        for a, variable in zip(old, block, strict=True):  # moving statistics included
            changed = (a != keras.ops.convert_to_numpy(variable)).any()
            assert changed == (place == 3), variable.path
    assert set(learner.parts()) == {"backbone", "embedding", "head"}


def test_no_block_trains():
    learner = Learner(encoder(Conv4), ProxyAnchor(), classes=4, train_blocks=0)
    assert frozen_paths(learner) == [0, 1, 2, 3] and set(learner.parts()) == {"embedding", "head"}
    all_of_them = Learner(encoder(Conv4), ProxyAnchor(), classes=4, train_blocks=4)
    assert frozen_paths(all_of_them) == []


@pytest.mark.parametrize("count", [5, -1])
def test_more_blocks_than_there_are_is_an_error(count):
    with pytest.raises(ValueError, match=rf"train_blocks must be in \[0, 4\].*got {count}"):
        Learner(encoder(Conv4), ProxyAnchor(), classes=4, train_blocks=count)


def test_frozen_blocks_are_saved_with_the_learner(tmp_path):
    learner = eager(train_blocks=1, kind=Conv4)
    learner.fit(*stripes(24), verbose=0)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.saving.load_model(tmp_path / "learner.keras")
    assert frozen_paths(loaded) == [0, 1, 2]
    assert int(loaded.optimizer.iterations.numpy()) == 1
    loaded.fit(*stripes(24), verbose=0)


def test_a_layer_of_a_backbone_named_embedding_is_not_the_embedding_layer(tmp_path):
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 4, 4, name="embedding")(image)
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(x)).save(tmp_path / "own.keras")
    backbone = Own(path=str(tmp_path / "own.keras"), input_size=16, resize_side=16)
    for dim, parts in ((4, {"backbone": 2, "embedding": 2}), (0, {"backbone": 2})):
        learner = Learner(build_encoder(backbone, EmbeddingOptions(dim=dim)), MultiSimilarity())
        assert {name: len(found) for name, found in learner.parts().items()} == parts
