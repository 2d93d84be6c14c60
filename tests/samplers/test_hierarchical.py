"""Tests specific to batches of super-classes."""

import numpy as np
import pytest

from dml.samplers import Hierarchical, coverage
from dml.samplers.hierarchical import _schedule, _visits_of


def uneven(classes, images, seed=0):
    """Returns labels and super-labels, in random order: classes[s] of s with 1 to `images` each."""
    rng = np.random.default_rng(seed)
    supers = np.repeat(np.arange(len(classes)), classes)
    labels = rng.permutation(
        np.repeat(np.arange(len(supers)), rng.integers(1, images, len(supers)))
    )
    return labels, supers[labels]


def test_by_hand():
    # Two super-classes of two classes with two images: the one batch of 2 x 2 x 2 is all of them,
    # the images of a class side by side, those of a super-class in one half.
    labels, super_labels = np.array([0, 0, 1, 1, 2, 2, 3, 3]), np.array([5, 5, 9, 9, 5, 5, 9, 9])
    batches = Hierarchical(2, 2, 2).batches(labels, 0, 0, super_labels)
    assert batches.shape == (1, 8) and sorted(batches[0]) == list(range(8))
    assert (labels[batches[0, ::2]] == labels[batches[0, 1::2]]).all()
    assert {tuple(half) for half in super_labels[batches].reshape(2, 4)} == {(5,) * 4, (9,) * 4}


@pytest.mark.parametrize("s, p, k", [(2, 3, 4), (3, 2, 2), (1, 5, 3), (4, 1, 2)])
def test_s_super_classes_with_p_classes_with_k_images(s, p, k):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 8))
    for batch in Hierarchical(s, p, k).batches(labels, 2, 1, labels % 4):
        parts = batch.reshape(s, p, k)
        assert len(np.unique(labels[batch] % 4)) == s
        for part in parts:
            assert len(np.unique(labels[part] % 4)) == 1
            assert [len(np.unique(labels[hand])) for hand in part] == [1] * p
            assert len(np.unique(labels[part])) == p
        assert len(np.unique(batch)) == s * p * k


@pytest.mark.parametrize("policy", ["once", "repeat_augmented"])
@pytest.mark.parametrize("classes", [[10, 10, 10], [3, 40, 9, 14], [30, 1, 1, 2, 12]])
def test_every_epoch_visits_every_class_and_all_epochs_every_image(policy, classes):
    labels, super_labels = uneven(classes, images=20)
    sampler = Hierarchical(2, 3, 2, small_classes=policy)
    seen = np.zeros(len(labels), bool)
    for epoch in range(11):  # the largest class has 19 images
        batches = sampler.batches(labels, epoch, 1, super_labels)
        found = coverage(batches, labels)
        assert found.classes == 1 and (policy != "once" or found.copies == 0)
        seen[batches] = True
    assert seen.all()


def test_large_super_classes_come_more_often():
    labels = np.repeat(np.arange(60), 6)
    super_labels = np.repeat([0, 1, 2], [6 * 30, 6 * 20, 6 * 10])
    batches = Hierarchical(1, 2, 3).batches(labels, 0, 0, super_labels)
    visits = np.bincount(super_labels[batches[:, 0]])
    assert visits.tolist() == [30, 20, 10]


def test_a_class_with_few_images_is_filled_from_its_own_super_class():
    labels = np.repeat(np.arange(16), [1, 2] * 8)
    super_labels = labels // 8
    for batch in Hierarchical(2, 2, 2).batches(labels, 0, 0, super_labels):
        halves = super_labels[batch].reshape(2, 4)
        assert (halves == halves[:, :1]).all() and len(np.unique(batch)) == 8


def test_skip_leaves_small_classes_out():
    labels = np.repeat(np.arange(8), [1, 4, 4, 4] * 2)
    batches = Hierarchical(2, 3, 4, "skip").batches(labels, 0, 0, labels // 4)
    assert set(np.unique(labels[batches])) == {1, 2, 3, 5, 6, 7}


def test_super_classes_meet_all_others():
    labels = np.repeat(np.arange(120), 8)
    batches = Hierarchical(2, 2, 2).batches(labels, 0, 0, labels // 20)
    pairs = {tuple(np.unique(labels[batch] // 20)) for batch in batches}
    assert len(pairs) == 15  # of 6


def test_visits_by_hand():
    # Four batches of two: each at least as often as it must, none in more than all four.
    assert _visits_of(np.array([8, 2, 2]), np.array([2, 1, 1]), 4, 2).tolist() == [4, 2, 2]
    assert _visits_of(np.array([9, 1, 1]), np.array([3, 1, 1]), 4, 2).tolist() == [4, 2, 2]


@pytest.mark.parametrize("visits, each", [([4, 2, 2], 2), ([5, 5, 5], 3), ([3, 3, 1, 1, 1], 3)])
def test_a_schedule_keeps_every_visit(visits, each):
    steps = sum(visits) // each
    for seed in range(20):
        chosen = _schedule(np.array(visits), each, steps, np.random.default_rng(seed))
        assert np.bincount(chosen.ravel()).tolist() == visits
        assert all(len(set(batch)) == each for batch in chosen.tolist())


def test_says_what_is_missing():
    labels = np.repeat(np.arange(6), 4)
    with pytest.raises(ValueError, match=r"needs a super-label .* m_per_class"):
        Hierarchical().batches(labels, 0, 0)
    with pytest.raises(ValueError, match="only 2 super-classes"):
        Hierarchical(3, 1, 2).batches(labels, 0, 0, labels // 3)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"super_classes_per_batch": 0}, "super_classes_per_batch must be at least 1"),
        ({"classes_per_super_class": 0}, "classes_per_super_class must be at least 1"),
        ({"images_per_class": -1}, "images_per_class must be at least 1"),
        ({"small_classes": "never"}, "once, repeat_augmented, skip"),
    ],
)
def test_refuses_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Hierarchical(**options)
