"""The behaviour of every loss on degenerate input: a Markdown table, docs/loss-properties.md.

    python benchmarks/loss_properties.py > docs/loss-properties.md

Values and gradients, on TensorFlow. "Finite" counts seeds, of `SEEDS` each in float32, float16 and
bfloat16. Two devices are measured with JAX, in a separate process.
"""

import json
import os
import subprocess
import sys

import numpy as np

SEEDS = 200
BATCH, CLASSES, DIM = 12, 5, 8
TYPES = ("float32", "float16", "bfloat16")
LONG = 25  # MagFace cuts lengths to 10..110


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def compiled(loss, head):
    """Returns a function of labels, embeddings and a type of numbers: the loss, its gradient."""
    import tensorflow as tf
    from keras import ops

    @tf.function(reduce_retracing=True)
    def step(labels, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            made = x if head is None else head(ops.cast(x, "float32"), labels)
            value = ops.sum(loss(labels, made))
        zero = tf.UnconnectedGradients.ZERO
        gradient = tape.gradient(value, x, unconnected_gradients=zero)
        return value, tf.cast(gradient, "float32")

    def value_and_gradient(labels, x, dtype="float32"):
        value, gradient = step(tf.constant(labels), tf.cast(x, dtype))
        return float(value), gradient.numpy()

    return value_and_gradient


def degenerate(kind, labels, rng, proxies):
    """Returns embeddings (B, D) of an awkward kind."""
    x = unit(rng.normal(size=(BATCH, DIM)))
    match kind:
        case "identical":
            return np.repeat(x[:1], BATCH, axis=0)
        case "opposite":
            return np.where(np.arange(BATCH) % 2, -1.0, 1.0)[:, None] * x[:1]
        case "zero":
            return np.zeros_like(x)
        case "duplicates":
            return np.repeat(x[: BATCH // 2], 2, axis=0)
        case _:  # each on its own class's proxy, exactly
            return unit(proxies[labels]) if proxies is not None else x


def finite(value_and_gradient, head, kind):
    """Counts the seeds at which value and gradient are finite, over the types of numbers."""
    count = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, CLASSES, BATCH).astype("int32")
        proxies = None
        if hasattr(head, "proxies"):
            shape = tuple(head.proxies.shape)
            head.proxies.assign(rng.normal(size=shape))
            proxies = head.proxies.numpy()[:, 0]
        x = degenerate(kind, labels, rng, proxies)
        for dtype in TYPES:
            value, gradient = value_and_gradient(labels, x, dtype)
            count += bool(np.isfinite(value) and np.isfinite(gradient).all())
    return count


def given(name):
    """Returns a loss, its head, and embeddings and labels."""
    from dml.losses import LOSSES

    loss = LOSSES[name]()
    head = loss.head(CLASSES, DIM)
    if head is not None:
        head.build((None, DIM))
    rng = np.random.default_rng(0)
    x = unit(rng.normal(size=(BATCH, DIM)))
    return loss, head, x, np.arange(BATCH, dtype="int32") % CLASSES


def on_two_devices():
    """Prints for every loss how far value or gradient of a batch on two devices is off, as JSON."""
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec
    from keras import ops

    from dml.losses import LOSSES

    halves = NamedSharding(Mesh(jax.devices()[:2], ("batch",)), PartitionSpec("batch"))
    off = {}
    for name in sorted(LOSSES):
        loss, head, x, labels = given(name)

        def value(x, labels, loss=loss, head=head):
            return ops.sum(loss(labels, x if head is None else head(x, labels)))

        step = jax.jit(jax.value_and_grad(value))
        x = x.astype("float32")
        (one, grad), (two, sharded) = (
            step(*arrays)
            for arrays in ((x, labels), (jax.device_put(x, halves), jax.device_put(labels, halves)))
        )
        spread = max(float(np.abs(grad).max()), 1e-6)
        off[name] = max(
            abs(float(two - one)) / max(abs(float(one)), 1e-6),
            float(np.abs(np.asarray(sharded) - np.asarray(grad)).max()) / spread,
        )
    print(json.dumps(off))


def measured_on_two_devices():
    """Returns what `on_two_devices` finds, from a process with two devices."""
    more = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, __file__, "--two-devices"]
    done = subprocess.run(command, env={**os.environ, **more}, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def properties(name, off):
    """Returns a row of the table."""
    loss, head, x, labels = given(name)
    rng = np.random.default_rng(1)
    value_and_gradient = compiled(loss, head)

    def value(labels, x, dtype="float32"):
        return value_and_gradient(labels, x, dtype)[0]

    plain, order = value(labels, x), rng.permutation(BATCH)
    shuffled = value(labels[order], x[order])
    longer = LONG * x if loss.reads_length else x
    once, twice = value(labels, longer), value(labels, 2 * longer)
    half = max(abs(value(labels, x, t) - plain) / max(abs(plain), 1e-6) for t in TYPES[1:])
    one_class, no_positives = value(np.zeros_like(labels), x), None
    if head is None:
        no_positives = value(np.arange(BATCH, dtype="int32"), x)
    total = SEEDS * len(TYPES)  # from here on the proxies change
    kinds = ("identical", "opposite", "zero", "duplicates", "on the proxy")
    kinds = [k for k in kinds if k != "on the proxy" or hasattr(head, "proxies")]
    counts = {k: finite(value_and_gradient, head, k) for k in kinds}
    bad = {k: total - c for k, c in counts.items() if c < total}
    return (
        name,
        "yes" if np.isclose(twice, once, rtol=1e-4) else "no",
        "yes" if np.isclose(shuffled, plain, rtol=1e-4) else "no",
        "all" if not bad else ", ".join(f"{k}: {n} not" for k, n in bad.items()),
        f"{100 * half:.1f} %",
        f"{one_class:.3g}",
        "" if no_positives is None else f"{no_positives:.3g}",
        f"{off:.0e}" if off > 1e-4 else "yes",
    )


def main():
    from dml.losses import LOSSES

    total = SEEDS * len(TYPES)
    print("# Behaviour of every loss on degenerate input\n")
    print("Generated by `python benchmarks/loss_properties.py` on the TensorFlow backend.\n")
    print(
        f"Finite: value and gradient, over {total} batches ({SEEDS} seeds in float32, float16 and\n"
        "bfloat16) of each kind: identical, opposite, zero and duplicate embeddings and, for\n"
        "losses with proxies, every embedding on its own class's proxy. Half: the largest\n"
        "relative change of the value when the embeddings are rounded to float16 or bfloat16.\n"
        "One class, no positives: the value of a batch of one class, or without a positive pair.\n"
        "Two devices: whether a batch that is divided between two devices (JAX, where a loss sees\n"
        "the whole batch) gives the same value and gradient as on one device, to 1e-4; otherwise\n"
        "the difference.\n"
    )
    print(
        "| loss | same at twice the length | same in any order | finite | half | one class "
        "| no positives | two devices |\n|---|---|---|---|---|---|---|---|"
    )
    off = measured_on_two_devices()
    for name in sorted(LOSSES):
        print(f"| {' | '.join(properties(name, off[name]))} |", flush=True)


if __name__ == "__main__":
    on_two_devices() if "--two-devices" in sys.argv else main()
