"""Keras layers that change the colours of a batch and erase rectangles."""


def colour_layers(
    brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, erase=0.0, erased_area=0.2, seed=None
):
    """Returns the layers of the options that are above 0, in the order of the arguments.

    Args:
        brightness: Largest shift, as a share of 255.
        contrast: Largest change of the distance from the mean colour, as a share.
        saturation: Largest change of the saturation, as a share.
        hue: Largest turn, as a share of the colour circle.
        erase: Probability that an image gets a grey rectangle.
        erased_area: Largest area of the rectangle, as a share of the image's. In [0, 1].
        seed: At least 0, or None.

    Returns:
        A list of layers from uint8 or floats (B, H, W, 3) in 0..255 to float32 in 0..255.
    """
    from keras import layers  # here, so that naming an augmentation loads no backend

    # Not half precision: in bfloat16 the values 0..255 lie up to 1 apart, and hue divides by
    # differences of them.
    shared = {"data_format": "channels_last", "dtype": "float32"}

    def options():
        return {**shared, "seed": None if seed is None else seed + len(chosen)}

    # First of all a cast: some of these layers calculate in the type of what comes in, and
    # uint8 wraps around.
    chosen = [layers.Rescaling(1.0, dtype="float32")]
    # Pairs, because Keras reads a single number in a different way in each layer.
    if brightness:
        chosen.append(layers.RandomBrightness((-brightness, brightness), **options()))
    if contrast:
        chosen.append(layers.RandomContrast((contrast, contrast), **options()))
    if saturation:  # 0.5 is no change there, 0 is grey
        span = (0.5 - saturation / 2, 0.5 + saturation / 2)
        chosen.append(layers.RandomSaturation(span, **options()))
    if hue:  # half of what is drawn is the turn
        chosen.append(layers.RandomHue((0.0, 2 * hue), **options()))
    if erase:
        chosen.append(
            layers.RandomErasing(
                (erase, erase), scale=(0.0, erased_area), fill_value=127.5, **options()
            )
        )
    return chosen if len(chosen) > 1 else []
