"""An index of coloured images to serve, and `dml serve` at work on it."""

import contextlib
import os
import re
import struct
import subprocess
import sys
import zlib

from dml.index import index_images
from tests.bundles import write_bundle, write_images


def write_shop(folder, name="shop", **options):
    """Builds an index of 12 images of 3 classes, and `bundle` beside it; returns its path."""
    photos = write_images(folder / "photos")
    bundle = write_bundle(folder / "bundle", **options)
    index_images(bundle, [photos], folder / name)
    return folder / name


@contextlib.contextmanager
def served(shop, token=""):
    """Runs `dml serve` and gives its address and its process."""
    command = [sys.executable, "-m", "dml.cli", "serve", str(shop), "--port", "0"]
    environment = {**os.environ, "DML_TOKEN": token}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as service:
        try:
            yield re.match(r"(http://127\.0\.0\.1:\d+/)", service.stdout.readline())[1], service
        finally:
            service.terminate()


def upload(client, data, name="a.png", kind="image/png", **parameters):
    """Searches by an uploaded file, as a form."""
    return client.post("/search", files={"image": (name, data, kind)}, params=parameters)


def png_header(width, height):
    """Returns a PNG with a header and no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunks + struct.pack(">I", 1000) + b"IDAT" + bytes(10)
