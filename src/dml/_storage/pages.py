"""Pages of a Parquet file: the units in which the values of a column are packed.

PyArrow reads whole row groups, which may be as large as the file; its writer puts at most 1,024
values into a page. Here the page of a single value is read. Only what writers use for bytes is
known, plain and dictionary encoding; for others there is PyArrow. The format:
https://parquet.apache.org/docs/file-format/
"""

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

MOST_VALUES = 2**24  # in a page
MOST_PAGES = 2**20  # in a row group
DEEPEST = 4  # structs within each other in a header
MOST_UNPACKED = 2**30  # bytes of a page
HEADERS = (512, 2**14, 2**20)  # bytes read for a header, more if it is longer
CODECS = {
    "UNCOMPRESSED": None,
    "SNAPPY": "snappy",
    "GZIP": "gzip",
    "BROTLI": "brotli",
    "ZSTD": "zstd",
}
DATA, DICTIONARY, DATA_V2 = 0, 2, 3  # types of pages
PLAIN, RUNS, BY_DICTIONARY = 0, 3, (2, 8)  # encodings
LENGTH = struct.Struct("<I")


class OtherEncoding(Exception):
    """The values are packed in a way that is not known here."""


@dataclass(frozen=True)
class Page:
    """A page, as its header describes it.

    Args:
        start: Place of its bytes in the file.
        packed: Bytes in the file.
        size: Bytes when unpacked.
        values: Values, the missing ones included.
        encoding: How the values are encoded.
        levels: Bytes of the levels in front of the values, which are not packed; None if they are
            packed like the values, behind their length.
        is_packed: Whether the values are.
        checksum: CRC-32 of its bytes in the file, or None.
    """

    start: int
    packed: int
    size: int
    values: int
    encoding: int
    levels: int | None
    is_packed: bool
    checksum: int | None


@dataclass(frozen=True, eq=False)
class Chunk:
    """The pages of one column in one row group.

    Args:
        pages: Pages of values, in order.
        starts: The row, within the row group, of the first value of each page, and their number.
        dictionary: The page of the values that others refer to, or None.
        codec: How they are packed, a name that `pyarrow.Codec` takes; None if not at all.
        deepest: The level of a value that is not missing.
    """

    pages: tuple[Page, ...]
    starts: np.ndarray
    dictionary: Page | None
    codec: str | None
    deepest: int

    @property
    def nbytes(self) -> int:
        """Bytes that are kept in memory, about."""
        return 256 * len(self.pages)


