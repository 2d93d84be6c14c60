"""Small transformers: of plain layers, and with an encoder that is one layer."""

import keras
from keras import layers


@keras.saving.register_keras_serializable("tests")
class Positions(layers.Layer):
    """Adds a learned vector to each token."""

    def build(self, shape):
        self.table = self.add_weight(shape=(1, *shape[1:]), name="table")

    def call(self, x):
        return x + self.table


def vision_transformer(depth=2, width=8, size=32, patch=8):
    """Returns a functional model of plain layers, from images to (B, width)."""
    x = image = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 127.5, -1)(x)
    x = layers.Conv2D(width, patch, patch, name="patches")(x)
    count = (size // patch) ** 2
    x = layers.Reshape((count, width))(x)
    x = Positions(name="positions")(x)
    for i in range(1, depth + 1):
        y = layers.LayerNormalization(name=f"norm_{i}_1")(x)
        x = x + layers.MultiHeadAttention(2, width // 2, name=f"attention_{i}")(y, y)
        y = layers.LayerNormalization(name=f"norm_{i}_2")(x)
        y = layers.Dense(2 * width, activation="gelu", name=f"mlp_{i}_1")(y)
        x = x + layers.Dense(width, name=f"mlp_{i}_2")(y)
    x = layers.LayerNormalization(name="norm")(x)
    return keras.Model(image, layers.GlobalAveragePooling1D()(x), name="transformer")


@keras.saving.register_keras_serializable("tests")
class TransformerBlock(layers.Layer):
    """Attention and a perceptron, each with a residual connection."""

    def __init__(self, width=8, **options):
        super().__init__(**options)
        self.width = width
        self.norms = [layers.LayerNormalization(name=f"norm_{i}") for i in range(2)]
        self.attention = layers.MultiHeadAttention(2, width // 2, name="attention")
        self.perceptron = [layers.Dense(2 * width, name="wide"), layers.Dense(width, name="narrow")]

    def build(self, shape):
        for norm in self.norms:
            norm.build(shape)
        self.attention.build(shape, shape)
        self.perceptron[0].build(shape)
        self.perceptron[1].build((*shape[:-1], 2 * self.width))

    def call(self, x):
        y = self.norms[0](x)
        x = x + self.attention(y, y)
        return x + self.perceptron[1](self.perceptron[0](self.norms[1](x)))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("tests")
class Transformer(layers.Layer):
    """A list of blocks in one layer, as the encoders of keras-hub are."""

    def __init__(self, depth, width=8, **options):
        super().__init__(**options)
        self.depth, self.width = depth, width
        self.blocks = [TransformerBlock(width, name=f"block_{i}") for i in range(depth)]
        self.norm = layers.LayerNormalization(name="norm")

    def build(self, shape):
        for block in self.blocks:
            block.build(shape)
        self.norm.build(shape)

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def get_config(self):
        return {**super().get_config(), "depth": self.depth, "width": self.width}
