"""Inputs of a learner: valid ones are accepted, others rejected with a remedy."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import torch

from dml.backbones import Conv4
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.training._data import (
    checked_images,
    checked_targets,
    class_labels,
    first_batch,
    is_data_set,
    peek,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3)).astype("uint8")
SHARES = IMAGES / np.float32(255)
NORMALISED = SHARES * 2 - 1


@pytest.fixture(scope="module")
def encoder():
    return build_encoder(Conv4(input_size=16, resize_side=16, filters=4), EmbeddingOptions(dim=4))


def with_nan():
    images = IMAGES.astype("float32")
    images[4, 3, 2, 1] = np.nan
    return images


REFUSED = {
    "shares": (SHARES, "largest value is 1, which is black: multiply them by 255"),
    "half shares": (SHARES.astype("float16"), "multiply them by 255"),
    "dark shares": (SHARES * 0.5, "largest value is 0.5"),
    "booleans": (IMAGES > 127, "multiply them by 255"),
    "zeros and ones": ((IMAGES > 127).astype("int64"), "multiply them by 255"),
    "torch": (torch.tensor(SHARES), "multiply them by 255"),
    "tensorflow": (tf.constant(SHARES), "multiply them by 255"),
    "list": (list(SHARES), "multiply them by 255"),
    "minus one to one": (NORMALISED, r"got -1 to 1\. The encoder normalises them itself"),
    "less the mean": (IMAGES.astype("float32") - 120, "The encoder normalises them itself"),
    "16 bits": (IMAGES.astype("uint16") * 257, "got 0 to 6"),
    "nan": (with_nan(), "image 4 has a value that is not finite"),
    "infinite": (np.where(np.isnan(with_nan()), np.inf, IMAGES), "image 4 has a value"),
    "text": (np.full((2, 16, 16, 3), "a"), "images must be numbers in 0..255; got <U1"),
    "grey": (IMAGES[..., 0], r"got \(6, 16, 16\): for grey images, np.repeat\(images\[..., None\]"),
    "grey channel": (IMAGES[..., :1], r"for grey images, np.repeat\(images, 3"),
    "one": (IMAGES[0], r"got \(16, 16, 3\): pass one image as images\[None\]"),
    "alpha": (IMAGES[..., [0, 1, 2, 0]], r"images\[..., :3\]"),
    "channels first": (np.moveaxis(IMAGES, 3, 1), r"np.moveaxis\(images, 1, -1\)"),
    "two channels": (IMAGES[..., :2], r"images must be \(N, H, W, 3\); got \(6, 16, 16, 2\)$"),
    "nothing": (None, r"an array \(N, H, W, 3\); got NoneType"),
    "dictionary": ({"images": IMAGES}, r"an array \(N, H, W, 3\); got dict"),
    "sizes": ([IMAGES[0], IMAGES[0, :8]], "images must be of one size"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_images_that_would_be_seen_wrongly_are_refused(encoder, name):
    images, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        checked_images(images, encoder)


@pytest.mark.parametrize(
    "images",
    [
        IMAGES,
        IMAGES.astype("float32"),
        IMAGES.astype("int32"),
        torch.tensor(IMAGES),
        tf.constant(IMAGES.astype("float32")),
        np.zeros_like(IMAGES),
        np.zeros((2, 16, 16, 3), "float32"),  # black, whatever it is multiplied by
        np.minimum(IMAGES, 1),  # uint8 is what it says
        np.zeros((0, 16, 16, 3), "float32"),
    ],
)
def test_images_in_0_to_255_pass_as_they_are(encoder, images):
    assert checked_images(images, encoder) is images


def test_a_list_of_images_is_an_array(encoder):
    np.testing.assert_array_equal(checked_images(list(IMAGES), encoder), IMAGES)


def test_of_a_foreign_encoder_nothing_is_known():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert checked_images(NORMALISED, model) is NORMALISED


class Sequence(keras.utils.PyDataset):
    def __init__(self, images):
        super().__init__()
        self.images = images

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return self.images[3 * i : 3 * i + 3], np.arange(3)


def generator(images):
    for i in range(2):
        yield images[3 * i : 3 * i + 3], np.arange(3)


def loader(images):
    data = torch.utils.data.TensorDataset(torch.tensor(images), torch.arange(6) % 3)
    return torch.utils.data.DataLoader(data, batch_size=3)


def tf_data(images):
    return tf.data.Dataset.from_tensor_slices((images, np.arange(6) % 3)).batch(3)


DATA_SETS = {"PyDataset": Sequence, "generator": generator, "torch": loader, "tf.data": tf_data}


@pytest.mark.parametrize("kind", DATA_SETS)
def test_the_first_batch_of_a_data_set_is_checked_and_stays_in_it(encoder, kind):
    with pytest.raises(ValueError, match="multiply them by 255"):
        peek(DATA_SETS[kind](SHARES), encoder)
    data, targets = peek(DATA_SETS[kind](IMAGES.astype("float32")), encoder)
    assert is_data_set(data) and targets.tolist() == [0, 1, 2] if kind != "tf.data" else True
    batches = [data[0], data[1]] if kind == "PyDataset" else list(data)
    assert len(batches) == 2
    np.testing.assert_array_equal(np.concatenate([np.asarray(b[0]) for b in batches]), IMAGES)


def test_a_data_set_of_uint8_is_not_read(encoder):
    def fail():
        raise AssertionError
        yield

    spec = (tf.TensorSpec((None, 16, 16, 3), tf.uint8), tf.TensorSpec((None,), tf.int64))
    data = tf.data.Dataset.from_generator(fail, output_signature=spec)
    assert peek(data, encoder) == (data, None)
    grey = (tf.TensorSpec((None, 16, 16, 1), tf.uint8), spec[1])
    with pytest.raises(ValueError, match="for grey images"):
        peek(tf.data.Dataset.from_generator(fail, output_signature=grey), encoder)


def test_an_empty_data_set_says_so():
    with pytest.raises(ValueError, match="the data set is empty"):
        first_batch(iter(()))


@pytest.mark.parametrize(
    "labels",
    [
        [1, 0, 2],
        (1, 0, 2),
        np.array([[1], [0], [2]]),
        np.array([1.0, 0.0, 2.0]),
        np.array([1, 0, 2], "uint8"),
        pd.Series([1, 0, 2]),
        pd.Series([1, 0, 2], dtype="Int64"),
        torch.tensor([1, 0, 2]),
        tf.constant([[1], [0], [2]]),
        [torch.tensor(1), 0, np.int64(2)],
    ],
)
def test_labels_of_any_array_like_are_int32(labels):
    found = checked_targets(labels, classes=3)
    assert found.dtype == np.int32 and found.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    "labels, message",
    [
        (None, "labels are missing"),
        ([0, None], r"labels: row 1 has no label \(None\)"),
        ([0, float("nan")], "row 1 has no label"),
        (np.array([0, np.nan]), "row 1 has no label"),
        (pd.Series([0, None], dtype="Int64"), "row 1 has no label"),
        (["cat", "dog"], "labels must be integers; got 'cat' in row 0. np.unique"),
        (np.array(["cat", "dog"]), "got 'cat' in row 0"),
        ([0, "dog"], "got 'dog' in row 1"),
        ([(0, 1), (1, 2)], r"got \(0, 1\) in row 0"),
        ([0, 1.5], "got 1.5 in row 1"),
        ([0, 3], r"labels must be in \[0, 3\), the learner's classes; got 3 in row 1. np.unique"),
        ([0, -1], r"got -1 in row 1"),
        (np.zeros((2, 2, 1)), r"one class for each image, \(N,\); got \(2, 2, 1\)"),
        (3, "labels must be"),
    ],
)
def test_what_is_no_class_is_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        checked_targets(labels, classes=3)


def test_labels_beyond_32_bits_would_be_others():
    with pytest.raises(ValueError, match=r"labels must be in 32 bits; got 4294967296 in row 1"):
        class_labels([0, 2**32])


def test_the_error_for_a_matrix_of_labels_names_the_remedy():
    one_hot = np.eye(3)[[0, 2, 1, 0]]
    with pytest.raises(ValueError, match=r"one-hot \(4, 3\): pass np.argmax\(labels, axis=1\)"):
        checked_targets(one_hot)
    with pytest.raises(ValueError, match="one-hot"):
        checked_targets(tf.constant(np.eye(4)[[1, 0, 2, 0]]), batch=True)
    with pytest.raises(ValueError, match="one-hot"):
        checked_targets(one_hot.tolist())
    relation = np.array([[1, 0.5], [0.5, 1]])
    assert checked_targets(relation, batch=True) is relation
    with pytest.raises(ValueError, match=r'\{"related": floats'):
        checked_targets(relation)
    assert checked_targets(one_hot, memberships=3) is one_hot
    with pytest.raises(ValueError, match=r"memberships must be \(N, 5\).*got \(4, 3\), 0 to 1"):
        checked_targets(one_hot, memberships=5)
    with pytest.raises(ValueError, match="0 to 2"):
        checked_targets(one_hot * 2, memberships=3)


def test_each_target_of_a_dictionary_is_checked():
    found = checked_targets({"labels": torch.tensor([1, 0]), "samples": [4, 5]}, classes=2)
    assert found["labels"].tolist() == [1, 0] and found["samples"].tolist() == [4, 5]
    with pytest.raises(ValueError, match="got 7 in row 0"):
        checked_targets({"labels": [7], "samples": [0]}, classes=2)


RELATION = np.array([[1, 0.5, np.nan], [0.5, 1, 0], [np.nan, 0, 1]])


@pytest.mark.parametrize("kind", [np.array, torch.tensor, tf.constant, list])
def test_a_relation_of_all_images_is_kept(kind):
    found = checked_targets({"related": RELATION, "samples": kind([2, 0, 1])})
    np.testing.assert_array_equal(found["related"], RELATION)
    assert found["samples"].tolist() == [2, 0, 1]


def test_a_batch_holds_rows_of_the_relation_of_all_images():
    y = {"related": RELATION[1:], "samples": np.array([[1], [2]])}
    assert checked_targets(y, batch=True)["samples"].tolist() == [1, 2]
    assert checked_targets({"related": RELATION > 0.5, "samples": [0, 1, 2]})["samples"].size == 3


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"related": RELATION[:, :2]}, r"related must be .*\(N, N\); got \(3, 2\)"),
        ({"related": RELATION[0]}, r"related must be .*\(N, N\); got \(3,\)"),
        ({"related": 2 * RELATION - 1}, r"related .*\[0, 1\].*got -1 in row 1, column 2"),
        ({"related": 2 * RELATION}, r"related .*\[0, 1\].*got 2 in row 0, column 0"),
        ({"related": np.full((3, 3), "a")}, r"related must be numbers in \[0, 1\]; got <U1"),
        ({"samples": np.arange(1, 4)}, r"samples must be in \[0, 3\).*got 3 in row 2. np.arange"),
        ({"samples": np.arange(1000, 1003)}, "got 1000 in row 0"),
        ({"samples": [0, -1, 2]}, "got -1 in row 1"),
        ({"samples": np.zeros((3, 2), int)}, r"samples must be .*\(3,\); got \(3, 2\)"),
        ({"samples": [0, 1]}, r"samples must be .*\(3,\); got \(2,\)"),
        ({"samples": [0.0, 0.5, 2.0]}, "samples must be integers; got 0.5 in row 1. np.arange"),
        ({"samples": ["a", "b", "c"]}, "samples must be integers; got 'a' in row 0"),
        ({"samples": 7}, "samples must be a sequence"),
    ],
)
def test_a_relation_that_would_be_read_wrongly_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        checked_targets({"related": RELATION, "samples": np.arange(3), **changed})


@pytest.mark.parametrize(
    "samples, message",
    [
        (np.zeros((2, 2), int), r"samples must be .*\(2,\); got \(2, 2\)"),
        ([1, 2, 3], r"got \(3,\)"),
        ([0.5, 1.5], "samples must be integers; got 0.5 in row 0"),
        ([0, None], r"samples: row 1 has no sample \(None\)"),
        ([1, 2**32], "samples must be in 32 bits; got 4294967296 in row 1"),
    ],
)
def test_samples_beside_labels_are_the_number_of_each_image(samples, message):
    with pytest.raises(ValueError, match=message):
        checked_targets({"labels": [0, 1], "samples": samples})
    found = checked_targets({"labels": [0, 1], "samples": [-1, 10**9]})  # -1: not known
    assert found["samples"].tolist() == [-1, 10**9]


def test_a_relation_is_refused_before_a_step_where_the_loss_needs_classes():
    for y in ({"related": RELATION, "samples": np.arange(3)}, np.array([[1, 0.5], [0.5, 1]])):
        with pytest.raises(ValueError, match=r"^a reason$"):
            checked_targets(y, batch=True, why_classes="a reason")
    y = {"labels": [0, 1], "samples": [0, 1]}
    assert checked_targets(y, why_classes="a reason")["labels"].tolist() == [0, 1]


def test_a_relation_of_a_batch_holds_shares():
    with pytest.raises(
        ValueError, match=r"a relation of the batch, must be in .*got -0.5 in row 0"
    ):
        checked_targets(np.array([[1, -0.5], [0.5, 1]]), batch=True)
    unknown = np.array([[1, np.nan], [np.nan, 1]])
    assert checked_targets(unknown, batch=True) is unknown
