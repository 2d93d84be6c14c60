"""Passing a large batch through a network in parts, with the memory of one part."""

import keras
from keras import ops

from dml.errors import OptionError


def embed_in_chunks(network, images, count):
    """Returns a network's training output, float32 (B, D), of images, computed in parts.

    Activations are not stored but computed again for the gradient, with the same random numbers and
    statistics: the parts are pure functions of the network's state. No gradient passes to the
    images.

    Args:
        network: A Keras model.
        images: Numbers (B, H, W, 3).
        count: Parts; positive, divides B.

    Raises:
        OptionError: `count` does not divide B.
    """
    if images.shape[0] is not None and images.shape[0] % count:
        raise OptionError(
            "chunks", f"must divide the batch; got {images.shape[0]} images in {count}"
        )
    trainable = [ops.copy(v) for v in network.trainable_variables]
    state = [ops.copy(v) for v in network.non_trainable_variables]

    def forward(trainable, state, part):
        part = ops.cast(part, "float32")
        output, state = network.stateless_call(trainable, state, part, training=True)
        return ops.cast(output, "float32"), state

    images = ops.stop_gradient(ops.convert_to_tensor(images))
    parts = ops.reshape(images, (count, -1, *images.shape[1:]))
    outputs, state = in_turn(forward, trainable, state, parts)
    for variable, value in zip(network.non_trainable_variables, state, strict=True):
        variable.assign(value)
    return ops.reshape(outputs, (-1, outputs.shape[-1]))


def in_turn(forward, trainable, state, parts):
    """Computes parts one after another, and again, one after another, for the gradient.

    Args:
        forward: From trainable values, state and a part to a float32 output and the next state.
        trainable: Tensors.
        state: Tensors.
        parts: Numbers (parts, ...).

    Returns:
        The outputs (parts, ...) and the last state.
    """
    if keras.backend.backend() == "tensorflow":
        return in_turn_by_tensorflow(forward, trainable, state, parts)

    @keras.remat
    def step(state, trainable, part):
        output, state = forward(trainable, state, part)
        return state, output

    state, outputs = ops.scan(lambda state, part: step(state, trainable, part), state, parts)
    return outputs, state


def in_turn_by_tensorflow(forward, trainable, state, parts):
    """Computes as `in_turn` does.

    The gradient is a separate loop: TensorFlow's gradient of a loop stores what each iteration
    computes, and its graph optimizer merges a second pass with the first unless they are separate.
    """
    import tensorflow as tf

    count, known = parts.shape[0], len(trainable)

    def loop(turn, *carried):
        """Runs `turn` with each part's number and the result of the previous iteration."""

        def body(i, *carried):
            return i + 1, *turn(i, *carried)

        _, *carried = tf.while_loop(
            lambda i, *_: i < count, body, (0, *carried), parallel_iterations=1
        )
        return carried

    @tf.custom_gradient
    def run(*values):
        trainable, state = values[:known], values[known:]

        def turn(i, state, before, outputs):
            before = [kept.write(i, value) for kept, value in zip(before, state, strict=True)]
            output, state = forward(trainable, state, parts[i])
            return state, before, outputs.write(i, output)

        before = [tf.TensorArray(value.dtype, count, element_shape=value.shape) for value in state]
        outputs = tf.TensorArray("float32", count)
        state, before, outputs = loop(turn, list(state), before, outputs)
        before = [kept.stack() for kept in before]

        def gradient(upstream, *_):
            def turn(i, sums):
                with tf.GradientTape() as tape:
                    tape.watch(trainable)
                    output, _ = forward(trainable, [value[i] for value in before], parts[i])
                found = tape.gradient(output, trainable, upstream[i], tf.UnconnectedGradients.ZERO)
                return ([a + b for a, b in zip(sums, found, strict=True)],)

            (sums,) = loop(turn, [tf.zeros_like(value) for value in trainable])
            return [*sums, *(None for _ in state)]

        return (outputs.stack(), *state), gradient

    outputs, *state = run(*trainable, *state)
    return outputs, state
