"""Potentially slow images are decoded in a process that is killed after a timeout."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np
import pytest

from dml.images._decoding import decode_image
from dml.images._resizing import square
from dml.serve._batching import Overloaded
from dml.serve._decoding import Decoder
from dml.serve._uploads import UploadError
from tests.jpegs import many_scans

PREPARE = partial(square, side=20, aspect="keep")
SLOW = many_scans(5000, 5000, 99)  # seconds, which no test waits for


@pytest.fixture
def decoder():
    decoder = Decoder(25_000_000, timeout=600)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def photo():
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), "uint8")
    return cv2.imencode(".webp", image)[1].tobytes()


def test_answers_what_this_process_would(decoder, photo):
    wanted = PREPARE(decode_image(photo, "a.webp"))
    for _ in range(3):
        np.testing.assert_array_equal(decoder(photo, "a.webp", 20, PREPARE), wanted)


@pytest.mark.parametrize(
    "data, status, why",
    [
        (b"", 415, "empty"),
        (b"GIF89a", 415, "not an image"),
        (many_scans(500, 500, 10_000), 415, "upload: a JPEG of more than 100 scans"),
        (cv2.imencode(".png", np.zeros((5001, 5000), "uint8"))[1].tobytes(), 413, "5000 x 5001"),
    ],
)
def test_what_is_no_image_to_decode_is_refused(decoder, photo, data, status, why):
    with pytest.raises(UploadError, match=why) as caught:
        decoder(data, "the upload", 20, PREPARE)
    assert caught.value.status == status
    assert decoder(photo, "the upload", 20, PREPARE).shape == (20, 20, 3)


def test_one_that_takes_too_long_is_given_up_and_the_next_is_decoded(decoder, photo):
    decoder(photo, "a.webp", 20, PREPARE)
    decoder.timeout, process = 0.1, decoder.process
    with pytest.raises(
        UploadError, match=r"slow\.jpg: decoding takes longer than 0\.1 s"
    ) as caught:
        decoder(SLOW, "slow.jpg", 20, PREPARE)
    assert caught.value.status == 413 and process.returncode is not None
    decoder.timeout = 600
    assert decoder(photo, "a.webp", 20, PREPARE).shape == (20, 20, 3)


def test_a_process_that_dies_costs_its_image_alone(decoder, photo):
    with pytest.raises(UploadError, match=r"a\.webp: can't be decoded") as caught:
        decoder(photo, "a.webp", 20, time.sleep)  # which takes no image: an error of its own
    assert caught.value.status == 415
    assert decoder(photo, "a.webp", 20, PREPARE).shape == (20, 20, 3)


def test_nothing_of_the_current_folder_is_imported(decoder, photo, tmp_path, monkeypatch):
    for name in ("numpy", "cv2", "dml"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    assert decoder(photo, "a.webp", 20, PREPARE).shape == (20, 20, 3)


def test_a_process_that_does_not_start_is_reported_and_tried_again(
    decoder, photo, monkeypatch, caplog
):
    with monkeypatch.context() as broken:
        for command in ("/bin/false", "/none"):
            broken.setattr("sys.executable", command)
            with pytest.raises(Overloaded):
                decoder(photo, "a.webp", 20, PREPARE)
    assert caplog.text.count("the image decoder process does not start") == 2
    assert decoder(photo, "a.webp", 20, PREPARE).shape == (20, 20, 3)


def test_closed_while_it_decodes(decoder, photo):
    decoder(photo, "a.webp", 20, PREPARE)
    process = decoder.process
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(decoder, SLOW, "slow.jpg", 20, PREPARE)
        threading.Timer(0.1, decoder.close).start()
        with pytest.raises(Overloaded):
            answer.result()
    assert process.returncode is not None
    with pytest.raises(Overloaded):
        decoder(photo, "a.webp", 20, PREPARE)
