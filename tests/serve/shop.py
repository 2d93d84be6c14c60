"""An index of coloured images to serve."""

from dml.commands import index as commands
from tests.bundles import write_bundle, write_images


def write_shop(folder, name="shop", **options):
    """Builds an index of 12 images of 3 classes, and `bundle` beside it; returns its path."""
    photos = write_images(folder / "photos")
    bundle = write_bundle(folder / "bundle", **options)
    commands.build(bundle, [photos], folder / name, report=lambda line: None)
    return folder / name
