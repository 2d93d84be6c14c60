"""Batches from files: deterministic, complete, in order, and reporting bad images."""

import logging
from types import SimpleNamespace

import cv2
import keras
import numpy as np
import pytest

from dml import _processes
from dml.augmentations import AUGMENTATIONS
from dml.datasets.items import Items
from dml.images import ImageError
from dml.losses import Contrastive
from dml.samplers import MPerClass, Shuffle
from dml.training.learner import Learner
from dml.training.loader import training_batches

CLASSES, EACH = 5, 6


@pytest.fixture
def items(tmp_path):
    """30 pictures of 5 classes; the mean grey level of picture i is about 8 i."""
    paths = []
    for i in range(CLASSES * EACH):
        image = np.random.default_rng(i).integers(0, 5, (40, 50 + i, 3), dtype=np.uint8) + 8 * i
        paths.append(str(tmp_path / f"{i:02}.{'jpg' if i % 2 else 'png'}"))
        assert cv2.imwrite(paths[-1], image)
    names = [f"class {i // EACH}" for i in range(len(paths))]
    ids = [f"id {i}" for i in range(len(paths))]
    return Items.build(paths, names, ["train"] * len(paths), ids, "zero-shot")


def truncate(path):
    with open(path, "rb+") as file:
        file.truncate(300)


def take(batches, count):
    return [batch for batch, _ in zip(batches, range(count), strict=False)]


def batches_of(items, sampler=None, augmentation="paper", size=24, **options):
    return training_batches(
        items, sampler or Shuffle(8), AUGMENTATIONS[augmentation](), size, **options
    )


def pictures(images):
    """Returns which picture each image is, by its grey level."""
    return np.round((np.asarray(images, float).mean(axis=(1, 2, 3)) - 2) / 8).astype(int)


def test_gives_uint8_images_with_their_labels(items):
    for images, labels in take(batches_of(items), 6):
        assert images.shape == (8, 24, 24, 3) and images.dtype == np.uint8
        assert labels.shape == (8,) and labels.dtype == np.int32
        np.testing.assert_array_equal(pictures(images) // EACH, labels)


def test_processes_read_their_shares_of_a_batch(items, monkeypatch):
    def batches():
        return take(batches_of(items, targets=lambda labels: labels[:, None] == labels), 5)

    whole, shares = batches(), []
    for index in range(4):
        monkeypatch.setattr(
            _processes, "_joined", SimpleNamespace(index=index, count=4, alone=False)
        )
        assert batches_of(items).input_shape == (2, 24, 24, 3)
        shares.append(batches())
    for number, (images, related) in enumerate(whole):
        parts = [share[number] for share in shares]
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), images)
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), related)


