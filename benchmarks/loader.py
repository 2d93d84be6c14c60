"""Whether the loader keeps the model busy: trains from files and from one batch in memory.

    DML_DATA=... python benchmarks/loader.py [--size 128] [--batch-size 90] [--steps 12]

Prints the rate of reading alone, for 1, 2, ... threads, and that of training either way, in
images a second. `training_rates` takes any compiled Keras model and items.
"""

import argparse
import itertools
import statistics
import time


def reading_rate(items, augmentation, size, batch_size, threads, batches=20):
    """Returns how many images a second the loader alone delivers."""
    from dml.samplers import Shuffle
    from dml.training.loader import training_batches

    loaded = iter(training_batches(items, Shuffle(batch_size), augmentation, size, threads=threads))
    for _ in range(threads + 3):  # what was read ahead
        next(loaded)
    start = time.perf_counter()
    for _ in range(batches):
        next(loaded)
    return batches * batch_size / (time.perf_counter() - start)


def training_rates(model, items, sampler, augmentation, size, steps=12, rounds=5, threads=2):
    """Times the same training step on batches from files and on one batch in memory.

    In turns, because the speed of a shared machine drifts.

    Args:
        model: A compiled Keras model that `fit` trains on (uint8 images, int32 labels).
        items: `dml.datasets.Items`.
        sampler: A part of `dml.samplers`.
        augmentation: A part of `dml.augmentations`.
        size: Side of the images in pixels.
        steps: Steps of each measurement.
        rounds: Measurements of each kind.
        threads: Threads that read.

    Returns:
        Images a second (from files, from memory): two lists of `rounds` rates.
    """
    from dml.training.loader import training_batches

    batches = training_batches(items, sampler, augmentation, size, threads=threads)
    held = next(iter(batches))
    rates = {"files": [], "memory": []}
    for name in ["warm-up", *["files", "memory"] * rounds]:
        data = batches if name == "files" else (held for _ in itertools.count())
        clock = Clock(model)
        model.fit(data, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[clock.callback])
        rates.setdefault(name, []).append(sampler.batch_size * (steps - 1) / clock.seconds)
    return rates["files"], rates["memory"]


class Clock:
    """Measures from the end of the first step to the end of the last one."""

    def __init__(self, model):
        import keras

        def step_ends(step, logs):
            # Reading a variable waits until the device has calculated it.
            keras.ops.convert_to_numpy(model.optimizer.iterations)
            self.end = time.perf_counter()
            self.start = self.end if step == 0 else self.start

        self.callback = keras.callbacks.LambdaCallback(on_train_batch_end=step_ends)

    @property
    def seconds(self):
        return self.end - self.start


def mobilenet(size, classes):
    """Returns a compiled MobileNet 0.75 classifier; the weights don't matter to its speed."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((size, size, 3), dtype="uint8"),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.applications.MobileNet(
                (size, size, 3), alpha=0.75, include_top=False, weights=None
            ),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=keras.backend.backend() == "jax")
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="cars196-half")
    parser.add_argument("--augmentation", default="paper")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=90)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    from dml.augmentations import AUGMENTATIONS
    from dml.datasets import DATASETS
    from dml.samplers import Shuffle

    items = DATASETS[options.dataset](validation_fraction=0.0).items().select("train")
    augmentation = AUGMENTATIONS[options.augmentation]()
    for threads in range(1, options.threads + 1):
        rate = reading_rate(items, augmentation, options.size, options.batch_size, threads)
        print(f"reading alone, {threads} threads: {rate:.0f} images a second")
    files, memory = training_rates(
        mobilenet(options.size, len(items.class_names)),
        items,
        Shuffle(options.batch_size),
        augmentation,
        options.size,
        options.steps,
        options.rounds,
        options.threads,
    )
    for name, rates in (("files", files), ("memory", memory)):
        figures = ", ".join(f"{rate:.1f}" for rate in rates)
        print(f"training from {name}: {statistics.median(rates):.1f} images a second ({figures})")
    print(f"ratio of the medians: {statistics.median(files) / statistics.median(memory):.1%}")


if __name__ == "__main__":
    main()
