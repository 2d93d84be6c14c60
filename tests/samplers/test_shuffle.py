"""Tests specific to shuffling."""

import numpy as np
import pytest

from dml.samplers import Shuffle


def test_each_image_once_but_for_the_last_partial_batch():
    batches = Shuffle(batch_size=4).batches(np.zeros(23), epoch=0, seed=0)
    assert batches.shape == (5, 4)
    assert len(np.unique(batches)) == 20


def test_refuses_an_empty_batch():
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        Shuffle(batch_size=0)