def test_follows_the_sampler_and_names_its_rows(items):
    sampler = MPerClass(2, 3)
    batches = batches_of(items, sampler, seed=4)
    steps = batches.steps_per_epoch
    for step, (images, _) in enumerate(take(batches, 2 * steps)):
        rows = batches.epoch_rows(step // steps)[step % steps]
        np.testing.assert_array_equal(
            rows, sampler.batches(items.labels, step // steps, 4)[step % steps]
        )
        np.testing.assert_array_equal(pictures(images), rows)


@pytest.mark.parametrize("reader", ["this thread", "TensorFlow's"])
def test_the_time_until_a_batch_is_there_is_counted(items, reader):
    batches = batches_of(items)
    assert batches.waiting.seconds == 0
    batches.waiting.step_began()
    next(iter(batches if reader == "this thread" else batches.tensorflow_dataset()))
    batches.waiting.step_ended()
    assert batches.waiting.seconds > 0


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_seed_gives_the_same_batches(items, threads):
    first, second = (take(batches_of(items, seed=1, threads=t), 7) for t in (2, threads))
    for (images, labels), (others, other_labels) in zip(first, second, strict=True):
        np.testing.assert_array_equal(images, others)
        np.testing.assert_array_equal(labels, other_labels)


def test_other_seeds_and_epochs_give_other_batches(items):
    steps = batches_of(items).steps_per_epoch
    first = take(batches_of(items), 2 * steps)
    assert any((a[0] != b[0]).any() for a, b in zip(first[:steps], first[steps:], strict=True))
    assert (take(batches_of(items, seed=1), 1)[0][0] != first[0][0]).any()


class InOrder(Shuffle):
    """The same rows, whatever the seed."""

    def batches(self, labels, epoch, seed):
        return super().batches(labels, epoch, 0)


def test_other_seeds_give_other_rows_and_other_crops_of_the_same_rows(items):
    assert (batches_of(items, seed=1).epoch_rows(0) != batches_of(items).epoch_rows(0)).any()
    first, other = (batches_of(items, InOrder(8), seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(first.epoch_rows(0), other.epoch_rows(0))
    assert (take(first, 1)[0][0] != take(other, 1)[0][0]).any()


def test_resuming_at_an_epoch_is_as_if_it_had_not_stopped(items):
    steps = batches_of(items).steps_per_epoch
    through = take(batches_of(items), 3 * steps)[2 * steps :]
    for resumed, expected in zip(
        take(batches_of(items, first_epoch=2), steps), through, strict=True
    ):
        np.testing.assert_array_equal(resumed[0], expected[0])


def test_copies_of_an_image_in_a_batch_are_augmented_differently(items):
    single = items.select("train")
    single.labels[:] = np.arange(len(single))  # one image a class
    sampler = MPerClass(4, 2, small_classes="repeat_augmented")
    batches = batches_of(single, sampler, augmentation="paper")
    images, labels = take(batches, 1)[0]
    for label in np.unique(labels):
        first, second = images[labels == label]
        assert (first != second).any()
    assert len(np.unique(batches.epoch_rows(0)[0])) == 4


def test_an_unreadable_image_ends_the_training_and_is_named(items):
    truncate(items.paths[7])
    with pytest.raises(ImageError, match=r"07\.jpg"):
        take(batches_of(items), 4)


def classifier():
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def learner():
    layers = [keras.layers.Flatten(), keras.layers.Dense(4), keras.layers.UnitNormalization()]
    model = Learner(keras.Sequential([keras.Input((24, 24, 3)), *layers]), Contrastive())
    model.compile("sgd")
    return model


@pytest.mark.parametrize("model", [classifier, learner])
def test_the_error_keeps_its_type_through_fit(items, model):
    truncate(items.paths[7])
    batches = batches_of(items, Shuffle(2), seed=2)
    with pytest.raises(ImageError, match=r"07\.jpg"), batches.named_errors():
        model().fit(batches, steps_per_epoch=15, epochs=2, shuffle=False, verbose=0)


def test_other_errors_pass_named_errors(items):
    with pytest.raises(FloatingPointError), batches_of(items).named_errors():
        raise FloatingPointError("the loss is not finite")


def test_skip_takes_another_image_of_the_class_and_names_the_file_once(items, caplog):
    truncate(items.paths[7])
    batches = batches_of(items, MPerClass(5, 3), on_unreadable="skip")
    with caplog.at_level(logging.WARNING):
        loaded = take(batches, 10)
    for images, labels in loaded:
        seen = pictures(images)
        np.testing.assert_array_equal(seen // EACH, labels)
        assert (np.bincount(labels) == 3).all()
        assert 7 not in seen and len(set(seen)) == 15
    assert list(batches.unreadable) == [items.paths[7]]
    assert [items.paths[7] in record.message for record in caplog.records] == [True]


def test_skip_takes_another_class_rather_than_a_copy(items):
    for i in range(1, 4):
        truncate(items.paths[i])  # class 0 has 0, 4 and 5 left
    batches = batches_of(items, MPerClass(2, 6), on_unreadable="skip", augmentation="none")
    for images, labels in take(batches, 5):
        seen = pictures(images)
        np.testing.assert_array_equal(seen // EACH, labels)
        assert len(set(seen)) == 12


def test_skip_gives_up_when_nothing_is_left(items):
    for path in items.paths:
        truncate(path)
    with pytest.raises(ImageError, match="no other image can take its place"):
        take(batches_of(items, on_unreadable="skip"), 1)


@pytest.mark.parametrize("model", [classifier, learner])
def test_fit_takes_exactly_the_steps_of_each_epoch(items, model):
    batches = batches_of(items, Shuffle(7))
    seen = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: seen.append(step))
    model().fit(
        batches,
        steps_per_epoch=batches.steps_per_epoch,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[count],
    )
    assert batches.steps_per_epoch == 4 and seen == [0, 1, 2, 3] * 2


@pytest.mark.parametrize("samples", [False, True])
def test_tensorflow_reads_the_same_batches_without_buffers_that_tune_themselves(items, samples):
    batches = batches_of(items, seed=3, samples=samples)
    dataset = batches.tensorflow_dataset()
    assert dataset.options().autotune.enabled is False  # or a training ends up to a minute late
    for ours, theirs in zip(take(batches, 5), dataset.as_numpy_iterator(), strict=False):
        keras.tree.map_structure(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize(
    "option, value",
    [("seed", -1), ("first_epoch", -1), ("threads", 0), ("size", 0), ("on_unreadable", "ignore")],
)
def test_refuses_options_out_of_range(items, option, value):
    with pytest.raises(ValueError, match=f"{option} must be"):
        batches_of(items, **{option: value})
