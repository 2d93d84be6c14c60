"""What stays constant, and what a training changes."""

import keras
import numpy as np

from dml.backbones import Conv4, blocks_of
from dml.backbones._freezing import changing_weights, freeze


def network():
    return Conv4(input_size=16, resize_side=16, filters=2).network()


def test_everything_changes_unless_it_is_frozen():
    model = network()
    assert {id(w) for w in changing_weights(model)} == {id(w) for w in model.weights}
    first, *rest = blocks_of(model)
    freeze(model, first)
    assert not any(w.trainable for w in first)
    assert {id(w) for w in changing_weights(model)} == {id(w) for block in rest for w in block}


def test_frozen_statistics_do_not_move():
    model = network()
    first, second, *_ = blocks_of(model)
    freeze(model, first)
    model(np.random.default_rng(0).uniform(size=(2, 16, 16, 3)), training=True)
    moved = [
        [w.path for w in block if "moving_mean" in w.path and keras.ops.any(w != 0)]
        for block in (first, second)
    ]
    assert [len(paths) for paths in moved] == [0, 1]
