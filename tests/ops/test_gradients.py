"""Custom gradients are used on every backend."""

import numpy as np
import pytest
from keras import ops

from dml.ops import custom_gradient
from tests.backend import value_and_grad


@pytest.mark.parametrize("compiled", [False, True])
def test_uses_the_gradients_that_the_function_returns(compiled):
    @custom_gradient
    def product(x, y):
        """Multiplies."""
        return x * y, lambda upstream: (10.0 * upstream, 100.0 * upstream)

    value, grad = value_and_grad(
        lambda x: ops.sum(2.0 * product(x[0], x[1])), [[3.0], [4.0]], compiled=compiled
    )
    assert value == 24 and grad.tolist() == [[20], [200]]
    assert product.__doc__ == "Multiplies." and product.__name__ == "product"


def test_tensors_of_the_enclosing_function_are_constants():
    def times_itself(x):
        constant = ops.stop_gradient(x)

        @custom_gradient
        def times(y):
            return constant * y, lambda upstream: upstream * constant

        return ops.sum(times(x))

    value, grad = value_and_grad(times_itself, [3.0])
    assert value == 9 and np.asarray(grad).tolist() == [3]
