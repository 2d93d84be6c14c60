"""How an epoch's coverage is counted."""

import numpy as np
import pytest

from dml.samplers import Coverage, coverage


def test_by_hand():
    # Classes 5, 6 of 5, 6, 7; images 0, 1, 2 of 6; in the second batch image 2 a second time.
    found = coverage([[0, 1], [2, 2]], [5, 5, 6, 6, 7, 7])
    assert found == Coverage(classes=pytest.approx(2 / 3), images=0.5, copies=0.25)
    assert str(found) == (
        "66.7% of the classes and 50.0% of the images an epoch; 25.0% are copies within a batch"
    )


def test_nothing_is_covered_by_no_batches():
    assert coverage(np.empty((0, 4), np.int64), [1, 2]) == Coverage(0, 0, 0)
