"""The pairs that miners keep, against loops over anchors."""

import numpy as np
import pytest
from keras import ops

from dml.errors import OptionError
from dml.miners import (
    AngularMiner,
    BatchEasyHardMiner,
    BatchHardMiner,
    DistanceWeightedMiner,
    EasyPositiveMiner,
    MultiSimilarityMiner,
    PairMarginMiner,
    SemiHardMiner,
    TripletMarginMiner,
    UniformHistogramMiner,
)

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2])


def unit_rows(seed=0, dim=4):
    x = np.random.default_rng(seed).normal(size=(len(LABELS), dim))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def mined(miner, similarities, labels=LABELS, dim=4):
    known = {"dim": dim} if miner.wants else {}
    kept = miner(ops.array(labels), ops.cast(similarities, "float32"), **known)
    return [ops.convert_to_numpy(mask) for mask in kept]


def pairs_of(anchor, labels=LABELS):
    others = [j for j in range(len(labels)) if j != anchor]
    own = [j for j in others if labels[j] == labels[anchor]]
    return own, [j for j in others if labels[j] != labels[anchor]]


def test_batch_hard_by_hand():
    s = np.array([[1, 0.9, 0.2, 0.5], [0.9, 1, 0.1, 0.3], [0.2, 0.1, 1, 0.4], [0.5, 0.3, 0.4, 1]])
    positive, negative = mined(BatchHardMiner(), s, np.array([0, 0, 0, 1]))
    assert positive.argmax(1)[:3].tolist() == [2, 2, 1]
    assert negative[:3].sum(1).tolist() == [1, 1, 1] and negative[:3, 3].all()
    assert not positive[3].any() and not negative[3].any()  # no positive: nothing


@pytest.mark.parametrize("positives", ["hard", "easy", "semi_hard", "all"])
@pytest.mark.parametrize("negatives", ["hard", "easy", "semi_hard", "all"])
def test_batch_easy_hard_agrees_with_loops(positives, negatives):
    if "semi_hard" in (positives, negatives) and {positives, negatives} <= {"semi_hard", "all"}:
        with pytest.raises(ValueError, match="semi_hard"):
            BatchEasyHardMiner(positives, negatives)
        return
    s = unit_rows() @ unit_rows().T
    positive, negative = mined(BatchEasyHardMiner(positives, negatives), s)
    for a in range(len(LABELS)):
        own, rest = pairs_of(a)

        def chosen(found, choice, hardest_is_least, bound=None, a=a):
            if choice == "all" or not found:
                return set(found)
            if choice == "semi_hard":
                found = [j for j in found if (s[a, j] > bound) == hardest_is_least]
                choice = "hard"
            least = (choice == "hard") == hardest_is_least
            pick = min if least else max
            return {pick(found, key=lambda j: s[a, j])} if found else set()

        if positives == "semi_hard":
            kept_negative = chosen(rest, negatives, False)
            bound = s[a, next(iter(kept_negative))]
            kept_positive = chosen(own, positives, True, bound)
        else:
            kept_positive = chosen(own, positives, True)
            bound = s[a, next(iter(kept_positive))]
            kept_negative = chosen(rest, negatives, False, bound)
        if not kept_positive or not kept_negative:
            kept_positive = kept_negative = set()
        assert set(np.flatnonzero(positive[a])) == kept_positive
        assert set(np.flatnonzero(negative[a])) == kept_negative


@pytest.mark.parametrize(
    "miner, positives, negatives",
    [
        # No negative is less similar than the positive of anchors 0 and 1.
        (EasyPositiveMiner(), (0.2, 0.2), (0.5, 0.5)),
        (BatchEasyHardMiner("hard", "semi_hard"), (0.2, 0.2), (0.5, 0.5)),
        (BatchEasyHardMiner("semi_hard", "hard"), (0.2, 0.2), (0.5, 0.5)),
        (DistanceWeightedMiner(), (0.2, 0.2), (-0.5, -0.5)),  # all are too far
        (MultiSimilarityMiner(), (0.9, 0.9), (0.1, 0.1)),  # all are easy
        (SemiHardMiner(), (0.2, 0.2), (0.5, 0.5)),
        (TripletMarginMiner(), (0.9, 0.9), (0.1, 0.1)),
        (AngularMiner(), (0.99, 0.99), (-0.5, -0.5)),
    ],
)
def test_an_anchor_without_a_fitting_pair_of_each_kind_is_dropped(miner, positives, negatives):
    s = np.eye(4)
    s[0, 1], s[1, 0] = positives
    s[:2, 2:] = np.array(negatives)[:, None]
    s[2:, :2] = s[:2, 2:].T
    positive, negative = mined(miner, s, np.array([0, 0, 1, 2]))
    assert not positive.any() and not negative.any()
    fitting = s.copy()
    fitting[0, 1], fitting[0, 2] = (0.55, 0.52)  # now anchor 0 has both
    positive, negative = mined(miner, fitting, np.array([0, 0, 1, 2]))
    assert np.flatnonzero(positive.any(1)).tolist() == np.flatnonzero(negative.any(1)).tolist()
    if not isinstance(miner, AngularMiner):
        assert positive[0, 1] and negative[0, 2]


