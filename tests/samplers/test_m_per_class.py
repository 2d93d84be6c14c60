"""Tests specific to batches of P classes with K images."""

import numpy as np
import pytest

from dml.samplers import MPerClass, coverage


def labels_of(*counts, seed=0):
    """Returns labels in random order: counts[c] of each class c."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(labels)


UNBALANCED = labels_of(*np.random.default_rng(3).integers(1, 30, 50))


def test_p_classes_with_k_different_images_each():
    labels = labels_of(*[7] * 11)
    for batch in MPerClass(3, 5).batches(labels, epoch=0, seed=0):
        classes, counts = np.unique(labels[batch], return_counts=True)
        assert len(classes) == 3 and (counts == 5).all()
        assert len(np.unique(batch)) == 15


@pytest.mark.parametrize("policy", ["once", "repeat_augmented"])
@pytest.mark.parametrize("p, k", [(4, 4), (7, 3), (40, 2), (1, 8)])
def test_every_epoch_visits_every_class_and_all_epochs_every_image(policy, p, k):
    sampler = MPerClass(p, k, small_classes=policy)
    seen = np.zeros(len(UNBALANCED), bool)
    for epoch in range(30 // k + 1):  # the largest class has 29 images
        batches = sampler.batches(UNBALANCED, epoch, seed=1)
        assert coverage(batches, UNBALANCED).classes == 1
        seen[batches] = True
    assert seen.all()


def test_an_epoch_deals_a_deck_before_it_repeats():
    # Two classes of 12, both in each of the 6 batches of 2 x 2: each image once.
    batches = MPerClass(2, 2).batches(labels_of(12, 12), epoch=5, seed=0)
    np.testing.assert_array_equal(np.sort(batches.ravel()), np.arange(24))


def test_decks_continue_from_epoch_to_epoch():
    # 12 images, 4 an epoch: three epochs deal all, and then comes another order.
    sampler = MPerClass(1, 4, steps=1)
    dealt = np.concatenate([sampler.batches(labels_of(12), epoch, 0) for epoch in range(6)])
    np.testing.assert_array_equal(np.sort(dealt[:3].ravel()), np.arange(12))
    np.testing.assert_array_equal(np.sort(dealt[3:].ravel()), np.arange(12))
    assert (dealt[:3] != dealt[3:]).any()


def test_classes_are_visited_about_equally_often():
    labels = labels_of(*[200] * 5, *[10] * 8)
    visits = np.bincount(labels[MPerClass(4, 4).batches(labels, 0, 0)].ravel()) / 4
    assert visits.max() <= 2 * visits.min()


def test_the_last_hand_of_a_deck_has_no_copies():
    labels = labels_of(5, 5, 5, 5)  # 5 images by 3: the second hand needs one of the first
    for epoch in range(10):
        assert coverage(MPerClass(2, 3).batches(labels, epoch, 0), labels).copies == 0


def test_once_fills_the_batch_from_further_classes_without_copies():
    labels = labels_of(1, 1, 2, 3, 9, 9, 9, 9)
    batches = MPerClass(3, 4, small_classes="once").batches(labels, epoch=0, seed=0)
    assert batches.shape[1] == 12
    assert coverage(batches, labels).copies == 0
    assert all(np.bincount(labels[batch]).max() <= 4 for batch in batches)
    assert any(len(np.unique(labels[batch])) > 3 for batch in batches)


def test_repeat_augmented_fills_with_copies_of_the_class():
    labels = labels_of(1, 2, 9, 9)
    batches = MPerClass(2, 4, small_classes="repeat_augmented").batches(labels, epoch=0, seed=0)
    for batch in batches:
        assert (np.unique(labels[batch], return_counts=True)[1] == 4).all()
        for label, images in ((0, 1), (1, 2)):
            assert len(np.unique(batch[labels[batch] == label])) in (0, images)


def test_skip_leaves_small_classes_out():
    labels = labels_of(3, 4, 9, 9)
    batches = MPerClass(2, 4, small_classes="skip").batches(labels, epoch=0, seed=0)
    assert set(np.unique(labels[batches])) == {1, 2, 3}
    assert coverage(batches, labels).classes == 0.75


def test_a_million_images_take_seconds():
    labels = np.random.default_rng(0).integers(0, 200_000, 1_000_000)
    batches = MPerClass(32, 8).batches(labels, epoch=40, seed=0)
    found = coverage(batches, labels)
    assert found.classes == 1 and found.copies == 0 and found.images > 0.95


@pytest.mark.parametrize(
    "options, labels, message",
    [
        ({"classes_per_batch": 5}, labels_of(9, 9), "the training split has only 2 classes"),
        (
            {"classes_per_batch": 2, "small_classes": "skip"},
            labels_of(9, 3, 3),
            "the training split has only 1 class with at least 4 images",
        ),
        (
            {"classes_per_batch": 3},
            labels_of(1, 1, 2),
            "at most 4 of each class make only 4 images",
        ),
        ({"classes_per_batch": 2, "steps": 2}, labels_of(*[9] * 5), "3 are needed to visit"),
    ],
)
def test_says_why_the_classes_do_not_do(options, labels, message):
    with pytest.raises(ValueError, match=message):
        MPerClass(**options).batches(labels, epoch=0, seed=0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"classes_per_batch": 0}, "must be at least 1"),
        ({"images_per_class": -1}, "must be at least 1"),
        ({"small_classes": "never"}, "once, repeat_augmented, skip"),
        ({"steps": -1}, "steps must be at least 0"),
    ],
)
def test_refuses_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        MPerClass(**options)
