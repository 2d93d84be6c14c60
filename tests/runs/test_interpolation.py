"""Weights between two states: hand calculations."""

from types import SimpleNamespace

import numpy as np

from dml.runs._interpolation import Interpolation, assign, interpolated


def test_weights_between_two_states():
    before = [np.array([0.0, 4.0], "float32"), np.array([7], "int32")]
    after = [np.array([1.0, 0.0], "float32"), np.array([9], "int32")]
    floats, integers = interpolated(before, after, 0.25)
    np.testing.assert_array_equal(floats, [0.25, 3.0])
    assert floats.dtype == np.float32 and integers.tolist() == [9]
    for share, expected in ((0.0, before), (1.0, after)):
        np.testing.assert_array_equal(interpolated(before, after, share)[0], expected[0])


def test_the_factors_that_start_at_random_are_shared():
    # Kernels k + a b, with another a on either side: only with one of them the kernel half-way is
    # the mean of the ends.
    names = ("dense/kernel", "dense/lora_kernel_a", "dense/lora_kernel_b")
    encoder = SimpleNamespace(variables=[SimpleNamespace(path=name) for name in names])
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 4))
    before = [kernel, rng.normal(size=(3, 2)), np.zeros((2, 4))]
    after = [kernel, rng.normal(size=(3, 2)), rng.normal(size=(2, 4))]

    def merged(values):
        return values[0] + values[1] @ values[2]

    items = SimpleNamespace(paths=np.array([]))
    comparable = Interpolation(None, 0, encoder, items).comparable(before, after)
    np.testing.assert_allclose(merged(comparable), merged(before))
    half = merged(interpolated(comparable, after, 0.5))
    np.testing.assert_allclose(half, (merged(before) + merged(after)) / 2)


def test_values_are_assigned_in_turn():
    import keras

    variables = [keras.Variable(np.zeros(2)), keras.Variable(np.zeros(1))]
    assign(variables, [np.array([1.0, 2.0]), np.array([3.0])])
    assert [keras.ops.convert_to_numpy(v).tolist() for v in variables] == [[1.0, 2.0], [3.0]]
