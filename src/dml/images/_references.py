"""References to images: files, members of archives, drawings, and parts of any of these."""

import abc
import hashlib
import os
import re
from dataclasses import dataclass, replace
from typing import ClassVar
from urllib.parse import quote, unquote

import numpy as np

from dml._storage.archives import (
    read_file,
    read_tar_member,
    read_tar_part,
    read_zip_member,
)
from dml._storage.cells import read_cell
from dml._storage.remote import is_url, local_path, read_url
from dml.errors import DataError
from dml.images import _strokes
from dml.images._decoding import ImageError, decode_image
from dml.images._headers import read_header
from dml.images._regions import Box, masked

# A file that holds images, the place of one if it is known, and its name. The first such suffix
# counts, in any case: a member may be called `b.zip!c.jpg`.
_CONTAINED = re.compile(
    r"(?is)(.*?\.(?:zip|tar|parquet|arrow))((?<=\.tar)@\d{1,15}\+\d{1,15})?!(.*)"
)
_CELL = re.compile(r"(?s)(.+)!(\d{1,15})")  # column and row


class ImageRef(abc.ABC):
    """A reference to an image; `str` gives the text that `parse` takes."""

    __slots__ = ()

    @staticmethod
    def parse(text: str | os.PathLike[str]) -> "ImageRef":
        """Returns the reference that a text denotes.

        Args:
            text: The path of a file, "ARCHIVE.zip!MEMBER", "SHARD.tar!MEMBER",
                "SHARD.tar@START+LENGTH!MEMBER", "FILE.parquet!COLUMN!ROW",
                "FILE.arrow!COLUMN!ROW", a URL such as "s3://BUCKET/KEY",
                "glyph:seed=N,size=N,class=N,sample=N", or a part of one of these:
                "crop:pixels=X0,Y0,X1,Y1:IMAGE", "crop:shares=X0,Y0,X1,Y1:IMAGE" or
                "mask:MASK:IMAGE", where percent signs and colons in MASK are written as in a URL.

        Raises:
            ImageError: A box in it is invalid.
        """
        text = os.fspath(text)
        if text.startswith(DrawnRef.PREFIX):
            return DrawnRef(text.removeprefix(DrawnRef.PREFIX))
        if text.startswith(CropRef.PREFIX):
            return CropRef.from_text(text)
        if text.startswith(MaskedRef.PREFIX):
            return MaskedRef.from_text(text)
        if is_url(text):
            local = local_path(text)
            return RemoteRef(text) if local == text else FileRef(local)
        if (contained := _CONTAINED.fullmatch(text)) is None:
            return FileRef(text)
        archive, place, member = contained.groups()
        if archive.lower().endswith(CellRef.SUFFIXES):
            cell = _CELL.fullmatch(member)
            return CellRef(archive, cell[1], int(cell[2])) if cell else FileRef(text)
        if place:
            start, length = map(int, place[1:].split("+"))
            return TarPartRef(archive, start, length, member)
        return ArchiveMemberRef(archive, member)

    @property
    @abc.abstractmethod
    def files(self) -> tuple[str, ...]:
        """The files that are read, and URLs; none for a drawing."""

    @abc.abstractmethod
    def absolute(self, folder: str | os.PathLike[str] = "") -> "ImageRef":
        """Returns the same reference with an absolute path.

        Args:
            folder: The folder of a relative path; by default the working directory.
        """

    @abc.abstractmethod
    def normalized(self) -> "ImageRef":
        """Returns the same reference with its path in normal form: `./a//b.png` as `a/b.png`."""

    @abc.abstractmethod
    def read_bytes(self) -> bytes:
        """Returns the encoded image, whole; of a drawn one, its pixels.

        Raises:
            ImageError: It is missing or can't be read.
        """

    def decode(self, data: bytes, minimum_side: int | None = None) -> np.ndarray:
        """Returns the image that `read_bytes` returned as uint8 (H, W, 3) RGB, upright.

        Args:
            data: What `read_bytes` returned.
            minimum_side: As in `read_image`.

        Raises:
            ImageError: It is truncated, corrupt, too large or of an unknown format.
        """
        return decode_image(data, str(self), minimum_side)

    def digest(self, data: bytes) -> str:
        """Returns the SHA-256 of all that the pixels depend on, but not of the path.

        Args:
            data: What `read_bytes` returned.

        Raises:
            ImageError: A mask is missing or can't be read.
        """
        return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class _LocalRef(ImageRef):
    """A reference to a file, or into one.

    Args:
        file: Its path.
    """

    file: str

    @property
    def files(self):
        return (self.file,)

    def absolute(self, folder=""):
        path = os.path.abspath(os.path.join(folder, self.file))
        return self if path == self.file else replace(self, file=path)

    def normalized(self):
        return replace(self, file=os.path.normpath(self.file))


