"""Tests specific to single pair losses, and relations for all of them."""

import dataclasses

import numpy as np
import pytest
from keras import ops

from dml.losses import LOSSES, PairLoss
from tests.backend import value_and_grad
from tests.finite_differences import finite_differences
from tests.losses import reference_graded, reference_pairs

LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 1])
PAIR_LOSSES = sorted(name for name in LOSSES if issubclass(LOSSES[name], PairLoss))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def number(x):
    return float(ops.convert_to_numpy(x).squeeze())


def embeddings(seed=0, rows=8):
    return unit(np.random.default_rng(seed).normal(size=(rows, 5))).astype("float32")


def relation(labels):
    return (labels[:, None] == labels[None, :]).astype("float32")


@pytest.mark.parametrize("name", ["contrastive", "snr_contrastive"])
@pytest.mark.parametrize("distance", ["euclidean", "snr", "squared"])
def test_exact_duplicates_are_no_active_pairs(name, distance):
    labels, x = with_duplicates()
    loss = LOSSES[name](distance=distance, power=1)
    options = {k: v for k, v in loss.get_config().items() if k not in ("name", "reduction")}
    expected = getattr(reference_pairs, name)(labels, x.astype("float64"), **options)
    assert number(loss(labels, x)) == pytest.approx(expected, rel=1e-4)


def test_exact_duplicates_are_no_active_pairs_by_cosine():
    labels, x = with_duplicates()
    options = {"positive_margin": 0.0, "power": 1}
    found = LOSSES["contrastive"](distance="cosine", negative_margin=0.5, **options)(labels, x)
    by_squares = reference_pairs.contrastive(
        labels, x.astype("float64"), distance="squared", negative_margin=1.0, **options
    )
    assert number(found) == pytest.approx(by_squares / 2, rel=1e-4)


def with_duplicates():
    """Returns labels, and embeddings of which many are exact copies of others."""
    rng = np.random.default_rng(0)
    x = unit(rng.normal(size=(24, 256))).astype("float32")
    return np.arange(48) % 4, x[rng.integers(0, 24, 48)]


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_a_relation_of_zeros_and_ones_does_as_labels_do(name):
    x = embeddings()
    found = number(LOSSES[name]()(relation(LABELS), x))
    assert found == pytest.approx(number(LOSSES[name]()(LABELS, x)), rel=1e-5)


def graded_relation():
    """Returns a symmetric relation (8, 8) of shares in (0, 1)."""
    graded = np.random.default_rng(1).random((8, 8)).astype("float32")
    return (graded + graded.T) / 2


