"""Headers are read before pixels are."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from dml.serve._uploads import UploadError, check_header, is_quick
from tests.jpegs import many_scans


@pytest.mark.parametrize(
    "suffix", [".jpg", ".png", ".webp", ".bmp", ".gif", ".tiff", ".ppm", ".avif"]
)
def test_images_pass_up_to_the_limit(suffix):
    data = cv2.imencode(suffix, np.zeros((20, 30, 3), "uint8"))[1].tobytes()
    check_header(data, 600)
    with pytest.raises(UploadError, match="30 x 20: an image may have at most") as caught:
        check_header(data, 599)
    assert caught.value.status == 413


def written(suffix, side):
    return cv2.imencode(suffix, np.zeros((side, side, 3), "uint8"))[1].tobytes()


def test_small_jpegs_and_pngs_of_few_scans_are_quick():
    assert is_quick(written(".jpg", 4999)) and is_quick(written(".png", 2880))
    assert not is_quick(written(".jpg", 5001)) and not is_quick(written(".png", 2890))
    assert is_quick(many_scans(500, 500, 100)) and not is_quick(many_scans(501, 500, 100))
    assert not any(map(is_quick, (b"", b"\xff\xd8\xff", written(".webp", 8), b"\x89PNG\r\n")))


def test_a_png_of_many_chunks_is_not_quick():
    data = written(".png", 8)
    text = struct.pack(">I4sI", 0, b"tEXt", zlib.crc32(b"tEXt"))
    assert is_quick(data[:33] + 900 * text + data[33:])
    assert not is_quick(data[:33] + 1000 * text + data[33:])
    assert not is_quick(data + 1000 * text)


def test_other_files_do_not():
    for data in (b"", b"x", b"%PDF-1.4", bytes(1000)):
        with pytest.raises(UploadError) as caught:
            check_header(data, 10**6)
        assert caught.value.status == 415