def test_easy_positive_is_easy_with_semi_hard():
    s = unit_rows() @ unit_rows().T
    same = zip(
        mined(EasyPositiveMiner(), s),
        mined(BatchEasyHardMiner("easy", "semi_hard"), s),
        strict=True,
    )
    assert all((a == b).all() for a, b in same)


@pytest.mark.parametrize("kind", ["all", "semi_hard"])
def test_triplet_margin_agrees_with_loops(kind):
    s = unit_rows() @ unit_rows().T
    miner = TripletMarginMiner(0.3, "all") if kind == "all" else SemiHardMiner(0.3)
    positive, negative = mined(miner, s)
    expected = np.zeros((2, len(LABELS), len(LABELS)), bool)
    for a in range(len(LABELS)):
        own, rest = pairs_of(a)
        for p in own:
            for n in rest:
                gap = s[a, p] - s[a, n]
                if gap < 0.3 and (kind == "all" or gap > 0):
                    expected[0, a, p] = expected[1, a, n] = True
    assert (positive == expected[0]).all() and (negative == expected[1]).all()


def test_angular_agrees_with_loops():
    x = unit_rows()
    positive, negative = mined(AngularMiner(40.0), x @ x.T)
    expected = np.zeros((2, len(LABELS), len(LABELS)), bool)
    for a in range(len(LABELS)):
        own, rest = pairs_of(a)
        for p in own:
            for n in rest:
                middle = (x[a] + x[p]) / 2
                tangent = np.linalg.norm(x[a] - x[p]) / (2 * np.linalg.norm(x[n] - middle))
                if tangent > np.tan(np.radians(40)):
                    expected[0, a, p] = expected[1, a, n] = True
    assert expected.any() and not expected[0][LABELS[:, None] == LABELS].all()
    assert (positive == expected[0]).all() and (negative == expected[1]).all()


def test_copies_have_no_angle():
    for rounding in (-1e-6, 0.0, 1e-6):
        s = np.full((4, 4), 1.0 + rounding)
        positive, negative = mined(AngularMiner(), s, np.array([0, 0, 1, 1]))
        assert not positive.any() and not negative.any()


def test_pair_margin_by_hand():
    s = np.array([[1.0, 0.9, 0.3], [0.7, 1.0, 0.1], [0.3, 0.1, 1.0]])
    positive, negative = mined(PairMarginMiner(), s, np.array([0, 0, 1]))
    assert positive.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert negative.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize("dim", [2, 16])
def test_distance_weighted_agrees_with_the_density(dim):
    x = unit_rows(dim=dim)
    positive, negative = mined(DistanceWeightedMiner(), x @ x.T, dim=dim)
    assert (positive == (LABELS[:, None] == LABELS) * (1 - np.eye(len(LABELS)))).all()
    for a in range(len(LABELS)):
        d = {n: max(np.linalg.norm(x[a] - x[n]), 0.5) for n in pairs_of(a)[1]}
        rare = {
            n: v ** -(dim - 2) * (1 - v**2 / 4) ** (-(dim - 3) / 2)
            for n, v in d.items()
            if v <= 1.4
        }
        for n in range(len(LABELS)):
            expected = rare[n] / sum(rare.values()) if n in rare else 0.0
            assert negative[a, n] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_distance_weighted_asks_for_the_length_of_the_embeddings():
    with pytest.raises(OptionError, match="dim must be given"):
        DistanceWeightedMiner()(ops.array(LABELS), ops.zeros((len(LABELS), len(LABELS))))


def test_uniform_histogram_caps_every_bin():
    x = unit_rows()
    _, negative = mined(UniformHistogramMiner(bins=4, per_bin=3), x @ x.T)
    places = np.clip(np.floor((x @ x.T + 1) * 2), 0, 3)
    there = LABELS[:, None] != LABELS
    for b in range(4):
        count = (there & (places == b)).sum()
        assert negative[there & (places == b)].sum() == pytest.approx(min(count, 3), rel=1e-5)


@pytest.mark.parametrize(
    "miner, options",
    [
        (AngularMiner, {"angle": 90.0}),
        (BatchEasyHardMiner, {"positives": "medium"}),
        (DistanceWeightedMiner, {"nearest": 3.0}),
        (PairMarginMiner, {"positive_similarity": 2.0}),
        (SemiHardMiner, {"margin": 0.0}),
        (TripletMarginMiner, {"kind": "hard"}),
        (UniformHistogramMiner, {"bins": 0}),
    ],
)
def test_refuses_options_out_of_range(miner, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        miner(**options)
