"""Counts the scans of a JPEG before any of them is decoded."""

import re

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
    scans, place = 0, 2
    for _ in range(MOST_MARKERS):
        found = MARKER.search(data, place)
        if found is None:
            return scans
        place = found.end()
        code = data[place - 1]
        if code == EOI:
            return scans
        if code == SOS:
            scans += 1
            if scans > MOST_SCANS:
                return scans
        if code not in ALONE:
            place += int.from_bytes(data[place : place + 2], "big")
    return MOST_SCANS + 1
