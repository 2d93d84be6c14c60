"""Headers are read before pixels are."""

import cv2
import numpy as np
import pytest

from dml.serve.uploads import UploadError, check_header


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_images_pass_up_to_the_limit(suffix):
    data = cv2.imencode(suffix, np.zeros((20, 30, 3), "uint8"))[1].tobytes()
    check_header(data, 600)
    with pytest.raises(UploadError, match="30 x 20: an image may have at most") as caught:
        check_header(data, 599)
    assert caught.value.status == 413


def test_other_files_do_not():
    for data in (b"", b"x", b"%PDF-1.4", bytes(1000)):
        with pytest.raises(UploadError) as caught:
            check_header(data, 10**6)
        assert caught.value.status == 415
