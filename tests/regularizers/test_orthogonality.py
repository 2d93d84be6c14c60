"""Tests specific to the orthogonality of proxies."""

import numpy as np
import pytest

from dml.regularizers import Orthogonality


def test_by_hand():
    # Cosines 0.6 and 0.8 and 0: (0.36 + 0.64 + 0) / 3
    proxies = np.array([[[1.0, 0.0, 0.0]], [[0.6, 0.8, 0.0]], [[0.0, 1.0, 0.0]]])
    assert float(Orthogonality(1.0)(proxies)) == pytest.approx(1 / 3, abs=1e-6)


def test_off_when_the_classes_outnumber_the_dimensions_unless_asked_for():
    proxies = np.random.default_rng(0).normal(size=(9, 1, 4)).astype("float32")
    proxies /= np.linalg.norm(proxies, axis=-1, keepdims=True)
    assert float(Orthogonality()(proxies)) == 0
    assert float(Orthogonality(crowded=True)(proxies)) > 0
