"""The pairs that the miner of Multi-Similarity keeps."""

import keras
import numpy as np
import pytest

from dml.miners import MultiSimilarityMiner


def mined(labels, similarities, **options):
    masks = MultiSimilarityMiner(**options)(
        keras.ops.convert_to_tensor(np.array(labels)), keras.ops.cast(similarities, "float32")
    )
    return [keras.ops.convert_to_numpy(m) for m in masks]


def test_by_hand():
    similarities = np.array(
        [
            [1.0, 0.9, 0.5, 0.55, 0.3],  # keeps both positives' rivals above 0.5 - 0.1
            [0.9, 1.0, 0.8, 0.1, 0.2],
            [0.5, 0.8, 1.0, 0.0, 0.0],
            [0.55, 0.1, 0.0, 1.0, 0.7],
            [0.3, 0.2, 0.0, 0.7, 1.0],
        ]
    )
    positive, negative = mined([0, 0, 0, 1, 1], similarities)
    # Anchor 0: hardest negative 0.55, so the positive at 0.5 stays and that at 0.9 goes; hardest
    # positive 0.5, so the negative at 0.55 stays and that at 0.3 goes.
    assert np.flatnonzero(positive[0]).tolist() == [2]
    assert np.flatnonzero(negative[0]).tolist() == [3]
    # Anchor 4: positive 0.7, negatives at most 0.3: all easy.
    assert not positive[4].any() and not negative[4].any()


def test_agrees_with_loops_over_anchors():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 30)
    x = rng.normal(size=(30, 4))
    similarities = (x @ x.T).astype("float32")
    positive, negative = mined(labels, similarities, epsilon=0.3)
    for a in range(30):
        own = [j for j in range(30) if labels[j] == labels[a] and j != a]
        others = [j for j in range(30) if labels[j] != labels[a]]
        nearest = max(similarities[a, j] for j in others)
        farthest = min((similarities[a, j] for j in own), default=np.inf)
        expected = [j for j in own if similarities[a, j] - 0.3 < nearest]
        assert np.flatnonzero(positive[a]).tolist() == expected
        expected = [j for j in others if similarities[a, j] + 0.3 > farthest]
        assert np.flatnonzero(negative[a]).tolist() == expected


def test_keeps_nothing_without_both_kinds():
    for labels in ([0, 0, 0], [0, 1, 2]):
        positive, negative = mined(labels, np.ones((3, 3)), epsilon=float("inf"))
        assert not positive.any() and not negative.any()


def test_refuses_a_negative_epsilon():
    with pytest.raises(ValueError, match="epsilon"):
        MultiSimilarityMiner(epsilon=-0.1)
