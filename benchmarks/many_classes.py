"""Time and memory of a step with very many classes, all of them and a sample (`head.sample`).

    python benchmarks/many_classes.py [--classes 100000 1000000] [--sample 1 0.1 ...]
        [--batch 128] [--dim 128] [--loss normalized_softmax] [--storage bfloat16]

Trains an embedding layer on random features, each case in a process of its own, with Adam,
and prints the median time of a step and the peak memory of the process.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

from memory import memory_mib


def measure(classes, sample, batch, dim, loss, storage):
    """Returns the memory, the time and the last loss of a few steps."""
    import keras
    import numpy as np

    from dml.backbones import Conv4
    from dml.encoding import EmbeddingOptions, build_encoder, head_of
    from dml.losses import LOSSES
    from dml.training import Learner

    keras.utils.set_random_seed(0)
    backbone = Conv4(input_size=16, resize_side=16, filters=dim)
    encoder = head_of(build_encoder(backbone, EmbeddingOptions(dim=dim)))
    storage = storage if sample < 1 else "float32"
    learner = Learner(encoder, LOSSES[loss](), classes, sample=sample, storage=storage)
    learner.compile(keras.optimizers.Adam(1e-3))
    rng = np.random.default_rng(0)
    times = []
    for _ in range(8):
        features = rng.normal(size=(batch, dim)).astype("float32")
        labels = rng.integers(0, classes, batch)
        start = time.perf_counter()
        last = float(learner.train_on_batch(features, labels)[0])
        times.append(time.perf_counter() - start)
    return {"mib": memory_mib("VmHWM"), "seconds": statistics.median(times[3:]), "loss": last}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--sample", type=float, nargs="+", default=[1, 0.1, 0.01])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--loss", default="normalized_softmax")
    parser.add_argument("--storage", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    rest = options.batch, options.dim, options.loss, options.storage
    if options.here:
        print(json.dumps(measure(options.classes[0], options.sample[0], *rest)))
        return
    print(f"{options.loss}, {options.batch} x {options.dim}, samples in {options.storage}\n")
    print("| classes | sample | s a step | GiB | loss |\n|---|---|---|---|---|")
    for classes in options.classes:
        for sample in options.sample:
            print(f"| {classes:,} | {sample:g} | {shown(classes, sample, *rest)} |", flush=True)


def shown(classes, sample, batch, dim, loss, storage):
    """Returns the cells of a case."""
    command = [sys.executable, __file__, "--here", "--classes", str(classes)]
    command += ["--sample", str(sample), "--batch", str(batch), "--dim", str(dim), "--loss", loss]
    command += ["--storage", storage]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode < 0:
        return f"killed by signal {-done.returncode} | |"
    done.check_returncode()
    found = json.loads(done.stdout.splitlines()[-1])
    return f"{found['seconds']:.3f} | {found['mib'] / 1024:.1f} | {found['loss']:.3f}"


if __name__ == "__main__":
    main()
