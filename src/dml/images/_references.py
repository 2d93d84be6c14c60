"""References to images: files, members of archives, and characters drawn on demand."""

import abc
import os
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dml._storage.archives import read_file, read_tar_member, read_zip_member
from dml.errors import DataError
from dml.images import _strokes
from dml.images._decoding import ImageError, decode_image


class ImageRef(abc.ABC):
    """A reference to an image; `str` gives the text that `parse` takes."""

    @staticmethod
    def parse(text: str | os.PathLike[str]) -> "ImageRef":
        """Returns the reference that a text denotes.

        Args:
            text: The path of a file, "ARCHIVE.zip!MEMBER", "SHARD.tar!MEMBER", or
                "glyph:seed=N,size=N,class=N,sample=N".
        """
        text = os.fspath(text)
        if text.startswith(DrawnRef.PREFIX):
            return DrawnRef(text.removeprefix(DrawnRef.PREFIX))
        for suffix in ArchiveMemberRef.READERS:
            archive, mark, member = text.partition(f"{suffix}!")
            if mark:
                return ArchiveMemberRef(archive + suffix, member)
        return FileRef(text)

    @property
    @abc.abstractmethod
    def container(self) -> str | None:
        """The file that holds the image; None for a drawn one."""

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
        """Returns the encoded image; of a drawn one, its pixels.

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


@dataclass(frozen=True)
class FileRef(ImageRef):
    """An image file.

    Args:
        path: Its path.
    """

    path: str

    def __str__(self):
        return self.path

    @property
    def container(self):
        return self.path

    def absolute(self, folder=""):
        return FileRef(os.path.abspath(os.path.join(folder, self.path)))

    def normalized(self):
        return FileRef(os.path.normpath(self.path))

    def read_bytes(self):
        return _read(self, read_file, self.path)


@dataclass(frozen=True)
class ArchiveMemberRef(ImageRef):
    """A member of a zip or of an uncompressed tar archive.

    Args:
        archive: Path of the archive, with one of the suffixes of `READERS`.
        member: Name of the member.
    """

    READERS: ClassVar[dict] = {".zip": read_zip_member, ".tar": read_tar_member}

    archive: str
    member: str

    def __str__(self):
        return f"{self.archive}!{self.member}"

    @property
    def container(self):
        return self.archive

    def absolute(self, folder=""):
        path = os.path.abspath(os.path.join(folder, self.archive))
        return ArchiveMemberRef(path, self.member)

    def normalized(self):
        return ArchiveMemberRef(os.path.normpath(self.archive), self.member)

    def read_bytes(self):
        read = next(read for suffix, read in self.READERS.items() if self.archive.endswith(suffix))
        return _read(self, read, self.archive, self.member)


@dataclass(frozen=True)
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
    def container(self):
        return None

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


def read_image(path: str | os.PathLike[str], minimum_side: int | None = None) -> np.ndarray:
    """Returns an image as uint8 (H, W, 3) RGB, upright. Safe to call from threads.

    Transparent images are composited on white, grey becomes RGB, and 16 bits become 8. Of an
    animation, the first frame is read. A file may have at most 512 MiB, an image 268 million
    pixels, and a JPEG 100 scans: encoders write about 10, and each costs as much as an image.

    Args:
        path: A file, "ARCHIVE.zip!MEMBER", "SHARD.tar!MEMBER", or "glyph:..." as the data set
            `glyphs` gives them.
        minimum_side: Allows a smaller image whose shorter side is still at least this, in pixels.
            A JPEG is then decoded at a fraction of its size, several times as fast.

    Raises:
        ImageError: There is no such image, or it is truncated, corrupt, too large or of an unknown
            format, or the path is not that of a regular file.
    """
    reference = ImageRef.parse(path)
    return reference.decode(reference.read_bytes(), minimum_side)


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
