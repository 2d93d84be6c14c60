"""Engines that embed parts of a list of images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

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


class Engine(Protocol):
    """An engine that embeds images."""

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
        ...


@dataclass(frozen=True)
class LocalEngine:
    """Embeds on this machine, one part after another.

    Args:
        batch_size: Images embedded at once; positive.
        threads: Threads that read images; positive.
    """

    batch_size: int = 32
    threads: int = 2

    def embed(
        self,
        encoder: OnnxEncoder,
        parts: Mapping[int, Sequence[str]],
        advance: Callable[[int], None],
    ) -> Iterator[tuple[int, PartVectors]]:
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
