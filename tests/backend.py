"""The only file with backend-specific code: values and gradients, compiled or not."""

import keras
import numpy as np
from keras import ops


def traced(fn):
    """Returns a function without arguments, traced on TensorFlow: a thousand calls take seconds."""
    if keras.backend.backend() != "tensorflow":
        return fn
    import tensorflow as tf

    return tf.function(fn)


def value_and_grad(fn, x, dtype="float32", compiled=False, any_batch=False):
    """Returns float32 arrays (fn(x), d fn / dx) of the active backend.

    `compiled` takes its compiler: jax.jit, tf.function. Compiling takes seconds, so that each
    formula is compiled once and its values are tested without. `any_batch` compiles for batches
    of any size, as TensorFlow's `fit` does.
    """
    x = ops.cast(np.asarray(x), dtype)
    match keras.backend.backend():
        case "jax":
            import jax

            step = jax.value_and_grad(lambda x: ops.reshape(fn(x), ()))
            value, grad = (jax.jit(step) if compiled else step)(x)
        case "tensorflow":
            import tensorflow as tf

            def step(x):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    value = ops.reshape(fn(x), ())
                zero = tf.UnconnectedGradients.ZERO
                return value, tape.gradient(value, x, unconnected_gradients=zero)

            if compiled:
                shape = tf.TensorSpec([None if any_batch else len(x), *x.shape[1:]], x.dtype)
                step = tf.function(step, input_signature=[shape])
            value, grad = step(x)
        case "torch":
            x = x.detach().requires_grad_()
            value = ops.reshape(fn(x), ())
            if value.requires_grad:
                value.backward()
            value, grad = value.detach(), ops.zeros_like(x) if x.grad is None else x.grad
    return tuple(ops.convert_to_numpy(ops.cast(v, "float32")) for v in (value, grad))
