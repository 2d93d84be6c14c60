"""Ancestors: learned points of the Poincare ball above the images, in a hierarchy."""

import keras
from keras import ops

from dml.ops import poincare, same_label

_NO_TRIPLET = -1e9  # a gap that no hinge reaches


@keras.saving.register_keras_serializable("dml")
class HierarchyHead(keras.layers.Layer):
    """Draws triplets of two neighbours and an unrelated point, and finds their ancestors.

    Neighbours are among each other's nearest, images of one class before all others. The ancestor
    of two points is the learned one whose distance to the farther of them is least, by a random
    choice (Gumbel) at `temperature`, as is that of all three. The same is done among the ancestors
    themselves.

    Args:
        embedding_dim: D; positive.
        ancestors: H; at least 2.
        neighbours: Number of nearest points that are considered; positive.
        triplets: N, drawn from the batch, and as many from the ancestors; positive.
        temperature: Temperature of the choice; positive.
        curvature: Curvature of the ball; positive.
        largest_length: Length that embeddings are scaled to before they are mapped; positive.
        seed: Seed of the draws.

    Call arguments:
        embeddings: Floats (B, D), of length 1.
        labels: Integers (B,), or a relation (B, B).
        training: Whether each call draws other triplets.

    Returns:
        Float32 (2, N, 3), of the batch and of the ancestors: for both neighbours their distance to
        the ancestor of the two less that to the ancestor of the three, and the reverse for the
        unrelated point. -1e9 without a triplet, or if the ancestors are equal.
    """

    def __init__(
        self,
        embedding_dim,
        ancestors=512,
        neighbours=20,
        triplets=1000,
        temperature=0.1,
        curvature=0.1,
        largest_length=2.3,
        seed=0,
        **layer_options,
    ):
        super().__init__(**{"name": "hierarchy", **layer_options, "dtype": "float32"})
        self.options = {
            "embedding_dim": embedding_dim,
            "ancestors": ancestors,
            "neighbours": neighbours,
            "triplets": triplets,
            "temperature": temperature,
            "curvature": curvature,
            "largest_length": largest_length,
            "seed": seed,
        }
        for name, value in self.options.items():
            setattr(self, name, value)
        self.random = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        # Below the images: 0.9 of their length on average, as in the authors' code.
        deviation = 0.9 * self.largest_length / self.embedding_dim**0.5
        self.points = self.add_weight(
            name="ancestors",
            shape=(self.ancestors, self.embedding_dim),
            initializer=keras.initializers.RandomNormal(stddev=deviation),
        )
        super().build(input_shape)

    def call(self, embeddings, labels, training=False):
        """Returns the gaps, float32 (2, N, 3), of triplets of float embeddings (B, D)."""
        points = ops.convert_to_tensor(self.points)
        images = self.largest_length * embeddings
        nearness = ops.exp(-self.distances(images, images)) + ops.cast(
            same_label(labels), "float32"
        )
        of_images = self.gaps(nearness, self.distances(images, points), training)
        among = self.distances(points, points)
        return ops.stack([of_images, self.gaps(ops.exp(-among), among, training)])

    def distances(self, x, y):
        return poincare(x, y, self.curvature, self.largest_length)

    def gaps(self, nearness, to_ancestors, training):
        """Returns the gaps (N, 3) of triplets of nodes (M), by their distances (M, H)."""
        first, second, stranger, drawn = self.draw(ops.stop_gradient(nearness), training)
        i, j, k = (ops.take(to_ancestors, rows, axis=0) for rows in (first, second, stranger))
        farther = ops.maximum(i, j)
        of_two, two = self.choose(farther, training)
        of_three, three = self.choose(ops.maximum(farther, k), training)

        def to(distances, choice):
            return ops.sum(distances * choice, axis=1)

        gaps = ops.stack(
            [
                to(i, of_two) - to(i, of_three),
                to(j, of_two) - to(j, of_three),
                to(k, of_three) - to(k, of_two),
            ],
            axis=1,
        )
        return ops.where(ops.logical_and(drawn, two != three)[:, None], gaps, _NO_TRIPLET)

    def draw(self, nearness, training):
        """Returns the rows (N,) of two neighbours and an unrelated point, and which exist."""
        count = ops.shape(nearness)[0]
        itself = ops.eye(count, dtype="bool")
        # The node itself is its own nearest, and counted among the neighbours as in the code.
        last = ops.minimum(self.neighbours, count) - 1
        least = ops.take(ops.flip(ops.sort(nearness, axis=1), axis=1), last, axis=1)
        near = nearness >= least[:, None]
        neighbours = near & ops.transpose(near) & ~itself
        strangers = ~neighbours & ~itself
        possible = ops.any(neighbours, axis=1) & ops.any(strangers, axis=1)
        first = self.pick(ops.broadcast_to(possible[None, :], (self.triplets, count)), training)
        second = self.pick(ops.take(neighbours, first, axis=0), training)
        stranger = self.pick(ops.take(strangers, first, axis=0), training)
        return first, second, stranger, ops.take(possible, first)

    def pick(self, mask, training):
        """Returns a random column (N,) of those that each row of a mask (N, M) has."""
        noise = keras.random.uniform(ops.shape(mask), seed=self.source(training))
        return ops.argmax(ops.where(mask, noise, -1.0), axis=1)

    def choose(self, distances, training):
        """Returns the choice (N, H) of an ancestor, 1 there, and its column (N,).

        Its gradient is that of the softmax (straight through).
        """
        noise = keras.random.uniform(
            ops.shape(distances), minval=1e-6, maxval=1.0 - 1e-6, seed=self.source(training)
        )
        gumbel = -ops.log(-ops.log(noise))
        soft = ops.softmax(-distances / self.temperature + gumbel, axis=1)
        column = ops.argmax(soft, axis=1)
        hard = ops.one_hot(column, self.ancestors)
        return hard + soft - ops.stop_gradient(soft), column

    def source(self, training):
        return self.random if training else self.seed

    def get_config(self):
        return {**super().get_config(), **self.options}
