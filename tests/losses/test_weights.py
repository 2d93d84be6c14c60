"""Weights of single images are refused."""

import pytest

from dml.errors import ArrayError
from dml.losses._weights import check_no_weights


def test_weights_are_refused_with_what_to_use_instead():
    check_no_weights(None)
    with pytest.raises(ArrayError, match=r"dml\.samplers\.Weighted"):
        check_no_weights([1.0, 2.0])
