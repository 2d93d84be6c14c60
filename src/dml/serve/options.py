"""Options of a service."""

import os
from dataclasses import dataclass

from dml._options import check_at_least, check_integer, check_positive


@dataclass(frozen=True)
class ServiceOptions:
    """Limits and resources of a service.

    Args:
        token: Bearer token that requests must present; None for no authentication.
        allowed_hosts: Accepted Host headers; None for any.
        max_upload_bytes: Largest upload, in bytes; at least 1.
        max_pixels: Largest image, in pixels: width times height; at least 1.
        max_pending: Requests that may wait for the encoder; at least 1. Excess requests receive
            503.
        max_batch_size: Images embedded together; at least 1. On CPUs, larger batches are slower.
        timeout: Seconds for receiving a request, and for answering it; positive.
        workers: Threads that decode, embed and search, each with its own batch; at least 1.
        decoders: Processes that decode potentially slow images: formats other than JPEG and PNG,
            many pixels, or many scans; at least 1.
        decode_timeout: Seconds for decoding one of these; positive.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> options = dml.serve.ServiceOptions(max_upload_bytes=2**20, timeout=5)
        >>> options.max_pending
        128
    """

    token: str | None = None
    allowed_hosts: tuple[str, ...] | None = None
    max_upload_bytes: int = 16 * 2**20
    max_pixels: int = 50_000_000
    max_pending: int = 128
    max_batch_size: int = 8
    timeout: float = 20.0
    workers: int = 3
    decoders: int = 2
    decode_timeout: float = 10.0

    def __post_init__(self):
        check_at_least(1, max_upload_bytes=self.max_upload_bytes, max_pixels=self.max_pixels)
        check_integer(
            1,
            max_pending=self.max_pending,
            max_batch_size=self.max_batch_size,
            workers=self.workers,
            decoders=self.decoders,
        )
        check_positive(timeout=self.timeout, decode_timeout=self.decode_timeout)

    @property
    def threads_per_batch(self) -> int:
        """Processors that one batch uses: its worker's, and all those without a worker.

        Batches that share processors would wait for each other in each layer of the network.
        """
        return max(1, (os.cpu_count() or 1) - self.workers + 1)
