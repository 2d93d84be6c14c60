"""Time and memory of losses, forward and backward, against the unavoidable matrix products.

    python benchmarks/losses.py [--backend tensorflow] [--case NAME]... [--json FILE] [--peer]

Each case runs in a process of its own, so that the peak of memory is its own. Gradients are those
of the embeddings and of the head's weights. `floor` is the time of the matrix products alone. On a
machine with a GPU the backend uses it, and memory is the GPU's. `--peer` measures each case with
pytorch-metric-learning right after, where that is installed.
"""

import argparse
import gc
import json
import math
import os
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from memory import growth_mib

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


def arrays_of(case):
    """Returns unit embeddings (B, D) and labels (B,); rows (M, D) and labels (M,) of a memory."""
    import numpy as np

    _, _, batch, per_class, dim, classes, memory = CASES[case]
    rng = np.random.default_rng(0)
    # Clustered, as in the middle of a training: positives are nearer than most negatives.
    labels = np.arange(batch) // per_class if per_class else rng.integers(0, classes, batch)
    centres = rng.normal(size=(classes, dim))
    x = centres[labels] + 1.5 * rng.normal(size=(batch, dim))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")
    known = rng.integers(0, classes * 10, memory)
    rows = rng.normal(size=(memory, dim)).astype("float32")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return x, labels.astype("int32"), rows, known


def build(case):
    """Returns unit embeddings (B, D), labels (B,), and the loss with its built head, or None."""
    from dml.losses import LOSSES, CrossBatchMemory

    name, options, _, _, dim, classes, memory = CASES[case]
    x, labels, rows, known = arrays_of(case)
    loss = LOSSES[name](**options)
    if memory:
        loss = CrossBatchMemory(loss, size=memory, start=0)
    head = loss.head(classes, dim)
    if head is not None:
        head.build((None, dim))
    if memory:
        head.memory.assign(rows)
        head.memory_labels.assign(known)
        head.labelled.assign([1] * memory)
    return x, labels, loss, head


def step_of(x, labels, loss, head):
    """Returns a function without arguments that runs one compiled forward and backward pass."""
    import keras
    from keras import ops

    labels, x = ops.convert_to_tensor(labels), ops.convert_to_tensor(x)
    trained = [] if head is None else head.trainable_variables
    kept = [] if head is None else head.non_trainable_variables

    def value_of(x):
        value = ops.sum(loss(labels, x if head is None else head(x, labels, training=True)))
        penalty = loss.penalty(head)
        return value if penalty is None else value + penalty

    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            @tf.function
            def step(x):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    value = value_of(x)
                return value, tape.gradient(value, [x, *(v.value for v in trained)])

            step.get_concrete_function(x)
            return lambda: [t.numpy() for t in step(x)[:1]]
        case "jax":
            import jax

            def pure(x, weights, state):
                pairs = [*zip(trained, weights, strict=True), *zip(kept, state, strict=True)]
                with keras.StatelessScope(state_mapping=pairs) as scope:
                    value = value_of(x)
                return value, [scope.get_current_value(v) for v in kept]

            slopes = jax.value_and_grad(pure, argnums=(0, 1), has_aux=True)
            weights, state = ([v.value for v in variables] for variables in (trained, kept))
            compiled = jax.jit(slopes, donate_argnums=2).lower(x, weights, state).compile()

            def step():
                nonlocal state
                (value, state), gradients = compiled(x, weights, state)
                return jax.block_until_ready((value, gradients))

            return step
        case _:
            import torch

            def step():
                leaf = x.detach().requires_grad_()
                return finished(
                    torch.autograd.grad(value_of(leaf), [leaf, *(v.value for v in trained)])
                )

            return step


def finished(result):
    """Returns the result when PyTorch's GPU, where there is one, has done all it was asked for."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result


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
            return lambda: finished(products(*arrays))


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
    import keras

    step = step_of(*build(case))
    step_of(*build("soft_triple_cub"))()  # what the backend takes for itself is none of the case's
    gc.collect()
    peak = growth_mib(step, keras.backend.backend())
    ms, floor = median_ms(step, products_of(case))
    return {
        "case": case,
        "ms": round(ms, 3),
        "peak_mib": round(peak, 1),
        "floor_ms": round(floor, 3),
    }


def measured(script, case, environment):
    """Returns what a script measures of a case, in a process of its own."""
    command = [sys.executable, str(script), "--here", case]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{case}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="tensorflow", choices=("tensorflow", "jax", "torch"))
    parser.add_argument("--case", action="append", choices=CASES, help="default: all of them")
    parser.add_argument("--json", type=Path, help="a file for one JSON object a line")
    parser.add_argument("--peer", action="store_true", help="compare with pytorch-metric-learning")
    parser.add_argument("--here", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.here)))
        return
    if options.peer and not find_spec("pytorch_metric_learning"):
        parser.error("--peer needs `pip install pytorch-metric-learning`")
    environment = {**os.environ, "KERAS_BACKEND": options.backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `dml` has it
    titles = "| case | ms | MiB | ms / products |"
    titles += " peer ms | peer MiB | times as fast |" if options.peer else ""
    print(titles, "|---" * (titles.count("|") - 1) + "|", sep="\n")
    lines, gains = [], []
    for case in options.case or CASES:
        r = measured(__file__, case, environment)
        row = [case, r["ms"], r["peak_mib"], f"{r['ms'] / r['floor_ms']:.2f}"]
        if options.peer:
            peer = measured(Path(__file__).with_name("peer_losses.py"), case, environment)
            r |= {"peer_ms": peer["ms"], "peer_mib": peer["peak_mib"]}
            gains.append(peer["ms"] / r["ms"])
            row += [peer["ms"], peer["peak_mib"], f"{gains[-1]:.1f}"]
        print("|", " | ".join(map(str, row)), "|", flush=True)
        lines.append(json.dumps(r))
        if options.json:
            options.json.write_text("\n".join(lines) + "\n")
    if gains:
        print(f"\n{math.exp(statistics.fmean(map(math.log, gains))):.2f} times as fast in all")


if __name__ == "__main__":
    main()
