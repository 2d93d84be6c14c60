"""Episodes of few classes and images."""

import numpy as np
import pytest

from dml.errors import OptionError
from dml.evaluation import few_shot


def clustered(spread, classes=12, each=8, dim=16):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), each)
    return rng.normal(size=(classes, dim))[labels] + spread * rng.normal(
        size=(len(labels), dim)
    ), labels


def test_separate_classes_are_named_and_collapsed_ones_are_not():
    x, labels = clustered(0.01)
    assert few_shot(x, labels, episodes=50).accuracy == 1.0
    assert few_shot(np.ones_like(x), labels, episodes=50).accuracy == 0.0  # all tie


@pytest.mark.parametrize("dim", [8, 256])
def test_copies_tie_however_products_are_rounded(dim):
    x = np.tile(np.random.default_rng(0).normal(size=(1, dim)), (96, 1))
    found = few_shot(x, np.arange(96) % 12, ways=5, shots=3, episodes=50)
    assert found.accuracy == 0.0


def test_noise_scores_by_chance():
    x = np.random.default_rng(0).normal(size=(400, 32))
    found = few_shot(x, np.arange(400) % 20, ways=5, episodes=300)
    assert abs(found.accuracy - 0.2) < 3 * found.half_width


def test_more_shots_help_and_more_ways_are_harder():
    x, labels = clustered(1.5)
    easy = few_shot(x, labels, ways=5, shots=5, episodes=200)
    one = few_shot(x, labels, ways=5, shots=1, episodes=200)
    many = few_shot(x, labels, ways=12, shots=1, episodes=200)
    assert easy.accuracy > one.accuracy > many.accuracy


def test_the_interval_holds_what_other_draws_give():
    x, labels = clustered(1.5)
    whole = few_shot(x, labels, episodes=3000, seed=1).accuracy
    inside = [
        abs(found.accuracy - whole) <= found.half_width
        for found in (few_shot(x, labels, episodes=60, seed=s) for s in range(2, 32))
    ]
    assert sum(inside) >= 24


def test_a_class_may_have_few_queries():
    x, labels = clustered(0.01, each=3)
    assert len(few_shot(x, labels, shots=2, queries=15, episodes=7).episodes) == 7


def test_says_what_is_wrong():
    x, labels = clustered(0.1)
    with pytest.raises(ValueError, match="needs as many with more than 8 images; 0 have"):
        few_shot(x, labels, shots=8)
    with pytest.raises(ValueError, match="ways must be at least 2"):
        few_shot(x, labels, ways=1)


@pytest.mark.parametrize("name", ["ways", "shots", "queries", "episodes", "seed"])
@pytest.mark.parametrize("value", [-1, 2.5, True])
def test_options_are_integers(name, value):
    with pytest.raises(OptionError, match=f"{name} must be (an integer|at least [012]); got"):
        few_shot(*clustered(0.1), **{name: value})
    assert few_shot(*clustered(0.1), **{name: np.int64(3)}).episodes.size > 0
