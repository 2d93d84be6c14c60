"""The segments of a JPEG, and its scans, which are counted before any of them is decoded."""

import re
from collections.abc import Iterator

MOST_SCANS = 100  # encoders write about 10; a decoder goes through the whole image for each
MOST_MARKERS = 10_000  # without restart markers
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # not a stuffed byte, fill byte or restart
ALONE = (0x01, 0xD8)  # markers without a length: TEM, SOI
EOI = 0xD9
SOS = 0xDA


def count_scans(data: bytes) -> int:
    """Returns the number of scans in a JPEG, counted up to one more than `MOST_SCANS`.

    Scans within segments, such as those of a thumbnail, and after the end of the image are not
    counted. A file of more than `MOST_MARKERS` markers counts as one of too many scans.
    """
    scans = 0
    for number, (code, _, _) in enumerate(segments(data)):
        if code == EOI:
            return scans
        scans += code == SOS
        if scans > MOST_SCANS or number >= MOST_MARKERS:
            return MOST_SCANS + 1
    return scans


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields the code of each marker of a JPEG, and where the segment behind it begins and ends."""
    place = 2
    while (found := MARKER.search(data, place)) is not None:
        start = place = found.end()
        code = data[start - 1]
        if code not in ALONE:
            place += int.from_bytes(data[start : start + 2], "big")
        yield code, start, place
