"""Scans of a JPEG are counted without decoding."""

import io

import numpy as np
import pytest
from PIL import Image

from dml.images import ImageError
from dml.images._decoding import decode_image
from dml.images._scans import MOST_SCANS, count_scans
from tests.jpegs import many_scans

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (64, 48, 3), "uint8")


def written(image=NOISE, **options):
    """Returns an image as Pillow's libjpeg writes it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", **options)
    return buffer.getvalue()


# jcparam.c of libjpeg: a progressive script has 10 scans in colour and 6 in grey.
@pytest.mark.parametrize(
    "data, scans",
    [
        (written(), 1),
        (written(restart_marker_blocks=1), 1),
        (written(progressive=True), 10),
        (written(NOISE[..., 0], progressive=True), 6),
        (written(comment=b"\xff\xda\xff\xda" * 500), 1),
        (written(exif=b"Exif\0\0" + written(progressive=True)), 1),
        (written() + written(progressive=True), 1),
    ],
    ids=["baseline", "restarts", "progressive", "grey", "comment", "thumbnail", "second image"],
)
def test_scans_of_the_image_alone(data, scans):
    assert count_scans(data) == scans
    assert decode_image(data, "a.jpg").shape == (64, 48, 3)


def test_cut_at_any_byte_it_ends():
    data = written(progressive=True)
    counts = [count_scans(data[:end]) for end in range(len(data))]
    assert counts == sorted(counts) and counts[-1] == 10


def test_too_many_scans_are_refused():
    refused = many_scans(1000, 1000, MOST_SCANS + 1)
    assert len(refused) < 30_000 and count_scans(refused) == MOST_SCANS + 1
    with pytest.raises(ImageError, match=r"a\.jpg: a JPEG of more than 100 scans"):
        decode_image(refused, "a.jpg")
    assert count_scans(many_scans(80, 80, MOST_SCANS)) == MOST_SCANS


def test_too_many_markers_count_as_too_many_scans():
    data = written()
    assert count_scans(data[:2] + b"\xff\xfe\0\2" * 20_000 + data[2:]) > MOST_SCANS
