"""What every augmentation shares: its registry, and its two halves."""

from dml.registry import Registry

AUGMENTATIONS = Registry("augmentation")


class Augmentation:
    """Changes images in two places: geometry in the reading threads, colour on the device.

    Subclasses are frozen dataclasses whose fields are the options.
    """

    def crop(self, image, size, generator):
        """Cuts a square out of one image; pure in its arguments, and called in threads.

        Args:
            image: Uint8 (H, W, 3), its short side at least `decode_side(size)` where the file has
                as much.
            size: Side of the square in pixels.
            generator: `numpy.random.Generator`, the only source of chance.

        Returns:
            Uint8 (size, size, 3).
        """
        raise NotImplementedError

    def decode_side(self, size):
        """Returns the short side in pixels under which an image need not be decoded."""
        return size

    def layers(self, seed=None):
        """Returns the Keras layers that change a batch, in order; none by default.

        They take uint8 or floats (B, H, W, 3) in 0..255 and return float32 in 0..255, changed
        only in training.

        Args:
            seed: At least 0. None draws one, which `keras.utils.set_random_seed` fixes.
        """
        return []


def check_share(**options):
    """Raises ValueError for the first option that is not in [0, 1]."""
    for name, value in options.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1]; got {value}")
