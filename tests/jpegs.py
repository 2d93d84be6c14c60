"""JPEGs that take long to decode."""

import io

import numpy as np
from PIL import Image


def many_scans(width, height, scans):
    """Returns a grey progressive JPEG of so many scans, at least 6: its last one, repeated.

    Without noise each is a few bytes, and as much work as a whole image.
    """
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width), 128, "uint8")).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * (scans - 5) + data[-2:]
