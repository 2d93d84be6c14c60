"""Images become squares."""

import numpy as np
import pytest

from dml.images._resizing import square


@pytest.mark.parametrize("aspect", ["keep", "stretch"])
def test_a_size_of_0_is_rejected(aspect):
    with pytest.raises(ValueError, match="size must be at least 1; got 0"):
        square(np.zeros((5, 7, 3), "uint8"), 0, aspect)
