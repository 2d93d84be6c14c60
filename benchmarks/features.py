"""Epochs on cached features against training the same head through the frozen backbone.

    DML_DATA=... python benchmarks/features.py [--dataset cub50/train] [--views 4] [--rounds 3]

Prints the time to compute the cache, that of an epoch either way, in turns, because the speed of a
shared machine drifts, and the time to open the cache again. `--dataset` is a folder of class
folders below DML_DATA, `--weights` a weights file there.
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path


def learner_of(encoder, loss, classes):
    """Returns a compiled learner."""
    from dml.training import Learner

    learner = Learner(encoder, loss, classes=classes)
    learner.compile()
    return learner


def epoch_seconds(learner, batches, epochs):
    """Returns the seconds of each epoch, after one to warm up."""
    import keras

    ends = []

    def note(*_):
        keras.ops.convert_to_numpy(learner.optimizer.iterations)  # waits for the device
        ends.append(time.perf_counter())

    clock = keras.callbacks.LambdaCallback(on_epoch_end=note)
    learner.fit(
        batches,
        steps_per_epoch=batches.steps_per_epoch,
        epochs=1 + epochs,
        shuffle=False,
        verbose=0,
        callbacks=[clock],
    )
    return [end - start for start, end in itertools.pairwise(ends)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="cub50/train")
    parser.add_argument("--backbone", default="mobilenet")
    parser.add_argument("--weights", default="weights/mobilenet_0.75_224_imagenet_notop.weights.h5")
    parser.add_argument("--alpha", type=float, default=0.75)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    from dml.augmentations import RandomCropFlip
    from dml.backbones import BACKBONES
    from dml.datasets import Folder
    from dml.encoding import build_encoder, head_of
    from dml.losses import MultiSimilarity, ProxyAnchor
    from dml.samplers import MPerClass, Shuffle
    from dml.training import FeatureCache, feature_batches, training_batches

    root = Path(os.environ["DML_DATA"]) / options.dataset
    items = Folder(root=str(root), test_fraction=0.0, validation_fraction=0.0).items()
    items = items.select("train")
    classes = len(items.class_names)
    backbone = BACKBONES[options.backbone](
        alpha=options.alpha,
        weights=options.weights,
        input_size=options.size,
        resize_side=round(options.size * 1.15),
    )
    encoder, frozen = build_encoder(backbone), build_encoder(backbone)
    for layer in frozen.get_layer("network").layers:
        layer.trainable = layer.name == "embedding"
    augmentation = RandomCropFlip()
    with tempfile.TemporaryDirectory() as folder:

        def cached():
            start = time.perf_counter()
            cache = FeatureCache(folder, encoder, items.paths, augmentation, options.views)
            return cache, time.perf_counter() - start

        (cache, computing), (_, opening) = cached(), cached()
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        crops = len(cache) * (1 + options.views)
        print(
            f"{len(cache):,} images, plain and in {options.views} views, {cache.dimension} numbers "
            f"each: computed in {computing:.1f} s, {crops / computing:.0f} crops a second; "
            f"{size / 2**20:.1f} MiB; opened again in {opening:.2f} s"
        )
        head = head_of(encoder)
        for loss, sampler in (
            (MultiSimilarity(), MPerClass(16, 4)),
            (ProxyAnchor(), Shuffle(64)),
            (ProxyAnchor(), Shuffle(len(items))),
        ):
            one = learner_of(head, loss, classes)
            times = {"cached": [], "frozen": []}
            for _ in range(options.rounds):
                batches = feature_batches(cache, items, sampler)
                times["cached"] += epoch_seconds(one, batches, epochs=10)
                if sampler.batch_size <= 64:
                    other = learner_of(frozen, loss, classes)
                    images = training_batches(items, sampler, augmentation, options.size)
                    times["frozen"] += epoch_seconds(other, images, epochs=1)
            medians = {name: statistics.median(t) for name, t in times.items() if t}
            steps = batches.steps_per_epoch
            text = f"{type(loss).__name__}, batches of {sampler.batch_size:,}: "
            text += f"{1 / medians['cached']:.2f} epochs a second on features"
            text += f" ({1000 * medians['cached'] / steps:.2f} ms a step)"
            if "frozen" in medians:
                ratio = medians["frozen"] / medians["cached"]
                text += f", {1 / medians['frozen']:.4f} through the backbone: {ratio:.0f} times"
            print(text, flush=True)


if __name__ == "__main__":
    main()
