"""Thresholds that keep their promise."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from dml.errors import ArrayError, DataError, OptionError
from dml.evaluation import (
    CalibratedThreshold,
    ThresholdKind,
    threshold_for_far,
    threshold_for_precision,
    thresholds_from_json,
    verification,
)

FIELDS = {
    "kind": "precision",
    "similarity": 0.75,
    "target": 0.9,
    "rate": 0.95,
    "bound": 0.91,
    "count": 100,
    "coverage": 0.5,
    "test_rate": None,
    "test_coverage": None,
}


def test_a_precision_by_hand():
    # 40 right ones are nearer than 40 wrong ones. If all are right, 29 suffice: 0.9^29 < 0.05.
    # There are starts at 36 and 72, each with half of the error, since 0.9^36 < 0.025. Of n
    # decisions, all right, the lower bound is 0.025^(1/n): 0.912 of 40. Of 40 right ones among 41
    # it is below 0.9.
    similarities = np.concatenate([np.linspace(0.99, 0.6, 40), np.linspace(0.4, -0.9, 40)])
    found = threshold_for_precision(similarities, np.arange(80) < 40, 0.9)
    assert (found.kind, found.target) == (ThresholdKind.PRECISION, 0.9)
    assert found.similarity == pytest.approx(0.6, abs=2e-6)
    assert (found.rate, found.count, found.coverage) == (1.0, 40, 0.5)
    assert found.bound == pytest.approx(0.025 ** (1 / 40))
    # The other way round, the nearest are wrong, and no threshold is right in 9 of 10.
    assert threshold_for_precision(-similarities, np.arange(80) < 40, 0.9) is None


def test_a_false_accept_rate_by_hand():
    # Two classes, each of 10 copies, 60 degrees apart: 90 genuine pairs at 1, 100 others at 0.5.
    # Of n impostors, none accepted, the upper bound is 1 - 0.05^(1/n): 0.0295 of 100.
    x = np.repeat([[1.0, 0.0], [0.5, 0.75**0.5]], 10, axis=0)
    found = threshold_for_far(verification(x, np.arange(20) // 10), 0.03)
    assert (found.kind, found.target) == (ThresholdKind.FAR, 0.03)
    assert found.similarity == pytest.approx(1.0, abs=2e-6)
    assert (found.rate, found.count) == (0.0, 100)
    assert found.bound == pytest.approx(1 - 0.05 ** (1 / 100))
    assert found.coverage == pytest.approx(90 / 190)
    assert threshold_for_far(verification(x, np.arange(20) // 10), 0.029) is None


def test_a_threshold_of_copies_is_a_similarity():
    # Products of float32 vectors with themselves may be above 1.
    found = threshold_for_precision([1 + 2e-7] * 40 + [0.5] * 40, np.arange(80) < 40, 0.9)
    assert found.similarity == pytest.approx(1.0, abs=2e-6)


@pytest.mark.parametrize("dim", [8, 64, 512])
def test_copies_reach_a_threshold_of_copies_in_any_library(dim):
    import faiss

    found = threshold_for_precision([1.0000001] * 40 + [0.5] * 40, np.arange(80) < 40, 0.9)
    x = np.random.default_rng(0).normal(size=(500, dim))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")
    index = faiss.IndexFlatIP(dim)
    index.add(x)
    assert (index.search(x, 1)[0] >= found.similarity).all()


def test_a_similarity_that_rounding_lowers_gets_the_same_decision():
    found = threshold_for_precision([0.9] * 40 + [0.5] * 40, np.arange(80) < 40, 0.9)
    assert 0.9 - 5e-7 >= found.similarity > 0.9 - 2e-6


def test_a_chain_of_ties_is_several_groups():
    # Neighbours are 5e-8 apart, so that each is a tie of the next. The nearer half is right. Of n
    # accepted, 10,000 are right: the bound is 0.9 or more up to a few of 11,111. There are ten
    # starts, 52, 104, ..., 26,624, each with a tenth of the error.
    falling, right = np.linspace(1, 0.999, 20_000), np.arange(20_000) < 10_000
    found = threshold_for_precision(falling, right, 0.9)
    accepted = int((falling >= found.similarity).sum())
    assert found.count == accepted and found.rate == 10_000 / accepted

    def bound(count):
        return binomtest(10_000, count).proportion_ci(0.99, method="exact").low

    # A group is 1e-6 wide, and holds 21 at most.
    assert found.bound == pytest.approx(bound(accepted)) and bound(accepted + 21) < 0.9
    spread = threshold_for_precision(np.linspace(1, 0, 20_000), right, 0.9)
    assert 0 <= spread.count - accepted <= 21


def test_json_gives_the_same_threshold():
    threshold = CalibratedThreshold.from_json(FIELDS)
    assert threshold.kind is ThresholdKind.PRECISION and threshold.similarity == 0.75
    text = json.dumps([threshold.to_json()])
    assert json.loads(text) == [FIELDS]
    assert thresholds_from_json(json.loads(text), "dml.json") == (threshold,)


def test_promises_in_words():
    assert CalibratedThreshold.from_json(FIELDS).promise == "at least 90 % right"
    far = CalibratedThreshold.from_json({**FIELDS, "kind": "far", "target": 0.001})
    assert far.promise == "at most 0.1 % of other pairs accepted"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kind": "recall"}, "kind must be precision or far; got 'recall'"),
        ({"kind": None}, "kind must be precision or far"),
        ({"kind": ["far"]}, "kind must be precision or far"),
        ({"similarity": 1.5}, r"similarity must be in \[-1, 1\]; got 1.5"),
        ({"similarity": float("nan")}, r"similarity must be in \[-1, 1\]"),
        ({"similarity": "0.5"}, r"similarity must be in \[-1, 1\]; got '0.5'"),
        ({"target": 1.0}, r"target must be in \(0, 1\); got 1.0"),
        ({"target": None}, r"target must be in \(0, 1\); got None"),
        ({"rate": -0.1}, r"rate must be in \[0, 1\]"),
        ({"test_rate": 2}, r"test_rate must be in \[0, 1\]"),
        ({"count": 0}, "count must be a positive integer"),
        ({"count": True}, "count must be a positive integer"),
        ({"wanted": 0.9}, "wanted is not a field"),
    ],
)
def test_an_invalid_threshold_in_a_file_is_named(change, message):
    with pytest.raises(DataError, match=rf"dml.json: damaged: thresholds\[1\]: {message}"):
        thresholds_from_json([FIELDS, {**FIELDS, **change}], "dml.json")


def test_a_threshold_without_a_field_is_named():
    with pytest.raises(OptionError, match="similarity is missing"):
        CalibratedThreshold.from_json({"kind": "far"})
    with pytest.raises(OptionError, match=r"an object of its fields; got 0\.5"):
        CalibratedThreshold.from_json(0.5)


def test_the_bound_is_clopper_and_pearsons():
    similarities = np.linspace(1, 0, 200)
    right = np.ones(200, bool)
    right[[50, 120, 160, 180, 190]] = False
    found = threshold_for_precision(similarities, right, 0.9)
    accepted = similarities >= found.similarity
    hits, count = int(right[accepted].sum()), int(accepted.sum())
    # Three starts (39, 78 and 156) share the error of 5 %, of which a two-sided interval has twice.
    exact = binomtest(hits, count).proportion_ci(1 - 0.1 / 3, method="exact").low
    assert found.bound == pytest.approx(exact, rel=1e-6) and found.bound >= 0.9
    assert found.count == count and found.rate == pytest.approx(hits / count)
    assert found.coverage == pytest.approx(count / 200)


@pytest.mark.parametrize(
    "count, precision_at, precision_from",
    [
        (5000, lambda s: np.full_like(s, 0.899), lambda t: 0.899),
        (200, lambda s: np.full_like(s, 0.89), lambda t: 0.89),
        (5000, lambda s: 0.75 + s / 4, lambda t: 0.75 + (1 + t) / 8),
        (1000, lambda s: 0.5 + s / 2, lambda t: 0.5 + (1 + t) / 4),
    ],
)
def test_a_promise_is_kept_by_the_threshold_that_is_chosen(count, precision_at, precision_from):
    broken, trials = 0, 200
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        similarities = rng.uniform(size=count)
        right = rng.uniform(size=count) < precision_at(similarities)
        found = threshold_for_precision(similarities, right, 0.9)
        broken += found is not None and precision_from(found.similarity) < 0.9
    assert broken <= 0.05 * trials


def test_a_few_wrong_ones_among_the_nearest_do_not_end_the_search():
    # Of all above 0.5, 97 % are right, and below, 60 %: from 0.38 on, 90 % are.
    coverages = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        similarities = rng.uniform(size=1000)
        right = rng.uniform(size=1000) < np.where(similarities > 0.5, 0.97, 0.6)
        right[np.argsort(-similarities)[:2]] = False
        found = threshold_for_precision(similarities, right, 0.9)
        coverages.append(found.coverage if found else 0)
    assert np.mean(coverages) > 0.45


def test_ties_are_taken_in_together():
    similarities = np.array([0.9] * 40 + [0.5] * 40)
    right = np.array([True] * 40 + [True] * 20 + [False] * 20)
    found = threshold_for_precision(similarities, right, 0.9)
    assert found.similarity == pytest.approx(0.9, abs=2e-6) and found.count == 40


def test_ties_that_are_rounded_apart_are_taken_in_together():
    rng = np.random.default_rng(0)
    similarities = np.repeat([0.9, 0.5], 40) + rng.uniform(-2e-7, 2e-7, 80)
    right = np.arange(80) < 60
    similarities[40:60] = similarities[40:].max() + 1e-8  # the right ones a little nearer
    found = threshold_for_precision(similarities, right, 0.9)
    assert found.similarity == pytest.approx(0.9, abs=1e-6) and found.count == 40


def test_too_few_can_promise_nothing():
    assert threshold_for_precision([0.9, 0.8], [True, True], 0.9) is None
    x = np.random.default_rng(0).normal(size=(12, 4))
    assert threshold_for_far(verification(x, np.arange(12) % 3), 0.001) is None


def test_a_false_accept_rate_is_kept_with_confidence():
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 6
    x = rng.normal(size=(6, 8))[labels] + rng.normal(size=(600, 8))
    pairs = verification(x, labels)
    found = threshold_for_far(pairs, 0.01)
    assert found.rate < found.bound <= 0.01
    assert found.similarity >= pairs.at_far(0.01)[1]


@pytest.mark.parametrize("options", [{"precision": 1.0}, {"precision": 0.5, "confidence": 0.0}])
def test_shares_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=r"must be in \(0, 1\)"):
        threshold_for_precision([0.5], [True], **options)


@pytest.mark.parametrize("right", [["False"] * 40, [np.nan] * 40, [2] * 40, [None] * 40])
def test_only_booleans_say_what_is_right(right):
    with pytest.raises(ArrayError, match="right must be booleans; got"):
        threshold_for_precision([0.9] * 40, right, 0.5)
    assert threshold_for_precision([0.9] * 40, [1] * 40, 0.5).rate == 1.0
    with pytest.raises(ArrayError, match="similarities must be numbers; got"):
        threshold_for_precision(["0.9"] * 40, [True] * 40, 0.5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_tensors_are_arrays(dtype):
    torch = pytest.importorskip("torch")
    similarities = torch.full((40,), 0.5, dtype=getattr(torch, dtype), requires_grad=True)
    found = threshold_for_precision(similarities, torch.ones(40, dtype=torch.bool), 0.9)
    assert found.similarity == pytest.approx(0.5, abs=2e-6) and found.count == 40


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="the same length"):
        threshold_for_precision([0.5], [True, False], 0.5)
    for wrong in (np.nan, 1.1, -np.inf):
        with pytest.raises(ArrayError, match=r"must be in \[-1, 1\], cosines; row 1 is"):
            threshold_for_precision([0.5, wrong], [True, False], 0.5)
