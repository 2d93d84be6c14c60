"""Images are read in order, as squares; one that can't be read is an error in its place."""

import cv2
import numpy as np

from dml.encoding._interface import Preparation
from dml.encoding._squares import read_squares
from dml.images import ImageError


def test_squares_are_in_order_and_errors_in_their_place(tmp_path):
    paths = [str(tmp_path / f"{n}.png") for n in range(4)]
    for n, path in enumerate(paths):
        cv2.imwrite(path, np.full((20, 30, 3), n, "uint8"))
    (tmp_path / "2.png").write_bytes(b"no image")
    wanted = Preparation(resize_side=16, input_size=16, aspect="keep")
    found = list(read_squares(paths, wanted, threads=2, ahead=2))
    assert isinstance(found.pop(2), ImageError)
    assert [image.shape for image in found] == [(16, 16, 3)] * 3
    assert [image.max() for image in found] == [0, 1, 3]
