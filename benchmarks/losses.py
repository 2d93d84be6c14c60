"""Time and memory of losses, forward and backward, beside the matrix products they can't avoid.

    python benchmarks/losses.py [--backend tensorflow] [--case NAME]... [--json FILE]

Each case runs in a process of its own, so that the peak of memory is its own. Gradients are those
of the embeddings and of the head's weights. `floor` is the time of the matrix products alone.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from memory import memory_mib, restart_peak

# name: (loss, options, batch, images per class or 0 for random labels, dim, classes, memory)
CASES = {
    "proxy_anchor_cars": ("proxy_anchor", {}, 180, 0, 512, 98, 0),
    "proxy_anchor_sop": ("proxy_anchor", {}, 180, 0, 512, 11318, 0),
    "proxy_anchor_100k": ("proxy_anchor", {}, 180, 0, 512, 100000, 0),
    "arcface_sop": ("arcface", {}, 180, 0, 512, 11318, 0),
    "proxy_nca_sop": ("proxy_nca", {"positive_in_denominator": True}, 180, 0, 512, 11318, 0),
    "soft_triple_sop": ("soft_triple", {"proxies_per_class": 2}, 180, 0, 512, 11318, 0),
    "soft_triple_cub": ("soft_triple", {"proxies_per_class": 10}, 32, 0, 64, 100, 0),
    "multi_similarity_80": ("multi_similarity", {}, 80, 5, 512, 16, 0),
    "multi_similarity_1024": ("multi_similarity", {}, 1024, 5, 512, 205, 0),
    "triplet_semihard_128": ("triplet", {"margin": 0.2}, 128, 4, 512, 32, 0),
    "triplet_semihard_512": ("triplet", {"margin": 0.2}, 512, 4, 512, 128, 0),
    "triplet_all_256": ("triplet", {"margin": 0.2, "mining": "all"}, 256, 4, 512, 64, 0),
    "triplet_all_512": ("triplet", {"margin": 0.2, "mining": "all"}, 512, 4, 512, 128, 0),
    "triplet_all_2048": ("triplet", {"margin": 0.2, "mining": "all"}, 2048, 4, 512, 512, 0),
    "contrastive_512": ("contrastive", {}, 512, 4, 512, 128, 0),
    "supcon_512": ("sup_con", {}, 512, 4, 512, 128, 0),
    "xbm_ms_50k": ("multi_similarity", {}, 64, 4, 512, 16, 50000),
}


def build(case):
    """Returns unit embeddings (B, D), labels (B,), and the loss with its built head, or None."""
    import numpy as np

    from dml.losses import LOSSES, CrossBatchMemory

    name, options, batch, per_class, dim, classes, memory = CASES[case]
    rng = np.random.default_rng(0)
    # Clustered, as in the middle of a training: positives are nearer than most negatives.
    labels = np.arange(batch) // per_class if per_class else rng.integers(0, classes, batch)
    centres = rng.normal(size=(classes, dim))
    x = centres[labels] + 1.5 * rng.normal(size=(batch, dim))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")
    loss = LOSSES[name](**options)
    if memory:
        loss = CrossBatchMemory(loss, size=memory, start=0)
    head = loss.head(classes, dim)
    if head is not None:
        head.build((None, dim))
    if memory:
        known = rng.integers(0, classes * 10, memory)
        rows = rng.normal(size=(memory, dim)).astype("float32")
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        head.memory.assign(rows)
        head.memory_labels.assign(known)
    return x, labels.astype("int32"), loss, head


def step_of(x, labels, loss, head):
    """Returns a function without arguments that runs one compiled forward and backward pass."""
    import keras
    from keras import ops

    labels, x = ops.convert_to_tensor(labels), ops.convert_to_tensor(x)
    trained = [] if head is None else head.trainable_variables

    def value_of(x):
        return ops.sum(loss(labels, x if head is None else head(x, labels)))

    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            @tf.function
            def step(x):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    value = value_of(x)
                    penalty = loss.penalty(head)
                    value = value if penalty is None else value + penalty
                return value, tape.gradient(value, [x, *(v.value for v in trained)])

            step.get_concrete_function(x)
            return lambda: [t.numpy() for t in step(x)[:1]]
        case "jax":
            import jax

            def pure(x, trainable):
                state = [v.value for v in head.non_trainable_variables] if head else []
                if head is None:
                    return ops.sum(loss(labels, x))
                made, _ = head.stateless_call(trainable, state, x, labels)
                return ops.sum(loss(labels, made))

            values = [v.value for v in trained]
            compiled = jax.jit(jax.value_and_grad(pure, argnums=(0, 1))).lower(x, values).compile()
            return lambda: jax.block_until_ready(compiled(x, values))
        case _:
            import torch

            def step():
                leaf = x.detach().requires_grad_()
                return torch.autograd.grad(value_of(leaf), [leaf, *(v.value for v in trained)])

            return step


def products_of(case):
    """Returns a function that runs the matrix products alone: of the scores, and of gradients."""
    import keras
    from keras import ops

    name, options, batch, _, dim, classes, memory = CASES[case]
    columns = memory or classes * options.get("proxies_per_class", 1)
    by_proxies = name in ("proxy_anchor", "arcface", "proxy_nca", "soft_triple")
    columns = columns if by_proxies or memory else batch

    def products(a, b, g):
        scores = ops.matmul(a, ops.transpose(b))
        back = [ops.matmul(g, b)]  # a batch's own pairs: once, of the two gradients' sum
        if by_proxies:
            back.append(ops.matmul(ops.transpose(g), a))
        return [scores, *back]

    shapes = ((batch, dim), (columns, dim), (batch, columns))
    arrays = [keras.random.normal(shape, seed=i) for i, shape in enumerate(shapes)]
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            compiled = tf.function(products)
            return lambda: compiled(*arrays)[-1].numpy()[0, 0]
        case "jax":
            import jax

            compiled = jax.jit(products)
            return lambda: jax.block_until_ready(compiled(*arrays))
        case _:
            return lambda: products(*arrays)


def median_ms(*works, seconds=8.0, least=7):
    """Returns the median time of each, taken in turn: a machine's pace changes."""
    times = [[] for _ in works]
    for _ in range(3):  # to warm up
        for work in works:
            work()
    while len(times[0]) < least or (sum(map(sum, times)) < seconds and len(times[0]) < 300):
        for work, some in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            some.append(time.perf_counter() - start)
    return [1000 * statistics.median(some) for some in times]


