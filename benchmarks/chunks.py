"""Memory and time of a large batch, whole and in chunks (`make bench-chunks`).

    python benchmarks/chunks.py [--batch 256] [--size 128] [--chunks 1 2 4 8]

Trains MobileNet with Multi-Similarity on random images, each number of chunks in a process of its
own, and prints the growth of memory over the built model and the median time of a step.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

from memory import memory_mib


def measure(batch, size, chunks):
    """Returns the memory, the time and the first losses of a training."""
    import keras
    import numpy as np

    from dml.backbones import BACKBONES
    from dml.encoding.encoder import EmbeddingOptions, build_encoder
    from dml.losses import MultiSimilarity
    from dml.training.learner import Learner

    keras.utils.set_random_seed(0)
    backbone = BACKBONES["mobilenet"](input_size=size, resize_side=size, weights="none")
    learner = Learner(
        build_encoder(backbone, EmbeddingOptions(dim=64)), MultiSimilarity(), chunks=chunks
    )
    learner.compile(keras.optimizers.Adam(1e-4))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (batch, size, size, 3)).astype("uint8")
    labels = np.arange(batch) // 4
    before = memory_mib("VmRSS")
    times, losses = [], []
    for _ in range(4):
        start = time.perf_counter()
        losses.append(learner.train_on_batch(images, labels)[0])
        times.append(time.perf_counter() - start)
    return {
        "mib": memory_mib("VmHWM") - before,
        "seconds": statistics.median(times[1:]),
        "loss": float(losses[0]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.batch, options.size, options.chunks[0])))
        return
    print(f"{'chunks':>6} {'MiB':>7} {'s a step':>9} {'loss':>8}")
    for chunks in options.chunks:
        command = [sys.executable, __file__, "--here", "--chunks", str(chunks)]
        command += ["--batch", str(options.batch), "--size", str(options.size)]
        out = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
        found = json.loads(out.splitlines()[-1])
        print(f"{chunks:>6} {found['mib']:>7.0f} {found['seconds']:>9.2f} {found['loss']:>8.4f}")


if __name__ == "__main__":
    main()
