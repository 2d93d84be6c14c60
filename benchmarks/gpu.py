"""What a GPU is used for: losses, the search of the evaluation, and training from JPEG files.

    python benchmarks/gpu.py [--backends tensorflow jax torch] [--parts losses search training]

`losses` is benchmarks/losses.py, beside pytorch-metric-learning where that is installed. `search`
times the nearest neighbours of all metrics of 60,502 images of Stanford Online Products' size, of
other classes. `training` trains ResNet50 and InceptionV3 with Proxy Anchor at 224 px in bfloat16,
from 512 JPEG files that are made for it, beside the same steps on one batch in memory, and reads
without training: the goal is 0.9 of the bare step.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
NETWORKS = ("resnet50", "inception_v3")
BACKENDS = ("tensorflow", "jax", "torch")


def search(size):
    """Prints the seconds of a search, after one that compiles."""
    import keras
    from retrieval import SIZES, planted

    from dml.evaluation import _device_search

    rows, classes, dim, _, ks = SIZES[size]
    vectors, _ = planted(rows, classes, dim)
    for depth in (11, max(ks) + 1):
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            for row in range(0, rows, 4096):
                _device_search.nearest(vectors[row : row + 4096], vectors, depth)
            seconds.append(time.perf_counter() - start)
        print(
            f"| search, {rows:,} x {dim}, {depth} nearest | {keras.backend.backend()} "
            f"| {min(seconds[1:]):.2f} s |",
            flush=True,
        )


def jpegs(folder, count=512, classes=32, size=(500, 375)):
    """Writes JPEG files of class folders, about as large as photos of CUB-200-2011."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        image = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        image = image + rng.normal(0, 8, image.shape)
        path = folder / f"{number % classes:03d}" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), image.clip(0, 255).astype(np.uint8))


def training(folder, size, batch_size, steps):
    """Prints images a second of each network, from files and from memory."""
    import keras
    from loader import reading_rate, training_rates

    import dml
    from dml._threads import reading_threads
    from dml.augmentations import AUGMENTATIONS
    from dml.backbones import BACKBONES
    from dml.datasets import DATASETS
    from dml.samplers import Shuffle

    backend, threads = keras.backend.backend(), reading_threads(None)
    items = DATASETS["folder"](root=str(folder), validation_fraction=0.0).items()
    augmentation = AUGMENTATIONS["paper"]()
    read = reading_rate(items, augmentation, size, batch_size, threads, batches=steps)
    print(f"| reading, {threads} threads | {backend} | {read:.0f} images/s |", flush=True)
    keras.config.set_dtype_policy("mixed_bfloat16")
    for name in NETWORKS:
        backbone = BACKBONES[name](weights="none", input_size=size, resize_side=size)
        learner = dml.Learner(dml.build_encoder(backbone), dml.losses.ProxyAnchor(), classes=32)
        learner.compile()
        sampler = Shuffle(batch_size)
        rates = training_rates(
            learner, items, sampler, augmentation, size, steps, rounds=3, threads=threads
        )
        files, memory = map(statistics.median, rates)
        print(
            f"| {name}, {size} px, batches of {batch_size} | {backend} | {files:.0f} images/s, "
            f"{files / memory:.2f} of the bare step's {memory:.0f} |",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parts = ("losses", "search", "training")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--rows", choices=("cub", "sop"), default="sop", help="of the search")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # of a process's JPEGs
    options = parser.parse_args()
    if options.folder:
        if "search" in options.parts:
            search(options.rows)
        if "training" in options.parts:
            training(options.folder, options.size, options.batch_size, options.steps)
        return
    with tempfile.TemporaryDirectory() as folder:
        if "training" in options.parts:
            jpegs(Path(folder))
        for backend in options.backends:
            if "losses" in options.parts:
                peer = ["--peer"] if backend == "torch" else []
                run("losses.py", backend, ["--backend", backend, *peer])
            if set(options.parts) - {"losses"}:
                run("gpu.py", backend, [*sys.argv[1:], "--folder", folder])


def run(script, backend, flags):
    """Runs a script with a backend."""
    environment = {**os.environ, "KERAS_BACKEND": backend}
    subprocess.run([sys.executable, str(HERE / script), *flags], env=environment, check=True)


if __name__ == "__main__":
    main()
