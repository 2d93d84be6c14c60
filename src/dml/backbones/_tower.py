"""Image networks of keras-hub: built for any size, without text tower, their tokens told apart."""

import math
from typing import Any

import keras
import numpy as np

from dml.errors import OptionError

ops: Any = keras.ops


@keras.saving.register_keras_serializable("dml")
class Tower(keras.layers.Wrapper):
    """Runs an image network of keras-hub, and tells its class token from its patches.

    Tokens in front of the patches other than the first, such as registers, are left out. The
    attention-pooled vector of SigLIP, which has no class token, takes its place.

    Args:
        layer: A backbone or vision encoder of keras-hub, built for a fixed size.

    Call arguments:
        images: Floats (B, S, S, 3), scaled as its weights expect.

    Returns:
        The class token (B, C) and the patches (B, h, w, C), as a list; the patches or the feature
        map alone where the network has no class token.

    Raises:
        OptionError: It is not a network from images to a feature map or tokens.
    """

    def __init__(self, layer: Any, **options):
        super().__init__(layer, **options)
        self._attends = hasattr(layer, "head") and hasattr(layer, "post_layer_norm")
        self._first, self._grid = _layout_of(layer, self._attends)

    def call(self, images):
        network: Any = self.layer
        if self._attends:
            x = network.embedding(images)
            for block in network.encoder_layers:
                x = block(x)
            tokens = network.post_layer_norm(x)
            return [network.head(tokens), self._map(tokens)]
        named = isinstance(network.input, dict)
        features = network({name: images for name in network.input} if named else images)
        if not self._grid:
            return features
        if not self._first:
            return self._map(features)
        return [features[:, 0], self._map(features[:, self._first :])]

    def _map(self, tokens):
        return ops.reshape(tokens, (-1, self._grid, self._grid, tokens.shape[-1]))

    def save_own_variables(self, store):
        # keras-hub's DINOv2 saves its positions from `position_embeddings`, which it brings up to
        # date only where training has lowered their sum.
        embeddings = getattr(self.layer, "embeddings", None)
        if hasattr(embeddings, "interpolated_position_embeddings"):
            embeddings.position_embeddings.assign(embeddings.interpolated_position_embeddings)
        super().save_own_variables(store)


def _layout_of(network, attends):
    """Returns the tokens in front of a network's patches, and the patches in a row of an image.

    Both are 0 for a network that returns a feature map.
    """
    (image,) = network.inputs
    shape, patch = network.outputs[0].shape, patch_of(network)
    if len(network.outputs) == 1 and len(shape) == 4:
        return 0, 0
    grid = image.shape[1] // patch if patch else 0
    if grid and attends:
        return 0, grid
    if not grid or len(network.outputs) > 1 or len(shape) != 3 or shape[1] is None:
        raise OptionError(
            "backbone.preset",
            "must be of a network from images to a feature map or to tokens; "
            f"{type(network).__name__} is another",
        )
    grid = grid if grid**2 <= shape[1] else math.isqrt(shape[1])  # Swin's stages merge patches
    return shape[1] - grid**2, grid


def patch_of(network: Any) -> int | None:
    """Returns the side in pixels of a network's patches; None for a convolutional one."""
    patch = getattr(network, "patch_size", None)
    return int(patch[0]) if isinstance(patch, (list, tuple)) else patch


def vision_tower(backbone: Any, size: int) -> Any:
    """Returns a model from images to features with the weights of a backbone of keras-hub.

    The model is new: it keeps no reference to the backbone, so a text tower is freed.

    Args:
        backbone: A model of keras-hub: an image network, or one that has a `vision_encoder`.
        size: Side in pixels of the images. Absolute positions are interpolated to it.

    Raises:
        OptionError: The size does not fit the network, or it is not one of images.
    """
    source = getattr(backbone, "vision_encoder", None) or backbone
    if (isinstance(source.input, dict) and len(source.input) != 1) or len(source.inputs) != 1:
        raise OptionError(
            "backbone.preset", f"must be of an image network; {type(source).__name__} is another"
        )
    images = keras.Input((size, size, 3), name="scaled")
    features = Tower(_rebuilt(source, size), name="tower")(images)
    if (norm := getattr(backbone, "vision_post_layer_norm", None)) is not None:
        # MetaCLIP 2 normalises after its vision encoder; CLIP within.
        copy = type(norm).from_config(norm.get_config())
        features = [copy(x) for x in features]
        copy.set_weights(norm.get_weights())
    return keras.Model(images, features, name="hub")