@pytest.mark.parametrize("name", [n for n in PAIR_LOSSES if hasattr(reference_graded, n)])
def test_a_graded_relation_weights_the_pairs(name):
    graded, x = graded_relation(), embeddings().astype("float64")
    loss = LOSSES[name]()
    options = dataclasses.asdict(loss)

    def expected(x):
        return getattr(reference_graded, name)(graded.astype("float64"), x, **options)

    value, grad = value_and_grad(lambda x: loss(graded, x), x)
    assert value == pytest.approx(expected(x), rel=1e-4)
    if name not in ("circle", "ranked_list"):  # whose weights have no gradient
        np.testing.assert_allclose(grad, finite_differences(expected, x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_the_order_of_a_graded_relation_does_not_matter(name):
    graded, x, order = graded_relation(), embeddings(), np.random.default_rng(2).permutation(8)
    shuffled = number(LOSSES[name]()(graded[order][:, order], x[order]))
    assert shuffled == pytest.approx(number(LOSSES[name]()(graded, x)), rel=1e-4)


@pytest.mark.parametrize("name", sorted(set(PAIR_LOSSES) - {"adapted_triplet", "vicreg"}))
def test_a_sample_of_unknown_relations_has_no_effect(name):
    options = {"zero_mean_weight": 0.0} if name == "snr_contrastive" else {}
    loss = LOSSES[name](**options)
    x, far = embeddings(rows=8), embeddings(seed=5)
    unknown = relation(LABELS)
    unknown[7, :], unknown[:, 7] = np.nan, np.nan

    def gradient_of_the_others(last):
        rows = np.concatenate([x[:7], last[None]])
        return value_and_grad(lambda x: loss(unknown, x), rows)[1]

    one, other = gradient_of_the_others(far[0]), gradient_of_the_others(far[1])
    np.testing.assert_allclose(one[:7], other[:7], rtol=1e-4, atol=1e-6)
    if name != "instance":  # which pushes an image off itself alone
        assert np.abs(one[7]).max() < 1e-6


def test_contrastive_by_hand():
    # Distances 0.6 (positive), 1.4 and 0.8 (negative): 0.36 and, of the one inside 1, 0.04.
    x = np.array([[0.0], [0.6], [1.4]])
    loss = LOSSES["contrastive"]()
    assert number(loss(np.array([0, 0, 1]), x)) == pytest.approx(0.36 + 0.04, abs=1e-6)
    share = loss.active_share(np.array([0, 0, 1]), ops.cast(x, "float32"))
    assert number(share) == pytest.approx(4 / 6)


def test_n_pairs_by_hand():
    x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    a = np.log(1 + np.exp(0.6 - 0.8))  # anchor 0: negative 0.6, positive 0.8
    b = np.log(1 + np.exp(0.96 - 0.8))
    loss = LOSSES["n_pairs"](scale=1.0)
    assert number(loss(np.array([0, 0, 1]), x)) == pytest.approx((a + b) / 2, abs=1e-6)


def test_sup_con_by_hand():
    x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    a = -np.log(np.exp(0.8) / (np.exp(0.8) + np.exp(0.6)))
    b = -np.log(np.exp(0.8) / (np.exp(0.8) + np.exp(0.96)))
    loss = LOSSES["sup_con"](temperature=1.0)
    assert number(loss(np.array([0, 0, 1]), x)) == pytest.approx((a + b) / 2, abs=1e-6)


def test_circle_rests_where_pairs_are_beyond_their_optimum():
    x = np.array([[1.0, 0.0], [1.0, 0.0], [-0.6, 0.8]])
    _, grad = value_and_grad(lambda x: LOSSES["circle"]()(np.array([0, 0, 1]), x), x)
    assert np.abs(grad).max() < 1e-3


def test_smooth_ap_of_a_perfect_and_of_a_reversed_ranking():
    x = unit(np.array([[1, 0], [0.99, 0.1], [0, 1], [0.1, 0.99]]))
    loss = LOSSES["smooth_ap"]()
    assert number(loss(np.array([0, 0, 1, 1]), x)) < 0.01
    assert number(loss(np.array([0, 1, 0, 1]), x)) > 0.3


def test_recall_surrogate_counts_a_hit_at_k():
    x = unit(np.array([[1, 0], [0.99, 0.1], [0, 1], [0.1, 0.99]]))
    loss = LOSSES["recall_surrogate"](ks=(1,), recall_temperature=0.01)
    # The one positive has rank 1 = k, the middle of the sigmoid.
    assert number(loss(np.array([0, 0, 1, 1]), x)) == pytest.approx(0.5, abs=0.02)


def test_histogram_is_the_chance_of_a_negative_above_a_positive():
    x = unit(np.array([[1, 0], [1, 0], [-1, 0], [-1, 0]]))
    assert number(LOSSES["histogram"]()(np.array([0, 0, 1, 1]), x)) == pytest.approx(0, abs=1e-6)
    assert number(LOSSES["histogram"]()(np.array([0, 1, 0, 1]), x)) == pytest.approx(1)


def test_contrastive_margins_are_distances():
    with pytest.raises(ValueError, match="positive_margin must be at least 0; got -1"):
        LOSSES["contrastive"](positive_margin=-1)
    assert LOSSES["contrastive"](positive_margin=-1, distance="dot").positive_margin == -1


def test_angular_counts_only_negatives_of_both_ends():
    graded = relation(np.array([0, 0, 1]))
    graded[1, 2] = graded[2, 1] = np.nan  # 2 is no negative of 1
    x = embeddings(rows=3)
    assert number(LOSSES["angular"]()(graded, x)) == 0


BAD = {
    "angular": {"angle": 90.0},
    "barlow_twins": {"redundancy_weight": -1.0},
    "circle": {"scale": 0.0},
    "contrastive": {"power": 3},
    "fast_ap": {"bins": 0},
    "generalized_lifted": {"margin": -1.0},
    "histogram": {"bins": 0},
    "hyperbolic": {"curvature": -1.0},
    "instance": {"scale": 0.0},
    "intra_pair_variance": {"positive_slack": -0.1},
    "lifted_structure": {"distance": "snr"},
    "multiple_negatives_ranking": {"scale": 0.0},
    "n_pairs": {"scale": 0.0},
    "nt_xent": {"temperature": 0.0},
    "pairwise_sigmoid": {"scale": 0.0},
    "pnp": {"variant": "Z"},
    "ranked_list": {"balance": 2.0},
    "recall_surrogate": {"ks": ()},
    "roadmap": {"calibration": 2.0},
    "smooth_ap": {"temperature": 0.0},
    "snr_contrastive": {"zero_mean_weight": -1.0},
    "soft_nearest_neighbour": {"temperature": 0.0},
    "sup_con": {"temperature": 0.0},
    "threshold_consistent_margin": {"positive_similarity": 2.0},
    "tuplet_margin": {"slack": 91.0},
    "vicreg": {"variance_weight": -1.0},
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_options_out_of_range(name):
    with pytest.raises(ValueError, match=next(iter(BAD[name]))):
        LOSSES[name](**BAD[name])
