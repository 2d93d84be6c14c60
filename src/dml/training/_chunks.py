"""Passing a large batch through a network in parts, with the memory of one part."""

import keras
from keras import ops

from dml._devices import by_image
from dml.backbones._freezing import changing_weights
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
    others = network.non_trainable_variables
    frozen = _frozen_values(network)  # apart from the state, of which each part has its own
    kept = [v for v in others if id(v) not in frozen]
    state = [ops.copy(v) for v in kept]

    def forward(trainable, state, part):
        part, rest = ops.cast(part, "float32"), iter(state)
        values = [frozen[id(v)] if id(v) in frozen else next(rest) for v in others]
        output, values = network.stateless_call(trainable, values, part, training=True)
        after = [x for v, x in zip(others, values, strict=True) if id(v) not in frozen]
        return ops.cast(output, "float32"), after

    images = ops.stop_gradient(ops.convert_to_tensor(images))
    # Each part is divided among all devices, which else would get a part each.
    parts = by_image(ops.reshape(images, (count, -1, *images.shape[1:])), axis=1)
    outputs, state = in_turn(forward, trainable, state, parts)
    for variable, value in zip(kept, state, strict=True):
        variable.assign(value)
    return ops.reshape(outputs, (-1, outputs.shape[-1]))


def _frozen_values(network):
    """Returns {id: value} of the weights that no step changes."""
    changing = {id(w) for w in changing_weights(network)}
    frozen = [w for w in network.weights if id(w) not in changing and "float" in w.dtype]
    # Otherwise TensorFlow asks for a gradient of these variables, which the parts read.
    return {id(w): ops.stop_gradient(ops.convert_to_tensor(w)) for w in frozen}


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