@dataclass(frozen=True, slots=True)
class FileRef(_LocalRef):
    """An image file.

    Args:
        file: Its path.
    """

    def __str__(self):
        return self.file

    def read_bytes(self):
        return _read(self, read_file, self.file)


@dataclass(frozen=True, slots=True)
class ArchiveMemberRef(_LocalRef):
    """A member of a zip or of an uncompressed tar archive.

    Args:
        file: Path of the archive, with one of the suffixes of `READERS`, in any case.
        member: Name of the member.
    """

    READERS: ClassVar[dict] = {".zip": read_zip_member, ".tar": read_tar_member}

    member: str

    def __str__(self):
        return f"{self.file}!{self.member}"

    def read_bytes(self):
        read = self.READERS[self.file[-4:].lower()]
        return _read(self, read, self.file, self.member)


@dataclass(frozen=True, slots=True)
class TarPartRef(_LocalRef):
    """A member of an uncompressed tar at a known place, read without the tar's directory.

    Args:
        file: Path of the tar, which ends in `.tar`, in any case.
        start: The place of its first byte.
        length: Its bytes.
        member: Its name, for messages.
    """

    start: int
    length: int
    member: str

    def __str__(self):
        return f"{self.file}@{self.start}+{self.length}!{self.member}"

    def read_bytes(self):
        return _read(self, read_tar_part, self.file, self.start, self.length)


@dataclass(frozen=True, slots=True)
class CellRef(_LocalRef):
    """A cell of a Parquet or Arrow file that holds the bytes of an image.

    Args:
        file: Its path, with one of the `SUFFIXES`, in any case.
        column: The column.
        row: The row, from 0.
    """

    SUFFIXES: ClassVar[tuple[str, ...]] = (".parquet", ".arrow")

    column: str
    row: int

    def __str__(self):
        return f"{self.file}!{self.column}!{self.row}"

    def read_bytes(self):
        return _read(self, read_cell, self.file, self.column, self.row)


@dataclass(frozen=True, slots=True)
class RemoteRef(ImageRef):
    """An image at a URL, read through fsspec.

    Args:
        url: Such as "s3://BUCKET/KEY".
    """

    url: str

    def __str__(self):
        return self.url

    @property
    def files(self):
        return (self.url,)

    def absolute(self, folder=""):
        return self

    def normalized(self):
        return self

    def read_bytes(self):
        if _CONTAINED.fullmatch(self.url):
            raise ImageError(
                self.url, "archives, Parquet and Arrow files are read from disks only: copy it"
            )
        return _read(self, read_url, self.url)