def measure(case):
    """Measures a case in this process."""
    step = step_of(*build(case))
    step_of(*build("soft_triple_cub"))()  # what the backend takes for itself is none of the case's
    gc.collect()
    before = memory_mib("VmRSS")
    restart_peak()
    for _ in range(3):
        step()
    peak = memory_mib("VmHWM") - before
    ms, floor = median_ms(step, products_of(case))
    return {
        "case": case,
        "ms": round(ms, 2),
        "peak_mib": round(peak, 1),
        "floor_ms": round(floor, 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="tensorflow", choices=("tensorflow", "jax", "torch"))
    parser.add_argument("--case", action="append", choices=CASES, help="default: all of them")
    parser.add_argument("--json", type=Path, help="a file for one JSON object a line")
    parser.add_argument("--here", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.here)))
        return
    environment = {**os.environ, "KERAS_BACKEND": options.backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `dml` has it
    print(f"{'case':24}{'ms':>10}{'peak MiB':>10}{'floor ms':>10}{'ratio':>8}")
    lines = []
    for case in options.case or CASES:
        command = [sys.executable, __file__, "--here", case]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        lines.append(done.stdout.splitlines()[-1])
        r = json.loads(lines[-1])
        print(
            f"{case:24}{r['ms']:10.2f}{r['peak_mib']:10.1f}{r['floor_ms']:10.2f}"
            f"{r['ms'] / r['floor_ms']:8.2f}",
            flush=True,
        )
        if options.json:
            options.json.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
