"""What TensorBoard reads: the grid of queries, and the projector's files."""

import cv2
import numpy as np
import pytest
from google.protobuf import text_format
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from dml.report._board import CELL, FRAME, RIGHT, SPRITE, WRONG, retrieval_grid, write_board
from dml.report._selection import drawn_queries
from tests.report.example import colour, example


def pixels(grid, row, column):
    """Returns the colours of the frame and of the middle of an image in a grid."""
    image = grid[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
    return tuple(image[FRAME // 2, CELL // 2]), tuple(image[CELL // 2, CELL // 2])


@pytest.mark.parametrize("gallery", [False, True])
def test_the_grid_has_the_queries_of_the_report_and_frames_what_is_right(gallery):
    data = example(gallery=gallery)
    grid = retrieval_grid(data)
    rows = drawn_queries(data.labels, data.first_positive, 24, data.seed)
    assert grid.shape == (len(rows) * CELL, 6 * CELL, 3)
    seen = set()
    for line, row in enumerate(rows):
        assert pixels(grid, line, 0)[1] == tuple(colour(row)[0, 0])
        for place, found in enumerate(data.neighbours[row, :5], start=1):
            right = data.searched_labels[found] == data.labels[row]
            image = 255 - colour(found) if gallery else colour(found)
            frame, middle = pixels(grid, line, place)
            assert frame == (RIGHT if right else WRONG) and middle == tuple(image[0, 0])
            seen.add(bool(right))
    assert seen == {True, False}


def test_images_that_can_not_be_read_are_grey():
    def broken(row):
        raise OSError

    assert (retrieval_grid(example(thumbnail=broken))[:CELL, :CELL] == 128).all()


def test_the_projector_finds_vectors_classes_and_images(tmp_path, monkeypatch):
    monkeypatch.setattr("dml.report._board.POINTS", 7)
    data = example(class_names=["a\tb", "c", "d", "e"])
    write_board(tmp_path / "board", data)
    write_board(tmp_path / "board", data)  # another evaluation takes its place
    assert len(list(tmp_path.glob("board/*tfevents*"))) == 1
    config = text_format.Parse(
        (tmp_path / "board" / "projector_config.pbtxt").read_text(), ProjectorConfig()
    )
    (one,) = config.embeddings
    vectors = np.loadtxt(tmp_path / "board" / one.tensor_path, delimiter="\t")
    header, *classes = (tmp_path / "board" / one.metadata_path).read_text().splitlines()
    assert len(vectors) == len(classes) == 7 and header.count("\t") == 1
    rows = [int(np.argmin(np.abs(data.vectors - v).max(axis=1))) for v in vectors]
    np.testing.assert_allclose(vectors, data.vectors[rows], atol=1e-5)
    names = [line.split("\t") for line in classes]
    assert names == [
        [data.class_name(data.labels[r]).replace("\t", " "), str(data.first_positive[r])]
        for r in rows
    ]
    sprite = cv2.imread(str(tmp_path / "board" / one.sprite.image_path))
    assert list(one.sprite.single_image_dim) == [SPRITE, SPRITE]
    assert sprite.shape == (3 * SPRITE, 3 * SPRITE, 3)
    for place, row in enumerate(rows):
        y, x = (SPRITE * at + SPRITE // 2 for at in divmod(place, 3))
        assert (sprite[y, x] == colour(row)[0, 0]).all()


def test_tensorboard_reads_the_grid(tmp_path):
    data = example()
    write_board(tmp_path / "board", data)
    found = EventAccumulator(str(tmp_path / "board")).Reload()
    (tag,) = found.Tags()["images"] or found.Tags()["tensors"]
    events = found.Images(tag) if found.Tags()["images"] else found.Tensors(tag)
    encoded = getattr(events[0], "encoded_image_string", None)
    if encoded is None:  # as newer versions convert it: width, height, image
        encoded = events[0].tensor_proto.string_val[2]
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    np.testing.assert_array_equal(image, retrieval_grid(data))


def test_a_data_set_without_queries_has_an_empty_grid():
    data = example(classes=1, samples=1)
    assert retrieval_grid(data).shape == (CELL, 6 * CELL, 3)