@dataclass(frozen=True, eq=False)
class Values:
    """Byte strings, one after the other.

    Args:
        data: Bytes that hold them.
        places: int64 (N, 2): start and end of each; -1 for a missing one.
    """

    data: memoryview
    places: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes that are kept in memory."""
        return len(self.data) + self.places.nbytes

    def __getitem__(self, row: int) -> memoryview | None:
        start, end = self.places[row]
        return None if start < 0 else self.data[start:end]


def read_chunk(file: BinaryIO, about: "FileMetaData", group: int, column: int) -> Chunk:
    """Returns where the pages of a column in a row group are.

    Args:
        file: The file.
        about: Its metadata.
        group: The row group.
        column: The column, counted among the leaves.

    Raises:
        OtherEncoding: They are packed in a way that is not known here.
        ValueError, LookupError, struct.error: The file is damaged.
    """
    chunk, kind = about.row_group(group).column(column), about.schema.column(column)
    if (
        kind.physical_type != "BYTE_ARRAY"
        or kind.max_repetition_level
        or chunk.compression not in CODECS
        or chunk.file_path
    ):
        raise OtherEncoding
    place = chunk.data_page_offset
    if chunk.dictionary_page_offset:
        place = min(place, chunk.dictionary_page_offset)
    end, rows = place + chunk.total_compressed_size, about.row_group(group).num_rows
    pages, counts, dictionary = [], [0], None
    for _ in range(MOST_PAGES):
        if counts[-1] >= rows or place >= end:
            break
        kind_of_page, page, place = read_page_header(file, place)
        if kind_of_page == DICTIONARY:
            dictionary = page
        elif kind_of_page in (DATA, DATA_V2):
            pages.append(page)
            counts.append(counts[-1] + page.values)
    if counts[-1] != rows:
        raise ValueError(f"a row group of {rows} rows has {counts[-1]} values")
    if {page.encoding for page in pages} - {PLAIN, *BY_DICTIONARY}:
        raise OtherEncoding
    codec, deepest = CODECS[chunk.compression], kind.max_definition_level
    return Chunk(tuple(pages), np.array(counts), dictionary, codec, deepest)


def read_page_header(file, place):
    """Returns (type, `Page`, place of the next one) of the page at a place."""
    for count in HEADERS:
        file.seek(place)
        data = file.read(count)
        try:
            header, length = read_struct(data, 0)
            break
        except IndexError:
            if len(data) < count:
                raise
    else:
        raise ValueError("the header of a page is too long")
    kind, size, packed = (whole(header, field) for field in (1, 2, 3))
    about = header.get({DATA: 5, DICTIONARY: 7, DATA_V2: 8}.get(kind, 0), {})
    if not isinstance(about, dict):
        raise ValueError("the header of a page is damaged")
    values, levels = whole(about, 1, 0), None
    if kind == DATA_V2:
        levels = whole(about, 5)
        if whole(about, 6, 0):  # of repeated values
            raise OtherEncoding
    elif kind == DATA and whole(about, 3, RUNS) != RUNS:
        raise OtherEncoding
    sizes = (packed, size - (levels or 0), size, levels or 0)
    if min(sizes) < 0 or max(sizes) > MOST_UNPACKED or not 0 <= values <= MOST_VALUES:
        raise ValueError("a page is too large")
    page = Page(
        start=place + length,
        packed=packed,
        size=size,
        values=values,
        encoding=whole(about, 4 if kind == DATA_V2 else 2, PLAIN),
        levels=levels,
        is_packed=bool(about.get(7, True)),
        checksum=whole(header, 4) if 4 in header else None,
    )
    return kind, page, page.start + packed


def whole(fields, number, default=None):
    """Returns the integer in a field.

    Raises:
        ValueError: There is none, nor a default, or it is something else.
    """
    value = fields.get(number, default)
    if not isinstance(value, int):
        raise ValueError("the header of a page is damaged")
    return value


def read_struct(data, place, depth=0):
    """Returns ({field: value}, its end) of a struct in Thrift's compact protocol.

    Raises:
        IndexError: The data end within it.
        ValueError: It has fields of types that headers of pages do not have.
    """
    found, field = {}, 0
    while (first := data[place]) != 0:
        place += 1
        kind = first & 15
        if first >> 4:
            field += first >> 4
        else:
            field, place = read_integer(data, place)
        if kind in (1, 2):
            found[field] = kind == 1
        elif kind in (4, 5, 6):
            found[field], place = read_integer(data, place)
        elif kind == 8:
            length, place = read_varint(data, place)
            place += length  # texts are not needed
        elif kind == 12 and depth < DEEPEST:
            found[field], place = read_struct(data, place, depth + 1)
        else:
            raise ValueError("the header of a page is damaged")
    return found, place + 1


def read_varint(data, place):
    """Returns (a number of seven bits a byte, its end)."""
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place
        if shift > 63:
            raise ValueError("a number is too long")


def read_integer(data, place):
    """Returns (a signed number, whose sign is the last bit, and its end)."""
    value, place = read_varint(data, place)
    return (value >> 1) ^ -(value & 1), place


def read_values(
    file: BinaryIO, chunk: Chunk, page: Page, dictionary: Values | None = None
) -> Values:
    """Returns the values of a page.

    Args:
        file: The file.
        chunk: The chunk of the page.
        page: A page of values, or its dictionary.
        dictionary: The values of the chunk's dictionary.

    Raises:
        OtherEncoding: They are packed in a way that is not known here.
        ValueError, LookupError, struct.error, pyarrow.ArrowException: The file is damaged.
    """
    file.seek(page.start)
    data = file.read(page.packed)
    if len(data) < page.packed or page.checksum not in (None, signed(zlib.crc32(data))):
        raise ValueError("a page is truncated, or its checksum is wrong")
    is_dictionary = page is chunk.dictionary
    deepest = 0 if is_dictionary else chunk.deepest
    there = np.ones(page.values, bool)
    if page.levels is not None:
        levels, rest = data[: page.levels], data[page.levels :]
        codec = chunk.codec if page.is_packed else None
        data, start = unpacked(rest, codec, page.size - page.levels), 0
    else:
        data = unpacked(data, chunk.codec, page.size)
        start, levels = 0, b""
        if deepest:
            length = LENGTH.unpack_from(data)[0]
            start = LENGTH.size + length
            levels = data[LENGTH.size : start]
    if deepest:
        there = numbers(levels, deepest.bit_length(), page.values) == deepest
    count, places = int(there.sum()), np.full((page.values, 2), -1, np.int64)
    if is_dictionary or page.encoding == PLAIN:
        places[there] = plain_places(data, start, count)
        return Values(data, places)
    if dictionary is None:
        raise ValueError("a page refers to a dictionary that is missing")
    if count:
        which = numbers(data[start + 1 :], data[start], count)
        places[there] = dictionary.places[which]
    return Values(dictionary.data, places)


def unpacked(data, codec, size):
    """Returns the bytes of a page, unpacked."""
    import pyarrow as pa

    if codec is not None and size:
        data = pa.Codec(codec).decompress(data, decompressed_size=size)
    return memoryview(data).cast("B")  # Arrow's have signed numbers


def plain_places(data, start, count):
    """Returns the starts and ends (count, 2) of byte strings that follow their lengths."""
    places, size = np.empty((count, 2), np.int64), len(data)
    for row in range(count):
        length = LENGTH.unpack_from(data, start)[0]
        start += LENGTH.size
        places[row] = start, start + length
        start += length
        if start > size:
            raise ValueError("a value ends behind its page")
    return places


def numbers(data, width, count):
    """Returns int64 (count,) that are packed in runs of equal ones and in `width` bits each."""
    if width == 0:
        return np.zeros(count, np.int64)
    if width > 32:
        raise ValueError("numbers of too many bits")
    found, place, have, size = [], 0, 0, (width + 7) // 8
    while have < count:
        head, place = read_varint(data, place)
        if head & 1:
            end = place + (head >> 1) * width
            bits = np.unpackbits(np.frombuffer(data[place:end], np.uint8), bitorder="little")
            powers = 1 << np.arange(width, dtype=np.int64)
            part = bits[: len(bits) // width * width].reshape(-1, width) @ powers
            part, place = part[: count - have], end
        else:
            value = int.from_bytes(data[place : place + size], "little")
            part = np.full(min(head >> 1, count - have), value, np.int64)
            place += size
        if not len(part):
            raise ValueError("a run of no numbers")
        found.append(part)
        have += len(part)
    return np.concatenate(found).astype(np.int64) if found else np.zeros(0, np.int64)


def signed(number):
    """Returns an unsigned number of 32 bits as a signed one."""
    return number - 2**32 if number >= 2**31 else number
