"""Keras layers that change the colours of a batch and erase rectangles."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def colour_layers(
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    erase: float = 0.0,
    erased_area: float = 0.2,
    seed: int | None = None,
) -> "list[keras.Layer]":
    """Returns the layers of the options above 0, in the order of the arguments.

    Args:
        brightness: Largest shift, as a share of 255.
        contrast: Largest change of the distance from the mean colour, as a share.
        saturation: Largest change s of the saturation, below 1: it is multiplied by a factor
            between (1 - s) / (1 + s) and (1 + s) / (1 - s).
        hue: Largest rotation, as a share of the colour circle.
        erase: Probability that a rectangle of an image is replaced by grey.
        erased_area: Largest area of the rectangle, as a share of the image's. In [0, 1].
        seed: At least 0, or None.

    Returns:
        A list of layers from uint8 or floats (B, H, W, 3) in 0..255 to float32 in 0..255.
    """
    import keras  # here, so that constructing an augmentation loads no backend

    layers: Any = keras.layers
    # Not in half precision: in bfloat16, neighbouring values in 0..255 differ by up to 1, and hue
    # divides by differences.
    shared = {"data_format": "channels_last", "dtype": "float32"}

    def options():
        return {**shared, "seed": None if seed is None else seed + len(chosen)}

    # A cast first: some of these layers compute in the type of their input, and uint8 wraps
    # around.
    chosen: list[Any] = [layers.Rescaling(1.0, dtype="float32")]
    # Pairs, because Keras layers interpret a single number in different ways.
    if brightness:
        chosen.append(layers.RandomBrightness((-brightness, brightness), **options()))
    if contrast:
        chosen.append(layers.RandomContrast((contrast, contrast), **options()))
    if saturation:  # a number f multiplies by f / (1 - f)
        span = (0.5 - saturation / 2, 0.5 + saturation / 2)
        chosen.append(layers.RandomSaturation(span, **options()))
    if hue:  # the rotation is half of the drawn number
        chosen.append(layers.RandomHue((0.0, 2 * hue), **options()))
    if erase:
        chosen.append(
            layers.RandomErasing(
                (erase, erase), scale=(0.0, erased_area), fill_value=127.5, **options()
            )
        )
    return chosen if len(chosen) > 1 else []
