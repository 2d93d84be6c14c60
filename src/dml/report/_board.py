"""Queries with their neighbours, and embeddings for the projector, in TensorBoard's files."""

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from dml._storage.atomic import atomic_path, write_text
from dml.images._thumbnails import thumbnail
from dml.report._queries import DRAWN, NEIGHBOURS
from dml.report._selection import drawn_queries
from dml.report.data import ReportData

POINTS = 2000  # embeddings in the projector, of which a browser shows some thousands
SPRITE = 48  # pixels of an image in the projector
CELL, FRAME = 96, 4  # pixels of an image in the grid, and of the frame in it
RIGHT, WRONG = (0, 150, 80), (200, 40, 40)

_CONFIG = f"""embeddings {{
  tensor_name: "queries"
  tensor_path: "vectors.tsv"
  metadata_path: "metadata.tsv"
  sprite {{
    image_path: "sprite.png"
    single_image_dim: {SPRITE}
    single_image_dim: {SPRITE}
  }}
}}
"""


def write_board(folder: Path, data: ReportData) -> None:
    """Writes the report's drawn queries with their neighbours, and queries for the projector.

    Args:
        folder: A run of TensorBoard; replaced if it exists.
        data: What the report shows.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    _write_image(folder, "queries and their neighbours", retrieval_grid(data))
    rows = np.random.default_rng(data.seed).permutation(len(data.labels))[:POINTS]
    _write_projector(folder, data, np.sort(rows))


def retrieval_grid(data: ReportData) -> np.ndarray:
    """Returns an image of queries, each with its nearest images on its right, framed if right.

    The frame is green for an image of the query's class and red for others; an image that can't be
    read is grey.

    Args:
        data: What the report shows; it draws the same queries.
    """
    rows = drawn_queries(data.labels, data.first_positive, DRAWN, data.seed)
    grid = np.full((max(1, len(rows)), 1 + NEIGHBOURS, CELL, CELL, 3), 255, np.uint8)
    for line, row in zip(grid, rows, strict=False):
        line[0] = _small(data.thumbnail, row, CELL)
        for place, found in enumerate(data.neighbours[row, :NEIGHBOURS], start=1):
            if found >= 0:
                line[place] = RIGHT if data.are_right(row, found) else WRONG
                inner = _small(data.searched_thumbnail, found, CELL - 2 * FRAME)
                line[place, FRAME:-FRAME, FRAME:-FRAME] = inner
    return tiled(grid)


def tiled(images: np.ndarray) -> np.ndarray:
    """Returns images (rows, columns, side, side, 3) as one."""
    rows, columns, side = images.shape[:3]
    return images.transpose(0, 2, 1, 3, 4).reshape(rows * side, columns * side, 3)


def _small(thumbnail_of: Callable[[int], np.ndarray], row: int, side: int) -> np.ndarray:
    """Returns the image of a row as a square; a grey one if it can't be read."""
    try:
        return thumbnail(thumbnail_of(int(row)), side)
    except (ValueError, OSError):
        return np.full((side, side, 3), 128, np.uint8)


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def _write_image(folder: Path, tag: str, image: np.ndarray) -> None:
    """Writes an image as an event."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    height, width, _ = image.shape
    encoded = Summary.Image(
        height=height, width=width, colorspace=3, encoded_image_string=_png(image)
    )
    summary = Summary(value=[Summary.Value(tag=tag, image=encoded)])
    writer = EventFileWriter(str(folder))
    writer.add_event(Event(wall_time=time.time(), step=0, summary=summary))
    writer.close()


def _write_projector(folder: Path, data: ReportData, rows: np.ndarray) -> None:
    """Writes vectors, classes and images of some queries, as the projector reads them."""
    with atomic_path(folder / "vectors.tsv") as temporary:
        np.savetxt(temporary, data.vectors[rows], fmt="%.6g", delimiter="\t")
    lines = ["class\trank of the first right image"]
    for row in rows:
        name = " ".join(data.class_name(data.labels[row]).split())
        lines.append(f"{name}\t{data.first_positive[row]}")
    write_text(folder / "metadata.tsv", "\n".join(lines) + "\n")
    columns = max(1, math.ceil(math.sqrt(len(rows))))
    sprite = np.full((columns, columns, SPRITE, SPRITE, 3), 255, np.uint8)
    for place, row in enumerate(rows):
        sprite[divmod(place, columns)] = _small(data.thumbnail, row, SPRITE)
    with atomic_path(folder / "sprite.png") as temporary:
        temporary.write_bytes(_png(tiled(sprite)))
    write_text(folder / "projector_config.pbtxt", _CONFIG)  # the last one: it names the others
