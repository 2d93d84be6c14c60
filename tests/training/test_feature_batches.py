"""Batches of cached features, and that training on them is training with a frozen backbone."""

import itertools
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from dml import _processes
from dml.augmentations import RandomCropFlip
from dml.encoding import head_of
from dml.errors import ArrayError
from dml.images import read_image
from dml.losses import LOSSES, CrossBatchMemory, Matryoshka, Mined, MultiSimilarity, ProxyAnchor
from dml.miners import BatchHardMiner
from dml.regularizers import KoLeo
from dml.samplers import MPerClass, Shuffle
from dml.training import (
    FeatureCache,
    Learner,
    OptimizerOptions,
    build_optimizer,
    feature_batches,
    training_batches,
)
from tests.training.features import CLASSES, SIZE, pictures, small_encoder

AUGMENTATION = RandomCropFlip(min_area=0.3)
SEED, VIEWS = 5, 3


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def cache(items, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return FeatureCache(
        folder, small_encoder(), items.paths, AUGMENTATION, VIEWS, SEED, dtype="float32"
    )


def take(batches, count):
    return list(itertools.islice(batches, count))


def views_of(cache, features, rows):
    """Returns which view of its row each vector is."""
    same = (cache.views[:, rows] == features).all(axis=2)
    assert (same.sum(axis=0) == 1).all()
    return same.argmax(axis=0)


def test_gives_a_view_of_each_row_that_the_sampler_chose(items, cache):
    sampler = MPerClass(2, 3)
    batches = feature_batches(cache, items, sampler, seed=4)
    steps, seen = batches.steps_per_epoch, []
    for number, (features, labels) in enumerate(take(batches, 6 * steps)):
        epoch, step = divmod(number, steps)
        rows = batches.epoch_rows(epoch)[step]
        np.testing.assert_array_equal(rows, sampler.batches(items.labels, epoch, 4)[step])
        assert features.dtype == np.float32 and labels.dtype == np.int32
        np.testing.assert_array_equal(labels, items.labels[rows])
        seen.append(views_of(cache, features, rows))
    assert set(np.concatenate(seen).tolist()) == set(range(VIEWS))
    assert any(len(set(views.tolist())) > 1 for views in seen)


def test_the_plain_image_may_be_one_of_the_views(items, cache):
    batches = feature_batches(cache, items, MPerClass(2, 3), seed=4, plain=True)
    whole = np.concatenate([cache.plain[None], cache.views])
    seen = []
    for number, (features, _) in enumerate(take(batches, 8 * batches.steps_per_epoch)):
        epoch, step = divmod(number, batches.steps_per_epoch)
        same = (whole[:, batches.epoch_rows(epoch)[step]] == features).all(axis=2)
        assert (same.sum(axis=0) == 1).all()
        seen += same.argmax(axis=0).tolist()
    assert set(seen) == set(range(1 + VIEWS))


def test_seed_and_epoch_decide_and_a_resumed_training_gets_the_same(items, cache):
    steps = feature_batches(cache, items, Shuffle(6)).steps_per_epoch
    first = take(feature_batches(cache, items, Shuffle(6), seed=1), 3 * steps)
    resumed = take(feature_batches(cache, items, Shuffle(6), first_epoch=2, seed=1), steps)
    for (features, labels), (others, other_labels) in zip(first[2 * steps :], resumed, strict=True):
        np.testing.assert_array_equal(features, others)
        np.testing.assert_array_equal(labels, other_labels)

    class InOrder(Shuffle):
        def batches(self, labels, epoch, seed):
            return super().batches(labels, 0, 0)

    batches = [b[0] for b in take(feature_batches(cache, items, InOrder(6), seed=1), 2 * steps)]
    (other,) = take(feature_batches(cache, items, InOrder(6), seed=2), 1)
    assert (batches[0] != batches[steps]).any() and (batches[0] != other[0]).any()


def test_copies_of_an_image_are_different_views(items, tmp_path):
    single = items.take(list(range(0, 20, 5)))  # one image a class
    cache = FeatureCache(tmp_path, small_encoder(), single.paths, AUGMENTATION, VIEWS)
    sampler = MPerClass(4, 3, small_classes="repeat_augmented")
    batches = feature_batches(cache, single, sampler)
    for epoch in range(4):
        rows = batches.epoch_rows(epoch)[0]
        features, _ = batches.reader(epoch * batches.steps_per_epoch)
        views = views_of(cache, features, rows)
        for row in range(4):
            assert sorted(views[rows == row]) == [0, 1, 2]


def test_samples_are_the_rows_and_a_batch_may_be_the_whole_set(items, cache):
    batches = feature_batches(cache, items, Shuffle(20), samples=True)
    features, targets = take(batches, 1)[0]
    assert features.shape == (20, 8) and sorted(targets["samples"]) == list(range(20))
    np.testing.assert_array_equal(targets["labels"], items.labels[targets["samples"]])


def test_processes_take_their_shares_of_a_batch(items, cache, monkeypatch):
    def batches():
        return take(feature_batches(cache, items, Shuffle(10), samples=True), 4)

    whole, shares = batches(), []
    for index in range(2):
        monkeypatch.setattr(
            _processes, "_joined", SimpleNamespace(index=index, count=2, alone=False)
        )
        shares.append(batches())
    for number, (features, targets) in enumerate(whole):
        parts = [share[number] for share in shares]
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), features)
        for name, values in targets.items():
            both = [part[1][name] for part in parts]
            np.testing.assert_array_equal(np.concatenate(both), values)


