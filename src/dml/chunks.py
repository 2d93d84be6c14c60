"""A large batch through a network in parts, at the memory of one."""

import keras
from keras import ops


def embed_in_chunks(network, images, count):
    """Returns a network's training output (B, D) of images, computed in parts.

    Their activations are not kept but computed again for the gradient, with the same random
    numbers and statistics: the parts are pure functions of what the network's state was.

    Args:
        network: A Keras model.
        images: Numbers (B, H, W, 3).
        count: Parts; positive, divides B.
    """
    variables = [ops.copy(v) for v in network.trainable_variables]
    state = [ops.copy(v) for v in network.non_trainable_variables]

    def forward(token, images, *values):
        trainable, state = values[: len(variables)], values[len(variables) :]
        # A token of next to nothing goes from part to part, and its gradient back from part to
        # part: a compiled graph would otherwise compute all of them at once.
        images = images + 1e-30 * token
        output, state = network.stateless_call(trainable, state, images, training=True)
        return 1e-30 * ops.sum(ops.cast(output, "float32")), output, *state

    forward = recomputed(forward)
    token, outputs = ops.zeros(()), []
    for part in ops.split(ops.cast(images, "float32"), count):
        token, output, *state = forward(token, part, *variables, *state)
        outputs.append(output)
    for variable, value in zip(network.non_trainable_variables, state, strict=True):
        variable.assign(value)
    return ops.concatenate(outputs)


def recomputed(function):
    """Returns a function of tensors that is computed again for its gradient."""
    if keras.backend.backend() != "tensorflow":
        return keras.remat(function)
    import tensorflow as tf

    # tf.recompute_grad makes the second pass wait for the gradient by a sum that the graph's
    # optimizer sees through: it merges both passes, and all activations stay.
    @tf.custom_gradient
    def run(*inputs):
        def gradient(*upstream):
            known = tf.abs(upstream[0]) + tf.abs(tf.reshape(upstream[1], [-1])[0])
            wait = tf.minimum(known, 0.0)  # 0, which the graph can not know
            again = [x + tf.cast(wait, x.dtype) for x in inputs]
            floats = [x for x in again if x.dtype.is_floating]
            with tf.GradientTape() as tape:
                tape.watch(floats)
                outputs = function(*again)
            pairs = zip(outputs, upstream, strict=True)
            pairs = [pair for pair in pairs if pair[0].dtype.is_floating]
            found = iter(
                tape.gradient(
                    [output for output, _ in pairs],
                    floats,
                    output_gradients=[gradient for _, gradient in pairs],
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
            )
            return [next(found) if x.dtype.is_floating else None for x in again]

        return function(*inputs), gradient

    return run
