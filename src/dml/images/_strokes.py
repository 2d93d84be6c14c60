"""Draws characters of random pen strokes, with any number of classes and samples, from a seed."""

import functools

import numpy as np

from dml._options import check_at_least, check_within

MEETING = 0.6  # share of strokes that start at a point of an earlier one, as in most scripts
REACH = 0.5  # preferred distance of a stroke's next control point from its last, of the side
FLATTEST = 0.4  # smallest ratio of a character's shorter to its longer side
MARGIN = 0.18  # of the side, around the control points of an undistorted character
# How one drawing differs from the next, as standard deviations; lengths as shares of the side.
POINT_JITTER = 0.06
SCALE_JITTER = 0.15
ROTATION_JITTER = 0.20  # radians
SLANT_JITTER = 0.25
PLACE_JITTER = 0.07
THICKNESS = (0.022, 0.045)  # smallest and largest pen, as shares of the side
OVERSAMPLING = 2
SMALLEST, LARGEST = 8, 4096  # sides in pixels
SHIFT = 4  # fractional bits of the coordinates given to OpenCV


@functools.cache
def basis(points: int, steps: int = 8) -> np.ndarray:
    """Returns the matrix (S, points) that turns control points into a smooth curve through them.

    Catmull-Rom: each span is a cubic whose tangents are the differences of its neighbours.
    """
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    weights = np.hstack(
        [
            -0.5 * t + t**2 - 0.5 * t**3,
            1 - 2.5 * t**2 + 1.5 * t**3,
            0.5 * t + 2 * t**2 - 1.5 * t**3,
            -0.5 * t**2 + 0.5 * t**3,
        ]
    )
    rows = np.zeros(((points - 1) * steps + 1, points))
    for span in range(points - 1):
        for k in range(4):  # the ends are repeated
            column = min(max(span - 1 + k, 0), points - 1)
            rows[span * steps : (span + 1) * steps, column] += weights[:, k]
    rows[-1, -1] = 1
    return rows


@functools.lru_cache(maxsize=4096)
def character(number: int, seed: int) -> tuple[np.ndarray, ...]:
    """Returns the strokes of a class: arrays (P, 2) of control points in the unit square."""
    generator = np.random.Generator(np.random.PCG64((seed, number)))
    while True:  # until it is not just a line
        strokes = random_strokes(generator)
        every = np.concatenate(strokes)
        low, extent = every.min(axis=0), np.ptp(every, axis=0)
        if extent.min() > FLATTEST * extent.max() and extent.max() > 0.5:
            return tuple((s - low - extent / 2) / extent.max() + 0.5 for s in strokes)


def random_strokes(generator: np.random.Generator) -> list[np.ndarray]:
    """Returns 2 to 5 strokes of 2 to 4 control points each."""
    strokes = []
    for _ in range(generator.choice((2, 3, 4, 5), p=(0.3, 0.35, 0.25, 0.1))):
        points = [generator.uniform(0, 1, 2)]
        if strokes and generator.random() < MEETING:
            other = strokes[generator.integers(len(strokes))]
            points = [other[generator.integers(len(other))]]
        for _ in range(generator.choice((1, 2, 3), p=(0.45, 0.35, 0.2))):
            candidates = generator.uniform(0, 1, (8, 2))
            distances = np.linalg.norm(candidates - points[-1], axis=1)
            points.append(candidates[np.argmin(np.abs(distances - REACH))])
        strokes.append(np.array(points))
    return strokes


def render(number: int, sample: int, size: int = 64, seed: int = 0) -> np.ndarray:
    """Returns one drawing of a character as uint8 (size, size, 3), dark on white.

    Args:
        number: Its class; at least 0.
        sample: Number of the drawing; at least 0.
        size: Side in pixels; 8 to 4,096.
        seed: Seed of the alphabet; at least 0. The same four numbers give the same bytes.

    Raises:
        OptionError: One of them is out of its range.
    """
    import cv2

    check_within(SMALLEST, LARGEST, size=size)
    check_at_least(0, number=number, sample=sample, seed=seed)
    strokes = character(number, seed)
    generator = np.random.Generator(np.random.PCG64((seed, number, sample)))
    noise = generator.normal(size=(sum(map(len, strokes)), 2)) * POINT_JITTER
    scale = 1 + SCALE_JITTER * generator.normal(size=2).clip(-2, 2)
    angle, slant = (ROTATION_JITTER, SLANT_JITTER) * generator.normal(size=2).clip(-2, 2)
    place = PLACE_JITTER * generator.normal(size=2).clip(-2, 2)
    pen = generator.uniform(*THICKNESS)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.diag(scale * (1 - 2 * MARGIN)) @ [[1, 0], [slant, 1]] @ turn
    side, row, curves = size * OVERSAMPLING, 0, []
    for points in strokes:
        moved = (points - 0.5 + noise[row : row + len(points)]) @ matrix + 0.5 + place
        row += len(points)
        curve = basis(len(points)) @ moved * (side << SHIFT)
        curves.append(np.rint(curve).astype(np.int32))
    canvas = np.full((side, side), 255, np.uint8)
    thickness = max(1, round(pen * side))
    cv2.polylines(canvas, curves, False, 0, thickness, cv2.LINE_AA, SHIFT)
    image = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return np.repeat(image[:, :, None], 3, axis=2)
