"""Proxies of a sample of the classes: which are drawn, and what they are compared with."""

import keras
import numpy as np
import pytest
from keras import ops

from dml.heads import ProxyHead, SampledProxyHead
from tests.backend import traced


def sampled(classes, sample, **options):
    keras.utils.set_random_seed(0)
    head = SampledProxyHead(classes, 3, sample, seed=0, **options)
    head.build((None, 3))
    return head


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def tensor(labels):
    return ops.convert_to_tensor(np.asarray(labels, "int32"))


def drawn(head, labels):
    head.prepare_step(tensor(labels))
    return array(head.rows)


@pytest.mark.parametrize("classes, sample", [(5, 5), (7, 4), (64, 6), (65, 65), (100_003, 500)])
def test_a_draw_has_the_classes_of_the_batch_and_others_once_each(classes, sample):
    head, labels = sampled(classes, sample), [classes - 1, 0, classes - 1, 2]
    for _ in range(3):
        rows = drawn(head, labels)
        assert rows.shape == (sample,) and (np.diff(rows) > 0).all()  # ascending, none twice
        assert {0, 2, classes - 1} <= set(rows) and rows[-1] == classes - 1


def test_every_other_class_is_drawn_as_often_and_with_any_other():
    head, times = sampled(50, 10), 1000
    together, draw = np.zeros((50, 50)), traced(lambda: head.prepare_step(tensor([3, 7, 3])))
    for _ in range(times):
        draw()
        rows = array(head.rows)
        together[np.ix_(rows, rows)] += 1
    counts, others = np.diag(together), np.delete(np.arange(50), [3, 7])
    assert (counts[[3, 7]] == times).all()
    share = 8 / 48  # eight places for 48 classes
    assert np.abs(counts[others] - times * share).max() < 5 * (times * share * (1 - share)) ** 0.5
    both = share * 7 / 47
    pairs = together[np.ix_(others, others)][np.triu_indices(48, 1)]
    assert pairs.mean() == pytest.approx(times * both)
    # The variance of a count of independent draws; a draw in strides would have a far larger one.
    assert pairs.var() == pytest.approx(times * both * (1 - both), rel=0.2)


def test_training_compares_with_the_sample_and_anything_else_with_all():
    head = sampled(20, 6)
    rows = drawn(head, [4, 11])
    plain = ProxyHead(20, 3)
    plain.build((None, 3))
    plain.proxies.assign(array(head.table))
    x = np.eye(3, dtype="float32")
    everything = array(plain(x))
    np.testing.assert_allclose(array(head(x)), everything, atol=1e-6)
    np.testing.assert_allclose(array(head(x, training=True)), everything[:, rows], atol=1e-6)
    places = head.step_labels(ops.convert_to_tensor([11, 4, 11], dtype="int32"))
    assert rows[array(places)].tolist() == [11, 4, 11]


def test_what_a_step_has_changed_goes_back_to_its_classes():
    head = sampled(20, 6, proxies_per_class=2)
    before, rows = array(head.table), drawn(head, [4, 11])
    np.testing.assert_array_equal(array(head.proxies), before[rows])
    head.proxies.assign(head.proxies + 1.0)
    head.finish_step()
    after = array(head.table)
    np.testing.assert_array_equal(after[rows], before[rows] + 1.0)
    others = np.delete(np.arange(20), rows)
    np.testing.assert_array_equal(after[others], before[others])


def test_the_corrected_sum_of_the_softmax_is_right_in_the_mean():
    scale, x = 4.0, np.eye(3, dtype="float32")
    head = sampled(60, 12, correction=1 / scale)
    everything = np.exp(scale * array(head(x))).sum(axis=1)
    sums, draw = [], traced(lambda: head.prepare_step(tensor([5, 5, 9])))
    cosines = traced(lambda: head(x, training=True))
    for _ in range(500):
        draw()
        sums.append(np.exp(scale * array(cosines())).sum(axis=1))
    error = np.std(sums, axis=0) / len(sums) ** 0.5
    assert (np.abs(np.mean(sums, axis=0) - everything) < 4 * error).all()
    assert (error < 0.03 * everything).all()
    raised = array(head.raised)
    own = np.isin(array(head.rows), [5, 9])
    assert (raised[own] == 0).all()  # of 58 others 10 are drawn
    np.testing.assert_allclose(raised[~own], np.log(58 / 10) / scale, rtol=1e-5)


def test_nothing_is_corrected_where_the_batch_has_all_classes():
    head = sampled(4, 4, correction=0.5)
    drawn(head, [3, 0, 2, 1])
    assert (array(head.raised) == 0).all()


def test_impossible_samples_are_refused():
    for sample in (0, 21):
        with pytest.raises(ValueError, match=r"sample must be in \[1, 20\]"):
            SampledProxyHead(20, 3, sample)
    with pytest.raises(ValueError, match="3 classes in a step, fewer than the images of a batch"):
        drawn(sampled(20, 3), [1, 2, 3, 4])
