"""Trains on one device and on several, and prints how far they are apart: run by test_devices.py.

XLA_FLAGS=--xla_force_host_platform_device_count=4 python -m tests.on_devices
"""

import json
import math
import re
import sys
from pathlib import Path

import jax
import keras
import numpy as np

import dml
from dml.encoding._layers import UnitLength
from dml.heads import ProxyHead, ProxyLengthHead, WalkHead
from dml.losses import (
    LOSSES,
    ArcFace,
    CrossBatchMemory,
    Matryoshka,
    Mined,
    MultiSimilarity,
    NTXent,
    ProxyAnchor,
    SelfSupervised,
)
from dml.miners import BatchHardMiner
from dml.regularizers import REGULARIZERS
from tests.runs.on_devices import run_results

# Four devices share neither the classes nor, as two do, get one class more than the other.
CLASSES, EACH, DIM, STEPS = 10, 2, 8, 20
BATCH = 8 * EACH
# By default its steps are so steep that they amplify rounding.
OPTIONS = {"smooth_ap": {"temperature": 0.1}}


def data(of_images=False):
    """Returns features (N, 8) or images (N, 8, 8, 3), and labels: batches of 8 classes each."""
    rng = np.random.default_rng(0)
    shape = (8, 8, 3) if of_images else (8,)
    labels = [np.repeat(rng.permutation(CLASSES)[:8], EACH) for _ in range(STEPS)]
    labels = np.concatenate(labels).astype("int32")
    centres = rng.normal(size=(CLASSES, *shape))
    return (centres[labels] + 0.7 * rng.normal(size=(len(labels), *shape))).astype(
        "float32"
    ), labels


def encoder_of_features(dim=DIM):
    """Returns a model like those of `dml.encoding.head_of`."""
    features = keras.Input((8,), name="pooled")
    x = keras.layers.Dense(dim, name="embedding")(features)
    return keras.Model(features, UnitLength(name="unit_length")(x), name="head")


def encoder_of_images():
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, use_bias=False)(images)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dense(DIM)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, UnitLength()(x))


def learner_of(loss, of_images=False, rate=0.005, classes=CLASSES, dim=DIM, **options):
    keras.utils.set_random_seed(0)
    encoder = encoder_of_images() if of_images else encoder_of_features(dim)
    learner = dml.Learner(encoder, loss, classes=classes, **options)
    # Its momentum after the first step is the gradient.
    learner.compile(keras.optimizers.SGD(rate, momentum=0.9))
    return learner


def trained(learner, of_images=False):
    """Returns loss and telemetry, the gradient of the first step, and the weights after the last.

    Loss and telemetry are those of the first step, and the means of the others.
    """
    x, labels = data(of_images)
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    logs = [learner.fit(x[:BATCH], labels[:BATCH], **options).history]
    momentum = [v for v in learner.optimizer.variables if v.path.endswith("momentum")]
    gradient = np.concatenate([array(v).ravel() for v in momentum])
    logs.append(learner.fit(x[BATCH:], labels[BATCH:], **options).history)
    numbers = [np.array([log[name][0] for log in logs]) for name in logs[0]]
    return [*numbers, gradient, *map(array, learner.variables)]


def array(variable):
    return keras.ops.convert_to_numpy(variable.value)


def distance(found, expected):
    """Returns the largest difference of arrays, relative to the largest entry of each."""
    assert all(np.isfinite(each).all() for each in expected)
    return max(
        float(np.abs(a.astype("float64") - b).max() / max(np.abs(b).max(), 1e-9))
        for a, b in zip(found, expected, strict=True)
    )


def distances(count, make, of_images=False, whole=True):
    """Returns how far a training on several devices is from that on one.

    Args:
        count: Of devices.
        make: Returns a learner.
        of_images: Whether it takes images.
        whole: Whether to train proxies on all devices as well as divided between them.

    Returns:
        {"divided": number} with the batch divided alone, {"sharded": number} with the proxies, too.
    """
    learner = make()
    expected, found = trained(learner, of_images), {}
    has_proxies = any(v.name == "proxies" for v in learner.variables)
    if whole or not has_proxies:
        with dml.on_devices(count):
            found["divided"] = distance(trained(make(), of_images), expected)
    if has_proxies:
        with dml.on_devices(count, shard_proxies=True):
            found["sharded"] = distance(trained(make(), of_images), expected)
    return found