@dataclass(frozen=True, slots=True)
class DrawnRef(ImageRef):
    """A character of random pen strokes, drawn when it is read.

    Args:
        description: "seed=N,size=N,class=N,sample=N".
    """

    PREFIX: ClassVar[str] = "glyph:"

    description: str

    @classmethod
    def of(cls, number: int, sample: int, size: int, seed: int) -> "DrawnRef":
        """Returns the reference to a drawing; the arguments are those of `_strokes.render`."""
        return cls(f"seed={seed},size={size},class={number},sample={sample}")

    def __str__(self):
        return self.PREFIX + self.description

    @property
    def files(self):
        return ()

    def absolute(self, folder=""):
        return self

    def normalized(self):
        return self

    def read_bytes(self):
        return self._draw().tobytes()

    def decode(self, data, minimum_side=None):
        side = int(np.sqrt(len(data) // 3))
        return np.frombuffer(bytearray(data), np.uint8).reshape(side, side, 3)

    def _draw(self):
        try:
            options = dict(part.split("=") for part in self.description.split(","))
            size, seed = int(options["size"]), int(options["seed"])
            return _strokes.render(int(options["class"]), int(options["sample"]), size, seed)
        except (KeyError, ValueError):
            raise ImageError(
                str(self), "expected glyph:seed=N,size=N,class=N,sample=N with a size of 8 to 4096"
            ) from None


@dataclass(frozen=True, slots=True)
class CropRef(ImageRef):
    """A part of an image, cut out of it when it is read.

    Args:
        image: The image.
        box: The box, in the upright image.
    """

    PREFIX: ClassVar[str] = "crop:"

    image: ImageRef
    box: Box

    @classmethod
    def from_text(cls, text: str) -> "CropRef":
        """Returns the reference that a text denotes, as `parse` takes it."""
        box, _, image = text.removeprefix(cls.PREFIX).partition(":")
        try:
            return cls(ImageRef.parse(image), Box.parse(box))
        except ImageError:
            raise
        except ValueError:
            raise ImageError(
                text,
                "expected crop:pixels=X0,Y0,X1,Y1:IMAGE or crop:shares=X0,Y0,X1,Y1:IMAGE with "
                "x0 < x1 and y0 < y1, none of them negative, nor shares above 1",
            ) from None

    def __str__(self):
        return f"{self.PREFIX}{self.box}:{self.image}"

    @property
    def files(self):
        return self.image.files

    def absolute(self, folder=""):
        return replace(self, image=self.image.absolute(folder))

    def normalized(self):
        return replace(self, image=self.image.normalized())

    def read_bytes(self):
        return self.image.read_bytes()

    def decode(self, data, minimum_side=None):
        whole = self.image.decode(data)  # at its full size, to which the box belongs
        try:
            return self.box.cut(whole)
        except ValueError as error:
            raise ImageError(str(self), str(error)) from None

    def digest(self, data):
        return _digest(str(self.box), self.image.digest(data))


@dataclass(frozen=True, slots=True)
class MaskedRef(ImageRef):
    """An image whose pixels outside a mask become white when it is read.

    Args:
        image: The image.
        mask: An image of the same size, upright, which is black outside.
    """

    PREFIX: ClassVar[str] = "mask:"

    image: ImageRef
    mask: ImageRef

    @classmethod
    def from_text(cls, text: str) -> "MaskedRef":
        """Returns the reference that a text denotes, as `parse` takes it."""
        mask, mark, image = text.removeprefix(cls.PREFIX).partition(":")
        if not mark:
            raise ImageError(text, "expected mask:MASK:IMAGE")
        return cls(ImageRef.parse(image), ImageRef.parse(unquote(mask, errors="surrogateescape")))

    def __str__(self):
        mask = quote(str(self.mask), safe="/!=, ", errors="surrogateescape")
        return f"{self.PREFIX}{mask}:{self.image}"

    @property
    def files(self):
        return (*self.image.files, *self.mask.files)

    def absolute(self, folder=""):
        return MaskedRef(self.image.absolute(folder), self.mask.absolute(folder))

    def normalized(self):
        return MaskedRef(self.image.normalized(), self.mask.normalized())

    def read_bytes(self):
        return self.image.read_bytes()

    def decode(self, data, minimum_side=None):
        data_of_mask = self.mask.read_bytes()
        header = read_header(data_of_mask)
        if header is not None and header.transparent:  # it would be read as white where it is clear
            raise ImageError(
                str(self.mask), "a mask can't be transparent: save it as a PNG without alpha"
            )
        if header is not None and header.lossy:  # hardly a pixel of it is black
            kind = {"JPEG": "a JPEG", "WEBP": "a lossy WebP", "AVIF": "an AVIF"}[header.format]
            raise ImageError(
                str(self.mask), f"a mask can't be {kind}, which changes colours: save it as a PNG"
            )
        if header is not None and header.depth > 8:  # the smallest of its values would become 0
            raise ImageError(
                str(self.mask), f"a mask can't have {header.depth} bits: save it with 8 bits"
            )
        mask = self.mask.decode(data_of_mask)
        try:
            return masked(self.image.decode(data), mask)
        except ValueError as error:
            raise ImageError(str(self), str(error)) from None

    def digest(self, data):
        return _digest(self.mask.digest(self.mask.read_bytes()), self.image.digest(data))


def read_image(path: str | os.PathLike[str], minimum_side: int | None = None) -> np.ndarray:
    """Returns an image as uint8 (H, W, 3) RGB, upright. Safe to call from threads.

    Transparent images are composited on white, grey becomes RGB, and 16 bits become 8. Of an
    animation, the first frame is read. A file may have at most 512 MiB, an image 268 million
    pixels, and a JPEG 100 scans: encoders write about 10, and each costs as much as an image.

    Args:
        path: A file, "ARCHIVE.zip!MEMBER", "SHARD.tar!MEMBER", "FILE.parquet!COLUMN!ROW", a URL,
            "s3://BUCKET/KEY", or "glyph:...", "crop:..." or "mask:..." as the
            data sets `glyphs` and `table` give them.
        minimum_side: Allows a smaller image whose shorter side is still at least this, in pixels.
            A whole JPEG is then decoded at a fraction of its size, several times as fast.

    Raises:
        ImageError: There is no such image, or it is truncated, corrupt, too large or of an unknown
            format, or the path is not that of a regular file.
        PackageError: The package that reads the URL is missing.
    """
    reference = ImageRef.parse(path)
    return reference.decode(reference.read_bytes(), minimum_side)


def _digest(*parts):
    """Returns the SHA-256 of several texts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _read(reference, read, *place):
    """Returns `read(*place)`, whose errors become an `ImageError`."""
    try:
        return read(*place)
    except FileNotFoundError:
        raise ImageError(str(reference), "no such file") from None
    except KeyError:
        raise ImageError(str(reference), "the archive has no such member") from None
    except DataError as error:
        raise ImageError(str(reference), f"can't be read: {error.text}") from None
    except (OSError, ValueError) as error:  # such as a path with a null byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(str(reference), f"can't be read: {reason or error}") from None
