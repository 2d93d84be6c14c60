"""Engines that embed parts of a list of images."""

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dml.encoding.embed import embed_images
from dml.encoding.onnx_encoder import OnnxEncoder


@dataclass(frozen=True, eq=False)
class PartVectors:
    """The result of embedding one part.

    Args:
        vectors: Float32 (N, D); zero if an image can't be read.
        unreadable: Row -> reason of the images that can't be read.
    """

    vectors: np.ndarray
    unreadable: dict[int, str]


@dataclass(frozen=True)
class Engine(abc.ABC):
    """An engine that embeds images.

    Args:
        batch_size: Images embedded at once; positive.
    """

    batch_size: int = 32

    @abc.abstractmethod
    def embed(
        self,
        encoder: OnnxEncoder,
        parts: Mapping[int, Sequence[str]],
        advance: Callable[[int], None],
    ) -> Iterator[tuple[int, PartVectors]]:
        """Yields the number and the result of each part, in any order.

        Args:
            encoder: The encoder of a bundle.
            parts: Number -> paths as `dml.images.read_image` takes them.
            advance: Called with the number of images done since its last call.
        """


@dataclass(frozen=True)
class LocalEngine(Engine):
    """Embeds on this machine, one part after another.

    Args:
        batch_size: As for `Engine`.
        threads: Threads that read images, positive; None for one per processor, at most 16.
    """

    threads: int | None = None

    def embed(self, encoder, parts, advance):
        for number, paths in parts.items():
            yield number, self.embed_part(encoder, paths, advance)

    def embed_part(
        self,
        encoder: OnnxEncoder,
        paths: Sequence[str],
        advance: Callable[[int], None] | None = None,
    ) -> PartVectors:
        """Returns the result of one part."""
        unreadable: dict[int, str] = {}
        vectors = embed_images(
            encoder, paths, self.batch_size, self.threads, advance=advance, unreadable=unreadable
        )
        return PartVectors(vectors, unreadable)


LOCAL = LocalEngine()