def wrappers():
    """Returns {name: (what makes a learner, whether it takes images)}."""
    miner = Mined(MultiSimilarity(), BatchHardMiner())
    memory = CrossBatchMemory(MultiSimilarity(), size=24, start=2)
    nested, views = Matryoshka(ProxyAnchor(), [4, DIM]), SelfSupervised(NTXent(temperature=0.5))
    return {
        "miner": (lambda: learner_of(miner), False),
        "memory": (lambda: learner_of(memory), False),
        "nested dims": (lambda: learner_of(nested), False),
        "regularizer": (
            lambda: learner_of(ProxyAnchor(), regularizer=REGULARIZERS["regular_face"]()),
            False,
        ),
        "sample of the classes": (
            lambda: learner_of(ProxyAnchor(), classes=40, sample=0.5),
            False,
        ),
        "average": (lambda: learner_of(ProxyAnchor(), average_decay=0.9), False),
        "sample": (lambda: learner_of(ArcFace(), classes=40, sample=0.5), False),
        "two views": (
            lambda: learner_of(
                views, True, 0.001, augmentation=[keras.layers.GaussianNoise(0.5, seed=1)]
            ),
            True,
        ),
        "chunks": (lambda: learner_of(ProxyAnchor(), True, chunks=2), True),
    }


def of_uneven_batches(count):
    """Returns how far fit, evaluate, predict and embed are off, with a last batch of other size."""
    x, labels = (each[:61] for each in data())

    def everything():
        learner = learner_of(ProxyAnchor())
        history = learner.fit(
            x,
            labels,
            batch_size=BATCH,
            epochs=2,
            shuffle=False,
            validation_data=(x[:21], labels[:21]),
            verbose=0,
        )
        logs = learner.evaluate(x, labels, batch_size=BATCH, return_dict=True, verbose=0)
        return [
            *(np.array(values) for values in history.history.values()),
            np.array(list(logs.values())),
            learner.predict(x, batch_size=BATCH, verbose=0),
            learner.predict_on_batch(x[:6]),
            learner.embed(x[:21], batch_size=BATCH),
            np.array(learner.test_on_batch(x[:5], labels[:5])),
        ]

    expected = everything()
    with dml.on_devices(count):
        return distance(everything(), expected)


def table_parts(count, classes):
    """Returns the entries of each part of the tables of a sampled head, relative to the whole."""
    with dml.on_devices(count, shard_proxies=True):
        learner = learner_of(ProxyAnchor(), classes=classes, dim=32, sample=0.5)
        tables = [learner.head.table, *learner.slots.tables]
        parts = [part.data.size for v in tables for part in v.value.addressable_shards]
    return [part / (classes * 32) for part in parts]


def largest_array(count, loss, classes, each=1):
    """Returns the most entries of an array that one device holds in a step, relative to its share.

    As the compiled program of a device lists them, in which each array has the size of a part. The
    share is that of the numbers, `each` for a class, of a batch of 64; 32 dimensions are fewer.
    """
    with dml.on_devices(count, shard_proxies=True):
        learner = learner_of(loss, classes=classes, dim=32)
        learner.make_train_function()
        slots = [v for v in learner.optimizer.variables if v.shape == learner.head.proxies.shape]
        for variable in (learner.head.proxies, *slots):
            parts = variable.value.addressable_shards
            assert {part.data.size for part in parts} == {variable.value.size // count}
        data = np.zeros((64, 8), "float32"), np.zeros(64, "int32")
        shardings = (None, learner._get_state_sharding_spec())
        step = jax.jit(learner.train_step, out_shardings=shardings)
        text = step.lower(learner._get_jax_state(*[True] * 4), data).compile().as_text()
    shapes = re.findall(r"\w\[([\d,]+)\]", text)
    largest = max(math.prod(map(int, shape.split(","))) for shape in shapes)
    return largest / (64 * each * math.ceil(classes / count))


def largest_arrays(count, names):
    """Returns {loss and classes: `largest_array`} of those losses that compare with proxies."""
    found = {}
    for name in names:
        head = LOSSES[name]().head(4096, 32)
        if not isinstance(head, ProxyHead) or isinstance(head, WalkHead):  # of all to all proxies
            continue
        each = 2 if isinstance(head, ProxyLengthHead) else head.proxies_per_class
        for classes in (4096, 4095) if name == "arcface" else (4096,):
            share = largest_array(count, LOSSES[name](), classes, each)
            found[f"{name} of {classes}"] = share
    return found


def main(folder):
    count = len(jax.devices())
    # Their compilation takes the time: each loss on two devices or on four, which do the rest, too.
    names = [name for i, name in enumerate(sorted(LOSSES)) if (i % 3 == 0) == (count == 4)]
    report = {
        name: distances(
            count, lambda n=name: learner_of(LOSSES[n](**OPTIONS.get(n, {}))), whole=False
        )
        for name in names
    }
    report["largest array"] = largest_arrays(count, names)
    if count == 4:
        for name, (make, of_images) in wrappers().items():
            report[name] = distances(count, make, of_images)
        report["uneven batches"] = {"divided": of_uneven_batches(count)}
        found, lines = run_results(folder)
        report["runs"] = {name: distance(each, found["one"]) for name, each in found.items()}
        assert all((a == b).all() for a, b in zip(found["same"], found["four"], strict=True))
        assert any(line.startswith("note: going on with 1 of 4 devices") for line in lines)
        assert table_parts(count, 4096) == [1 / count] * (2 * count)  # proxies and momentum
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
