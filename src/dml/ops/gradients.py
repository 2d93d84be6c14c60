"""Functions with a custom gradient, on every backend."""

import functools
from collections.abc import Callable

from keras import ops


def custom_gradient(function: Callable) -> Callable:
    """Decorator: gives a function the gradient that it returns with its result.

    For functions whose automatic gradient is not finite, or stores more arrays than necessary. Like
    `keras.ops.custom_gradient`, whose gradients receive different arguments on each backend.

    Args:
        function: From tensors to `(result, gradient)`, where `gradient(upstream)` returns the
            gradient at each argument, a tuple where there are several. Tensors of an enclosing
            function must be constants (`keras.ops.stop_gradient`).

    Returns:
        The function, from tensors to the result.

    Example:
        >>> @custom_gradient
        ... def root(x):
        ...     result = ops.sqrt(x)
        ...
        ...     def gradient(upstream):
        ...         return ops.divide_no_nan(0.5 * upstream, result)
        ...
        ...     return result, gradient
        >>> float(root(ops.array(4.0)))
        2.0
    """

    @ops.custom_gradient
    def differentiable(*tensors):
        result, gradient = function(*tensors)

        def of(*positional, upstream=None):
            # JAX and TensorFlow pass it by position, PyTorch by name.
            return gradient(positional[0] if upstream is None else upstream)

        return result, of

    # PyTorch's is an object, which has no name to document.
    return functools.wraps(function)(lambda *tensors: differentiable(*tensors))
