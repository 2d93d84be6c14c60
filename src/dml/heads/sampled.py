"""Proxies of so many classes that a step takes a sample of them."""

import math
from typing import Any

import keras
from keras import ops

from dml._options import check_at_least, check_known
from dml.errors import ArrayError, OptionError
from dml.heads.proxies import ProxyHead
from dml.ops import Targets, is_relation, round_at_random, set_rows, take_rows

_ROUNDS = 3  # of multiplying and shifting, which mix all bits of numbers of up to 30


@keras.saving.register_keras_serializable("dml")
class SampledProxyHead(ProxyHead):
    """Compares embeddings with the proxies of a sample of the classes (Partial-FC).

    A step takes the classes of its batch and others, drawn at random without replacement.
    `prepare_step` copies their proxies from the table of all into `proxies`, which alone is
    trained, and `finish_step` copies them into the table after the step: neither the loss nor the
    optimizer touches another class. So a proxy's moments decay only in the steps that draw it.

    Args:
        classes: C; positive.
        embedding_dim: D, the length of an embedding; positive.
        sample: S, the number of classes in a step, in [1, C]; at least the number of images in a
            batch.
        proxies_per_class: K; positive.
        initial_length: As for `ProxyHead`.
        correction: Factor of the correction of the sample's bias; 0 corrects nothing. A softmax
            over a sample leaves most of the other classes out. With 1 / scale, the cosines of those
            that were drawn are raised by log((C - b) / (S - b)) / scale, where b is the number of
            classes in the batch, so that the sum of the exponentials is right on average.
        seed: The seed of the draws; an integer, at random if None.
        storage: Format of the table: `float32`, or `bfloat16`, which takes half the memory. It is
            rounded at random, so that small steps add up; a step computes in float32.

    Call arguments:
        embeddings: Floats (B, D), of length 1.
        labels: Unused.
        training: Whether to compare with the sample. Otherwise with all classes.

    Returns:
        Cosines, float32 (B, S), or (B, S, K) if K is greater than 1, to the classes in
        `rows`, in ascending order; (B, C) or (B, C, K) outside training.

    Raises:
        OptionError: An option is out of its range.

    Attributes:
        rows: int32 (S,), the classes of the step, ascending.

    References:
        - [An et al., CVPR 2022](https://arxiv.org/abs/2203.15565)
    """

    def __init__(
        self,
        classes: int,
        embedding_dim: int,
        sample: int,
        proxies_per_class: int = 1,
        initial_length: float | None = None,
        correction: float = 0.0,
        seed: int | None = None,
        storage: str = "float32",
        **layer_options: Any,
    ):
        super().__init__(classes, embedding_dim, proxies_per_class, initial_length, **layer_options)
        if not 1 <= sample <= classes:
            raise OptionError("sample", f"must be in [1, {classes}], the classes; got {sample}")
        check_at_least(0, correction=correction)
        check_known(("float32", "bfloat16"), storage=storage)
        self.sample = sample
        self.correction = correction
        self.seed = seed
        self.storage = storage
        self.seeds = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        entries = (self.proxies_per_class, self.embedding_dim)
        initializer = keras.initializers.RandomNormal(stddev=self.initial_deviation())
        self.table = self.add_weight(
            name="table",
            shape=(self.classes, *entries),
            initializer=initializer,
            trainable=False,
            dtype=self.storage,
            autocast=False,
        )
        self.proxies = self.add_weight(
            name="proxies", shape=(self.sample, *entries), initializer="zeros"
        )
        self.rows = self.add_weight(
            name="rows", shape=(self.sample,), initializer="zeros", dtype="int32", trainable=False
        )
        self.raised = self.add_weight(
            name="raised", shape=(self.sample,), initializer="zeros", trainable=False
        )
        self.built = True

    def all_proxies(self):
        return ops.cast(self.table, "float32")

    def prepare_step(self, targets):
        """Chooses the classes of a step and takes their proxies from the table.

        Args:
            targets: Those of the batch, with one class for each image.

        Raises:
            ArrayError: Labels are a matrix.
            OptionError: The batch has more images than the sample has classes.
        """
        labels = Targets.of(targets, memberships=True).labels
        if is_relation(labels):
            raise ArrayError("a sample of the classes needs labels: one class for each image")
        self._draw(labels)

    def _draw(self, labels):
        """Draws the classes of a step, of which the batch has some."""
        _check_batch(labels, self.sample)
        known = ops.sort(labels)
        first = ops.ones_like(known[:1], dtype="bool")
        fresh = ops.concatenate([first, known[1:] != known[:-1]])
        others = self._others()
        new = ops.logical_and(others < self.classes, ops.logical_not(_is_in(known, others)))
        found, valid = ops.concatenate([known, others]), ops.concatenate([fresh, new])
        count = ops.cumsum(ops.cast(valid, "int32"))  # the classes of the batch are the first
        place = ops.searchsorted(count, ops.arange(1, self.sample + 1, dtype="int32"))
        rows = ops.sort(ops.take(found, place))
        self.rows.assign(rows)
        self.proxies.assign(take_rows(self.table, rows))
        if self.correction:
            own = ops.sum(ops.cast(fresh, "float32"))
            left, places = self.classes - own, self.sample - own  # 0 if the batch has all classes
            weight = ops.log(ops.maximum(left, 1.0) / ops.maximum(places, 1.0))
            drawn = ops.cast(ops.logical_not(_is_in(known, rows)), "float32")
            self.raised.assign(self.correction * weight * drawn)

    def finish_step(self):
        """Copies the proxies of the step into the table."""
        set_rows(self.table, self.rows, self.as_stored(self.proxies))

    def as_stored(self, values: Any) -> Any:
        """Returns float32 values in the format of the table.

        Args:
            values: Floats (S, K, D).
        """
        return round_at_random(values, self.seeds) if self.storage == "bfloat16" else values

    def step_labels(self, labels):
        """Returns the columns, int32 (B,), of classes in the sample.

        Args:
            labels: Int32 (B,), classes that are in it.
        """
        return ops.cast(ops.searchsorted(ops.convert_to_tensor(self.rows), labels), "int32")

    def call(self, embeddings, labels=None, training=False):
        """Returns the cosines, float32 (B, S) or (B, S, K), of float embeddings (B, D).

        Outside training, those to all C classes.
        """
        if not training:
            return self.cosines(embeddings, self.all_proxies())
        cosines = self.cosines(embeddings, self.proxies)
        if not self.correction:
            return cosines
        raised = ops.convert_to_tensor(self.raised)
        return cosines + (raised if self.proxies_per_class == 1 else raised[:, None])

    def _others(self):
        """Returns distinct numbers in random order, int32, of which at least S are classes.

        They are the first of a random permutation of [0, 2^bits), where 2^bits >= C: as many as
        hold S classes on average, and eight standard deviations more.
        """
        bits = max((self.classes - 1).bit_length(), 1)
        size = 2**bits
        wanted = (self.sample + 8 * math.sqrt(self.sample) + 8) * size / self.classes
        x = ops.arange(min(math.ceil(wanted), size), dtype="int32")
        drawn = keras.random.randint((2 * _ROUNDS,), 0, size, dtype="int32", seed=self.seeds)
        for i in range(_ROUNDS):
            # Each is invertible: an odd factor and a shift modulo 2^bits, and x ^ (x >> n).
            x = ops.bitwise_and(x * (2 * drawn[i] + 1) + drawn[_ROUNDS + i], size - 1)
            x = ops.bitwise_xor(x, ops.right_shift(x, (bits + 1) // 2))
        return x

    def get_config(self):
        return {
            **super().get_config(),
            "sample": self.sample,
            "correction": self.correction,
            "seed": self.seed,
            "storage": self.storage,
        }


def _is_in(ascending, values):
    """Returns whether each of some integers is in a vector in ascending order."""
    place = ops.cast(ops.searchsorted(ascending, values), "int32")
    return ops.take(ascending, ops.minimum(place, ops.shape(ascending)[0] - 1)) == values


def _check_batch(labels, sample):
    """Raises an OptionError unless a batch has at most as many images as a sample has classes."""
    text = f"leaves {sample} classes in a step, fewer than the images of a batch: raise it"
    if labels.shape[0] is None:  # TensorFlow only knows it in each step
        import tensorflow as tf

        tf.debugging.assert_less_equal(tf.shape(labels)[0], sample, f"head.sample {text}")
    elif labels.shape[0] > sample:
        raise OptionError("sample", text)