def test_features_of_other_items_are_refused(items, cache):
    with pytest.raises(ArrayError, match="features of the items, 10 images; it holds 20"):
        feature_batches(cache, items.take(list(range(10))), Shuffle(4))


def test_batches_train_what_takes_features_and_no_other(items, cache):
    encoder, features = small_encoder(), feature_batches(cache, items, Shuffle(4))
    images = training_batches(items, Shuffle(4), AUGMENTATION, SIZE)
    for model, data, message in (
        (encoder, features, r"images must be \(N, H, W, 3\); got \(4, 8\)"),
        (head_of(encoder), images, r"features must be \(N, 8\), .* got \(4, 16, 16, 3\)"),
    ):
        learner = Learner(model, MultiSimilarity())
        learner.compile()
        with pytest.raises(ArrayError, match=message):
            learner.fit(data, steps_per_epoch=1)


PARTS = {
    "proxies": lambda: ProxyAnchor(),
    "memory": lambda: CrossBatchMemory(MultiSimilarity(), 16),
    "miner": lambda: Mined(MultiSimilarity(), BatchHardMiner()),
    "lengths": lambda: LOSSES["magface"](),
    "nested": lambda: Matryoshka(MultiSimilarity(), dims=(3, 6)),
}


@pytest.mark.parametrize(
    "name",
    [
        "proxies",
        "memory",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("miner", "lengths", "nested")),
    ],
)
def test_is_training_with_a_frozen_backbone_on_the_same_views(items, cache, name):
    sampler, epochs = MPerClass(CLASSES, 2), 3
    batches = feature_batches(cache, items, sampler, seed=SEED, samples=True)
    steps = batches.steps_per_epoch

    def trained(learner, data):
        keras.utils.set_random_seed(1)
        options = OptimizerOptions(name="sgd", learning_rate=0.1, head_learning_rate=0.1)
        learner.compile(build_optimizer(learner, options, steps, epochs))
        history = learner.fit(data, steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=0)
        values = [keras.ops.convert_to_numpy(v.value) for v in learner.trainable_variables]
        return history.history["loss"], values

    def learner_of(encoder):
        keras.utils.set_random_seed(2)
        return Learner(encoder, PARTS[name](), classes=CLASSES, regularizer=KoLeo())

    def images():
        for number, (features, targets) in enumerate(batches):
            rows = batches.epoch_rows(number // steps)[number % steps]
            views = views_of(cache, features, rows)
            crops = [
                AUGMENTATION.crop(
                    read_image(items.paths[row], AUGMENTATION.decode_side(SIZE)),
                    SIZE,
                    np.random.default_rng((SEED, 1 + view, row)),
                )
                for row, view in zip(rows, views, strict=True)
            ]
            yield np.stack(crops), targets

    encoder = small_encoder()
    losses, values = trained(learner_of(head_of(encoder)), batches)
    frozen = small_encoder()
    start = keras.ops.convert_to_numpy(frozen.get_layer("network").get_layer("embedding").kernel)
    frozen.get_layer("network").get_layer("conv4").trainable = False
    expected_losses, expected = trained(learner_of(frozen), images())
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-4)
    assert len(values) == len(expected)
    for value, other in zip(values, expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-3, atol=1e-5)
    end = keras.ops.convert_to_numpy(encoder.get_layer("network").get_layer("embedding").kernel)
    assert np.abs(end - start).max() > 1e-3