def _rebuilt(network, size):
    """Returns a network of the same architecture and weights for images of a side in pixels."""
    patch = patch_of(network)
    if patch is not None and size % patch:
        below = size // patch * patch
        raise OptionError(
            "backbone.input_size",
            f"must be a multiple of the patch of {patch} pixels, "
            f"{f'{below} or ' if below else ''}{below + patch}; got {size}",
        )
    config = network.get_config()
    config["dtype"] = keras.config.dtype_policy().name
    for key in ("image_shape", "position_embedding_shape"):
        if key in config:
            config[key] = (size, size, 3)
    if "use_mask_token" in config:  # of the pretraining: no image has one, nor a gradient
        config["use_mask_token"] = False
    new = type(network).from_config(config)
    sources = [weight for weight in network.weights if weight.name != "mask_token"]
    original = next((w for w in sources if w.name == "position_embeddings"), None)
    for weight, target in zip(sources, new.weights, strict=True):
        if weight.name == "interpolated_position_embeddings":
            weight = original
        values: Any = keras.ops.convert_to_numpy(weight.value)
        if values.shape != target.shape:
            if patch is None:
                raise OptionError(
                    "backbone.preset",
                    f"must be of another network: keras-hub saves {type(network).__name__}'s "
                    f"configuration incompletely, at {weight.path}",
                )
            values = _positions(values, tuple(target.shape), network, size)
        target.assign(values)
    return new


def _positions(values, shape, network, size):
    """Returns the positions of a network, or their numbers, for another size.

    Raises:
        OptionError: These are not positions, so the network works at its own size only.
    """
    if values.dtype.kind == "i" and values.shape[:-1] == shape[:-1]:
        return np.arange(shape[-1], dtype=values.dtype).reshape(shape)
    grid = size // (patch_of(network) or size)
    first = shape[-2] - grid**2 if len(shape) > 1 else -1
    old = math.isqrt(max(0, values.shape[-2] - first)) if first >= 0 else 0
    if not old or old**2 + first != values.shape[-2] or values.shape[-1] != shape[-1]:
        raise OptionError(
            "backbone.input_size",
            f"must be {network.inputs[0].shape[1]}: {type(network).__name__} works at the size of "
            f"its training alone, or not at one as small; got {size}",
        )
    smooth = getattr(network, "antialias_in_interpolation", True)
    return interpolated_positions(values.reshape(-1, shape[-1]), grid, first, smooth).reshape(shape)


def interpolated_positions(
    values: np.ndarray, grid: int, first: int = 0, antialias: bool = True
) -> np.ndarray:
    """Returns the positions of a grid of patches, interpolated to another grid.

    Bicubic, on every backend alike, as PyTorch interpolates.

    Args:
        values: Floats (first + h * h, C).
        grid: Patches in a row of the new grid.
        first: Tokens in front of the patches, whose positions stay.
        antialias: Whether to widen the filter where the grid shrinks.

    Returns:
        Floats (first + grid * grid, C).
    """
    old = math.isqrt(len(values) - first)
    weights = _cubic(old, grid, antialias)
    patches = values[first:].reshape(old, old, -1).astype("float64")
    patches = np.einsum("ih,jw,hwc->ijc", weights, weights, patches)
    return np.concatenate([values[:first], patches.reshape(grid * grid, -1)]).astype(values.dtype)


def _cubic(old, new, antialias):
    """Returns the weights (new, old) of Keys' cubic convolution."""
    scale = old / new
    width, a = (max(scale, 1.0), -0.5) if antialias else (1.0, -0.75)  # PyTorch's two kernels
    centres = (np.arange(new) + 0.5) * scale - 0.5
    reach = math.ceil(2 * width)
    weights = np.zeros((new, old))
    for row, centre in enumerate(centres):
        pixels = np.arange(math.floor(centre) - reach, math.floor(centre) + reach + 2)
        x = np.abs(pixels - centre) / width
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * (x**3 - 5 * x**2 + 8 * x - 4)
        w = np.where(x < 1, near, np.where(x < 2, far, 0.0))
        if antialias:  # pixels beyond the edge count nothing; otherwise they repeat it
            w = np.where((pixels >= 0) & (pixels < old), w, 0.0)
        np.add.at(weights[row], np.clip(pixels, 0, old - 1), w / w.sum())
    return weights
